/** Loss: what the picture does while packets are lost. Scene `game`, round trip 40 ms. */

import type { Browser } from "playwright-core";
import type { Conditions } from "../harness/path.js";
import type { Stack } from "../harness/stack.js";
import { Impaired } from "./impaired.js";
import type { Report } from "./report.js";
import { decodedPerSecond, framesPerSecond, longestFreeze, type Timeline } from "./timeline.js";

const MEASURE_MS = 30_000;
const HARD_MS = 2_000;
/** Frames in a row, none later than this after the one before, are a picture that is back. */
const BACK_FRAMES = 6;
const BACK_GAP_MS = 100;

/** Frames a second and the longest freeze over half a minute of `down`. */
export async function steady(stack: Stack, browser: Browser, report: Report, name: string, down: Conditions): Promise<void> {
  const player = await Impaired.of(stack, browser, "bench-paced", down);
  const from = await player.change();
  await player.goOn(MEASURE_MS);
  const to = await player.change();
  const { timeline } = await player.finish();
  report.add(`stream.${name}_fps`, framesPerSecond(timeline, from.page_ms, to.page_ms));
  report.add(`stream.${name}_decoded_fps`, decodedPerSecond(timeline, from.page_ms, to.page_ms));
  report.add(`stream.${name}_freeze_max_ms`, longestFreeze(timeline, from.page_ms, to.page_ms));
}

/** A fifth of the packets for two seconds: how long after its end the picture goes on. */
export async function hard(stack: Stack, browser: Browser, report: Report): Promise<void> {
  const player = await Impaired.of(stack, browser, "bench-paced");
  await player.change({ down: { loss: "20%" } });
  await player.goOn(HARD_MS);
  const end = await player.change({ down: { loss: "0%" } });
  await player.goOn(MEASURE_MS / 3);
  const { timeline } = await player.finish();
  report.add("stream.loss20_back_ms", untilBack(timeline, end.page_ms));
}

function untilBack({ frames_ms }: Timeline, from_ms: number): number {
  const after = frames_ms.filter((at) => at >= from_ms);
  const back = after.findIndex((_, i) => {
    const run = after.slice(i, i + BACK_FRAMES);
    return run.length === BACK_FRAMES && run.every((at, j) => j === 0 || at - (run[j - 1] ?? 0) <= BACK_GAP_MS);
  });
  const at = after[back];
  if (at === undefined) throw new Error("the picture did not come back");
  return at - from_ms;
}
