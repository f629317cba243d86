/** `loadtest`, the load generator with native WebRTC clients: docs/loadtest.md. */

import { spawn } from "node:child_process";
import { join } from "node:path";
import { BINARIES, type Stack } from "./stack.js";

/** What every report has. */
export interface Faults {
  /** What is broken, in words. */
  faults: string[];
}

/** How the resident memory of a role grew over a run. */
export interface Growth {
  early_kib: number;
  late_kib: number;
  percent: number;
}

/** `loadtest churn`. */
export interface Churned extends Faults {
  cycles: number;
  seconds: number;
  first_frame_ms: [p50: number, p99: number, max: number];
  before: unknown;
  after: unknown;
  memory: { agent: Growth; workers: Growth; broker?: Growth };
}

/** `loadtest stream`, as far as it is read here. */
export interface Streamed extends Faults {
  sessions: { session: string; fps: number; kbps: number }[];
  cpu: { agent_percent: number; workers_percent: number; percent_per_session: number } | null;
}

/** `loadtest net-cpu`. */
export interface NetCpu extends Faults {
  "stream.net_cpu_percent": number;
  runs: number[];
  kbps: number;
  fps: number;
}

/** Runs `loadtest` and answers its report, whatever it found. No report is an error. */
export async function loadtest<Report extends Faults>(args: readonly string[]): Promise<Report> {
  const child = spawn(join(BINARIES, "loadtest"), args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  // 0: nothing is broken; 1: the report says what is.
  if (code !== 0 && code !== 1) throw new Error(`loadtest ${args.join(" ")}: exit status ${code}`);
  return JSON.parse(said) as Report;
}

/** The arguments that name this stack. */
export function against(stack: Stack): string[] {
  return ["--url", stack.base, "--data", stack.data, "--admin", stack.admin];
}
