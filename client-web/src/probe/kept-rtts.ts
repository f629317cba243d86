/** The round trips to regions that this device measured, with their age: it moves, and so does its network. */
import { isRecord } from "../wire/json.ts";

export type KeptRtt = { readonly ms: number; readonly atMs: number };

const KEY = "nearlight.region-rtts";
/** After this it is measured again, in passing. */
const FRESH_MS = 10 * 60 * 1000;
/** After this it counts no more. */
const VALID_MS = 3600 * 1000;
/** A create takes no more. */
export const RTTS_MAX = 16;

export class KeptRtts {
  readonly #store: Pick<Storage, "getItem" | "setItem"> | null;
  #rtts: ReadonlyMap<string, KeptRtt>;

  /** `store` is null where the browser keeps nothing. */
  constructor(store: Pick<Storage, "getItem" | "setItem"> | null) {
    this.#store = store;
    this.#rtts = new Map(parse(read(store)));
  }

  /** Those that still hold at `nowMs` (wall clock), by region. */
  valid(nowMs: number): ReadonlyMap<string, number> {
    const holds = ({ atMs }: KeptRtt): boolean => nowMs - atMs < VALID_MS && atMs <= nowMs;
    return new Map([...this.#rtts].filter(([, rtt]) => holds(rtt)).map(([region, { ms }]) => [region, ms]));
  }

  /** Whether the region need not be measured at `nowMs`. */
  isFresh(region: string, nowMs: number): boolean {
    const rtt = this.#rtts.get(region);
    return rtt !== undefined && nowMs - rtt.atMs < FRESH_MS && rtt.atMs <= nowMs;
  }

  keep(region: string, rtt: KeptRtt): void {
    const others = [...this.#rtts].filter(([name]) => name !== region).slice(-(RTTS_MAX - 1));
    this.#rtts = new Map([...others, [region, rtt]]);
    this.#write();
  }

  /** The network is another one: nothing holds any more. */
  forget(): void {
    this.#rtts = new Map();
    this.#write();
  }

  #write(): void {
    try {
      this.#store?.setItem(KEY, JSON.stringify([...this.#rtts]));
    } catch {
      // A private window may refuse; it holds for this page then.
    }
  }
}

function read(store: Pick<Storage, "getItem"> | null): unknown {
  try {
    return JSON.parse(store?.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function parse(value: unknown): [string, KeptRtt][] {
  if (!Array.isArray(value)) return [];
  const entries = value.filter((entry): entry is [string, KeptRtt] => {
    const [region, rtt] = Array.isArray(entry) ? (entry as unknown[]) : [];
    return typeof region === "string" && isRecord(rtt) && typeof rtt["ms"] === "number" && typeof rtt["atMs"] === "number";
  });
  return entries.slice(-RTTS_MAX);
}
