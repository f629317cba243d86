/**
 * Times the way to beacons: addresses that answer at once, one a region. A connection is warmed up first,
 * then three samples are taken, and the least counts: what is longer is the queue, not the way.
 *
 * Does not know: regions' names, what is kept, who asks.
 */

/** Samples that count, of each beacon. */
const SAMPLES = 3;
/** For one beacon with everything: who is slower is far enough away not to be wanted. */
const DEADLINE_MS = 4_000;

/** What the browser does for us. */
export type Tools = {
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  readonly nowMs: () => number;
  /** From request to answer without what the page itself takes, of the newest request since `sinceMs`. */
  readonly onTheWire: (url: string, sinceMs: number) => number | null;
};

export const browserTools: Tools = {
  fetch: (url, init) => fetch(url, init),
  nowMs: () => performance.now(),
  onTheWire: (url, sinceMs) => {
    const entry = performance.getEntriesByName(url, "resource").at(-1);
    if (!(entry instanceof PerformanceResourceTiming) || entry.startTime < sinceMs) return null;
    // Zero where the beacon does not show its times.
    return entry.requestStart > 0 && entry.responseStart > entry.requestStart ? entry.responseStart - entry.requestStart : null;
  },
};

/** The round trip to the beacon at `url`, milliseconds; null if it does not answer as one. */
export async function timeBeacon(url: string, tools: Tools = browserTools): Promise<number | null> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  let least: number | null = null;
  for (let sample = 0; sample <= SAMPLES; sample += 1) {
    const ms = await once(url, tools, signal);
    // What was measured before a beacon fell silent was its way all the same.
    if (ms === null) return least;
    if (sample > 0) least = Math.min(ms, least ?? ms);
  }
  return least;
}

async function once(url: string, tools: Tools, signal: AbortSignal): Promise<number | null> {
  const sentMs = tools.nowMs();
  try {
    const answer = await tools.fetch(url, { mode: "cors", credentials: "omit", cache: "no-store", redirect: "error", signal });
    const backMs = tools.nowMs();
    if (!answer.ok) return null;
    return tools.onTheWire(url, sentMs) ?? backMs - sentMs;
  } catch {
    return null;
  }
}
