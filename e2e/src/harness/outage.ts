/** Every broker and the ledger die at once while somebody plays: what the player's stream is to notice of it. */

import type { Player } from "./player.js";
import type { Postgres } from "./postgres.js";
import { signal } from "./processes.js";
import type { EdgeSession, Stack } from "./stack.js";
import { until } from "./until.js";

/** kill -9 of the database and of the broker; `nearlight up` starts brokers that cannot work. */
export function strike(stack: Stack, ledger: Postgres): number {
  const broker = stack.role("session-broker");
  ledger.kill();
  signal(broker.pid, "SIGKILL");
  return broker.pid;
}

/**
 * Starts the database again, and waits for a broker that takes new sessions; which the player gets and ends.
 * Seconds from the database's return until such a session is ready.
 */
export async function heal(stack: Stack, ledger: Postgres, player: Player, died: number): Promise<number> {
  ledger.again();
  const back = performance.now();
  await until("a new broker that answers", async () => {
    if (stack.role("session-broker").pid === died) return false;
    return (await player.api("GET", "/v1/sessions")).status === 200;
  }, { within_ms: 90_000 });
  const next = await until("a new session", () => player.create({ app: "calibrate" }).catch(() => undefined), { within_ms: 60_000 });
  await player.reach(next.id, ["ready"]);
  const seconds = (performance.now() - back) / 1000;
  await player.end(next.id);
  return seconds;
}

/** Commits that are not accounted for; frames that were dropped. */
export function account({ worker }: EdgeSession): { missing: number; dropped: number } {
  if (!worker) throw new Error("the session has no worker");
  const dropped = Object.values(worker.dropped).reduce((sum, n) => sum + n, 0);
  return { missing: worker.committed - worker.encoded - worker.in_flight - dropped, dropped };
}
