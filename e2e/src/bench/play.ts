/**
 * `npm run bench`, `make bench SUITE=play`: what one node adds to a game's own time, and what a
 * session costs. docs/performance.md explains the method and each name.
 */

import type { Browser } from "playwright-core";
import { launchChromium } from "../harness/chromium.js";
import { Player } from "../harness/player.js";
import { Stack } from "../harness/stack.js";
import { window } from "../harness/until.js";
import { cpuOver } from "./cpu.js";
import { forget, measure, record } from "./encoder.js";
import { median, spread, type Spread } from "./quantiles.js";
import { Report } from "./report.js";
import { auToLastPacket, commitToAu, inputToAu, Viewer } from "./viewer.js";

const RUNS = 3;
const MEASURE_MS = 15_000;
const CPU_MS = 10_000;
const PRESSES = 100;
const STARTS = 5;
const DENSITIES = [1, 2, 4] as const;

/** The median run: each quantile is the median of the runs' own. */
function medianRun(runs: readonly Spread[]): Spread {
  return {
    p50: median(runs.map(({ p50 }) => p50)),
    p90: median(runs.map(({ p90 }) => p90)),
    p99: median(runs.map(({ p99 }) => p99)),
    count: runs.reduce((sum, { count }) => sum + count, 0),
  };
}

/** One session at 720p60, watched; a new session each run, for the phases between the clocks differ. */
async function stages(stack: Stack, browser: Browser, report: Report): Promise<number> {
  const encode: Spread[] = [];
  const send: Spread[] = [];
  for (let run = 0; run < RUNS; run++) {
    const viewer = await Viewer.of(stack, browser, "bench-paced");
    await viewer.settle();
    await window(MEASURE_MS);
    const marks = await viewer.marks();
    encode.push(spread(commitToAu(marks), "commit to access unit"));
    send.push(spread(auToLastPacket(marks), "access unit to last packet"));
    await viewer.leave();
  }
  report.addSpread("play.commit_to_au_ms", medianRun(encode));
  report.addSpread("play.au_to_last_packet_ms", medianRun(send));
  return medianRun(encode).p50;
}

async function inputs(stack: Stack, browser: Browser, report: Report, mode: "immediate" | "paced"): Promise<void> {
  const viewer = await Viewer.of(stack, browser, `bench-${mode}`);
  await viewer.settle();
  await viewer.press(PRESSES);
  const latencies = inputToAu(await viewer.marks(), await viewer.clockOffset());
  report.addSpread(`play.input_to_au_${mode}_ms`, spread(latencies, `input to access unit, ${mode}`));
  await viewer.leave();
}

async function density(stack: Stack, browser: Browser, report: Report): Promise<void> {
  const viewers: Viewer[] = [];
  for (const sessions of DENSITIES) {
    while (viewers.length < sessions) viewers.push(await Viewer.of(stack, browser, "bench-paced"));
    for (const viewer of viewers) await viewer.settle();
    const before = await sentFrames(stack);
    const cpu = await cpuOver(stack, CPU_MS);
    const frames = (await sentFrames(stack)) - before;
    report.add(`play.cpu_percent_per_session_${sessions}`, (cpu.workers + cpu.agent) / sessions);
    report.add(`play.cpu_worker_percent_per_session_${sessions}`, cpu.workers / sessions);
    report.add(`play.cpu_agent_percent_per_session_${sessions}`, cpu.agent / sessions);
    report.add(`play.cpu_app_percent_per_session_${sessions}`, cpu.apps / sessions);
    report.add(`play.frames_per_s_per_session_${sessions}`, frames / (CPU_MS / 1000) / sessions);
  }
  for (const viewer of viewers) await viewer.leave();
}

async function sentFrames(stack: Stack): Promise<number> {
  return (await stack.edgeSessions()).reduce((sum, { transport }) => sum + (transport?.video_sent ?? 0), 0);
}

/** From the request that creates a session to the first picture: on the node, and in the browser. */
async function starts(stack: Stack, browser: Browser, report: Report): Promise<void> {
  const onNode: number[] = [];
  const inBrowser: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const player = await Player.arrive(stack, browser);
    const asked = performance.now();
    const session = await player.create({ app: "calibrate" });
    const node = player.reach(session.id, ["ready", "playing"]).then(() => onNode.push(performance.now() - asked));
    await player.page.goto(session.play_path);
    await player.picture.isShown({ every_ms: 5 });
    inBrowser.push(performance.now() - asked);
    await node;
    await player.end(session.id);
    await player.close();
  }
  report.add("play.start_to_ready_ms_p50", median(onNode));
  report.add("play.start_to_first_frame_ms_p50", median(inBrowser));
  report.add("play.start_to_first_frame_ms_max", Math.max(...inBrowser));
}

const report = new Report();
const recording = await record(["--mode", "paced", "--scene", "game", "--seed", "1"]);
try {
  const before = measure(recording);
  const stack = await Stack.up({ name: "bench" });
  const browser = await launchChromium();
  try {
    const commitToAuP50 = await stages(stack, browser, report);
    await inputs(stack, browser, report, "immediate");
    await inputs(stack, browser, report, "paced");
    await starts(stack, browser, report);
    await density(stack, browser, report);
    const bare = medianRun([before, measure(recording)]);
    report.addSpread("play.encoder_ms", bare);
    report.add("play.commit_to_au_over_encoder_p50", commitToAuP50 / bare.p50);
  } catch (error) {
    console.error(stack.logTail());
    throw error;
  } finally {
    await browser.close();
    await stack.down();
  }
} finally {
  forget(recording);
}
report.finish();
