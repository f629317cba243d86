/** Desktops that a node keeps ready before anybody asks for a session. */

import type { Stack } from "./stack.js";
import { descendants } from "./processes.js";
import { until } from "./until.js";

/** Waits until the node says that exactly so many are ready. */
export async function desktopsReady(stack: Stack, count: number): Promise<void> {
  await until(
    `${count} desktops to be ready`,
    async () => new RegExp(`^edge_desktops_ready ${count}$`, "m").test(await stack.edgeMetrics()),
    { within_ms: 60_000, instead: async () => /^edge_desktops_ready .*$/m.exec(await stack.edgeMetrics())?.[0] },
  );
}

/** The worker of the only desktop that is ready, once that is none of `before`. */
export async function spareWorker(stack: Stack, before: readonly number[] = []): Promise<number> {
  const spare = async (): Promise<number | undefined> => {
    const taken = new Set((await stack.edgeSessions()).map(({ worker_pid }) => worker_pid));
    const workers = descendants(stack.pid).filter(({ program }) => program === "edge-worker");
    const spares = workers.map(({ pid }) => pid).filter((pid) => !taken.has(pid) && !before.includes(pid));
    return spares.length === 1 ? spares[0] : undefined;
  };
  const pid = await until("a desktop that no session has", spare);
  await desktopsReady(stack, 1);
  return pid;
}

/** An app of the catalogue's own under another id, which asks for so many desktops to be ready. */
export function warmApp(description: string, id: string, warm: number): string {
  return description.replace(/^id = .*$/m, `id = "${id}"\nwarm = ${warm}`);
}
