/** How roles are killed in the soak of jobs, and how requests are sent while they are away. */

import { readFileSync } from "node:fs";
import type { Session } from "../../../client-web/src/wire/types.js";
import type { Reply, RequestOptions } from "./api.js";
import { ENGINE, type Cycle, type Moment } from "./job-soak-plan.js";
import { descendants, isAlive, signal } from "./processes.js";
import type { Stack } from "./stack.js";
import { until, window } from "./until.js";

/** Within which whoever was killed is back, on a machine that does much else. */
export const BACK_MS = 90_000;

export async function strike(stack: Stack, cycle: Cycle, moment: Moment): Promise<void> {
  for (const { role, after_ms } of cycle.strikes.filter((one) => one.moment === moment)) {
    await window(after_ms);
    if (role !== "dockerd") await kill(stack, role);
    else if (ENGINE) await killEngine(ENGINE);
  }
}

export async function kill(stack: Stack, role: "session-broker" | "edge-node"): Promise<void> {
  const { pid } = await until(`a ${role} to kill`, () => descendants(stack.pid).find(({ program }) => program === role), { within_ms: BACK_MS });
  signal(pid, "SIGKILL");
}

async function killEngine(file: string): Promise<void> {
  const pid = await until("an engine to kill", () => Number(lines(file)[0]) || undefined, { within_ms: BACK_MS });
  signal(pid, "SIGKILL");
  await until("the engine to be dead", () => !isAlive(pid));
}

/** A request that is sent again while no broker answers. */
export async function patient<T>(stack: Stack, method: string, path: string, options: RequestOptions = {}): Promise<Reply<T>> {
  let last: unknown;
  return until(`${method} ${path} to be answered`, async () => {
    const reply = await stack.operator.request<T>(method, path, options);
    last = reply;
    return reply.status < 500 && reply;
  }, { within_ms: BACK_MS, instead: () => ({ last, log: stack.logTail(30) }) });
}

export async function session(stack: Stack, id: string): Promise<Session> {
  return (await patient<Session>(stack, "GET", `/v1/sessions/${id}`)).body;
}

export function lines(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch {
    return [];
  }
}
