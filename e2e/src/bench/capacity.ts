/** Capacity: steps down and up, and a bottleneck with a deep queue. Scene `noise`, which fills any rate. */

import type { Browser } from "playwright-core";
import type { Stack } from "../harness/stack.js";
import { Impaired, queueQuantile, type Mark, type Seen } from "./impaired.js";
import type { Report } from "./report.js";
import { longestFreeze, timeToReach, usefulKbps } from "./timeline.js";

const STEP_MS = 30_000;
/** After a step this long is judged apart: the queue that the old rate filled has to drain. */
const AFTER_STEP_MS = 2_000;
/** From here to its end a step is in its steady state. */
const STEADY_AFTER_MS = 10_000;
const FULL = 0.9;

/** The whole of one run of steps. */
interface Steps {
  queueP95: number;
  queueP95AfterStep: number;
  freeze: number;
  usedLeast: number;
  recovery: number;
}

/** Capacity `high`, then `low`, then `high`, in Mbit/s. */
export async function steps(stack: Stack, browser: Browser, report: Report, name: string, [high, low]: readonly [number, number]): Promise<void> {
  const player = await Impaired.of(stack, browser, "bench-noise", { rate: `${high}mbit`, queue: "100ms" });
  const marks: Mark[] = [await player.change()];
  await player.goOn(STEP_MS);
  for (const rate of [low, high]) {
    marks.push(await player.change({ down: { rate: `${rate}mbit` } }));
    await player.goOn(STEP_MS);
  }
  const end = await player.change();
  const found = judge(await player.finish(), marks, end, [high, low, high]);
  report.add(`stream.${name}_queue_p95_ms`, found.queueP95);
  report.add(`stream.${name}_queue_after_step_p95_ms`, found.queueP95AfterStep);
  report.add(`stream.${name}_freeze_max_ms`, found.freeze);
  report.add(`stream.${name}_used_percent_min`, 100 * found.usedLeast);
  report.add(`stream.${name}_recovery_s_max`, found.recovery / 1000);
}

function judge({ timeline, samples }: Seen, marks: readonly Mark[], end: Mark, mbit: readonly number[]): Steps {
  const ends = [...marks.slice(1), end];
  const spans = marks.map((from, i) => ({ from, to: ends[i] ?? end, kbps: 1000 * (mbit[i] ?? NaN), isStep: i > 0 }));
  const isAfterStep = (us: number): boolean =>
    spans.some(({ from, isStep }) => isStep && us > from.path_us && us <= from.path_us + 1000 * AFTER_STEP_MS);
  const isWithin = (us: number): boolean => us > (marks[0]?.path_us ?? 0) && us <= end.path_us;
  return {
    queueP95: queueQuantile(samples, 0.95, ({ elapsed_us: us }) => isWithin(us) && !isAfterStep(us)),
    queueP95AfterStep: queueQuantile(samples, 0.95, ({ elapsed_us: us }) => isAfterStep(us)),
    freeze: Math.max(
      ...spans.map(({ from, to, isStep }) => longestFreeze(timeline, from.page_ms + (isStep ? AFTER_STEP_MS : 0), to.page_ms)),
    ),
    usedLeast: Math.min(...spans.map(({ from, to, kbps }) => usefulKbps(timeline, from.page_ms + STEADY_AFTER_MS, to.page_ms) / kbps)),
    recovery: Math.max(
      ...spans.filter(({ isStep }) => isStep).map(({ from, to, kbps }) => timeToReach(timeline, FULL * kbps, from.page_ms, to.page_ms)),
    ),
  };
}

/** 6 Mbit/s behind a queue of 200 ms, for a minute. */
export async function deepQueue(stack: Stack, browser: Browser, report: Report): Promise<void> {
  const player = await Impaired.of(stack, browser, "bench-noise", { rate: "6mbit", queue: "200ms" });
  const from = await player.change();
  await player.goOn(2 * STEP_MS);
  const to = await player.change();
  const { timeline, samples } = await player.finish();
  report.add("stream.deep_queue_p95_ms", queueQuantile(samples, 0.95, ({ elapsed_us: us }) => us > from.path_us && us <= to.path_us));
  report.add("stream.deep_queue_used_percent", usefulKbps(timeline, from.page_ms, to.page_ms) / 60);
}
