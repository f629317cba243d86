/** What a Nearlight that is down must not have left on the machine. Looks at one data directory's things only. */

import { existsSync, readdirSync } from "node:fs";
import { containersWith } from "./docker.js";
import { processes } from "./processes.js";

/** One line per thing that is still there. */
export function leftovers(data: string, sessions: readonly string[]): string[] {
  const left: string[] = [];
  const names = [data, ...sessions];
  for (const { pid, program, args } of processes()) {
    if (program === "node" || pid === process.pid) continue;
    if (["edge-worker", "bwrap", "calibrate"].includes(program) && args.some((arg) => names.some((name) => arg.includes(name)))) {
      left.push(`process ${pid}: ${args.join(" ")}`);
    }
  }
  for (const session of sessions) {
    for (const container of containersOf(session)) left.push(`container ${container} of ${session}`);
    for (const dir of runDirs()) {
      if (existsSync(`${dir}/${session}`)) left.push(`directory ${dir}/${session}`);
    }
  }
  return left;
}

function containersOf(session: string): string[] {
  try {
    return containersWith(`nearlight.session=${session}`);
  } catch {
    return []; // No Docker engine: then there are no containers either.
  }
}

function runDirs(): string[] {
  return readdirSync("/run").filter((name) => name.startsWith("nearlight-")).map((name) => `/run/${name}`);
}
