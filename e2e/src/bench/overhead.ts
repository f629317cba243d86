/**
 * What a session costs beyond its encoder: scene `noise` at 8 Mbit/s, received natively, against the
 * bare encoder on the same scene's recorded frames; and what sending alone costs, with many sessions
 * of a replayed recording.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { against, loadtest, type NetCpu, type Streamed } from "../harness/loadtest.js";
import { Stack } from "../harness/stack.js";
import { forget, measure, record } from "./encoder.js";
import { median } from "./quantiles.js";
import type { Report } from "./report.js";

const RUNS = 3;
const KBPS = 8_000;
const NET_SESSIONS = 8;

export async function overhead(report: Report): Promise<void> {
  const frames = await record(["--mode", "paced", "--scene", "noise", "--seed", "1"]);
  const units = mkdtempSync(join(tmpdir(), "nearlight-bench-"));
  try {
    const recording = join(units, "noise.nlau");
    const before = measure(frames).cpu_percent;
    const session = await received(recording);
    const encoder = (before + measure(frames).cpu_percent) / 2;
    report.add("stream.cpu_session_percent", session);
    report.add("stream.cpu_encoder_percent", encoder);
    report.add("stream.cpu_overhead_percent", session - encoder);
    report.add("stream.cpu_over_encoder", session / encoder);
    const sending = await loadtest<NetCpu>(["net-cpu", "--recording", recording, "--sessions", String(NET_SESSIONS)]);
    refuse(sending.faults);
    report.add("stream.net_cpu_percent", sending["stream.net_cpu_percent"]);
  } finally {
    forget(frames);
    rmSync(units, { recursive: true, force: true });
  }
}

/** Agent and session worker, percent of a core; the median of some sessions, the last of which is recorded. */
async function received(recording: string): Promise<number> {
  const stack = await Stack.up({ name: "bench-overhead" });
  const shares: number[] = [];
  try {
    for (let run = 0; run < RUNS; run++) {
      const args = ["stream", ...against(stack), "--app", "bench-noise", "--kbps-max", String(KBPS), "--decode", "0", "--record", recording];
      const { cpu, faults } = await loadtest<Streamed>(args);
      refuse(faults);
      if (!cpu) throw new Error("loadtest stream measured no CPU");
      shares.push(cpu.agent_percent + cpu.workers_percent);
    }
    return median(shares);
  } finally {
    await stack.down();
  }
}

function refuse(faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`the figure is void: ${faults.join("; ")}`);
}
