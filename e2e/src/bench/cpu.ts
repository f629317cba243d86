/** CPU time of the processes behind the sessions, over a window. */

import { cpuSeconds, descendants } from "../harness/processes.js";
import type { Stack } from "../harness/stack.js";
import { window } from "../harness/until.js";

/** Percent of one core. */
export interface CpuShare {
  /** The session workers: desktop, sound, encoder. */
  workers: number;
  /** The agent: network, for all sessions. */
  agent: number;
  /** The apps themselves, in their containers. */
  apps: number;
}

interface Pids {
  workers: number[];
  agent: number[];
  apps: number[];
}

/** What the running sessions use over `ms`. */
export async function cpuOver(stack: Stack, ms: number): Promise<CpuShare> {
  const pids = await pidsOf(stack);
  const before = totals(pids);
  const start = performance.now();
  await window(ms);
  const seconds = (performance.now() - start) / 1000;
  const after = totals(pids);
  const share = (part: keyof Pids): number => (100 * (after[part] - before[part])) / seconds;
  return { workers: share("workers"), agent: share("agent"), apps: share("apps") };
}

async function pidsOf(stack: Stack): Promise<Pids> {
  const sessions = await stack.edgeSessions();
  const known = (pid: number | null): number[] => (pid === null ? [] : [pid]);
  return {
    workers: sessions.flatMap(({ worker_pid }) => known(worker_pid)),
    agent: [stack.role("edge-node").pid],
    apps: sessions.flatMap(({ container_pid }) =>
      known(container_pid).flatMap((pid) => [pid, ...descendants(pid).map((child) => child.pid)]),
    ),
  };
}

function totals(pids: Pids): CpuShare {
  const sum = (of: number[]): number => of.reduce((total, pid) => total + cpuSeconds(pid), 0);
  return { workers: sum(pids.workers), agent: sum(pids.agent), apps: sum(pids.apps) };
}
