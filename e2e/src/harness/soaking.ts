/**
 * The soak: start, play, leave, come back, end, over and over, with seeded choices. After each cycle
 * nothing of it is left; after all, the roles hold no more than after the first.
 */

import assert from "node:assert/strict";
import type { Browser } from "playwright-core";
import { Player } from "./player.js";
import { openFiles, residentBytes } from "./processes.js";
import type { Random } from "./random.js";
import type { Stack } from "./stack.js";
import { until } from "./until.js";

const ROLES = ["session-broker", "edge-node"] as const;
/** Connections that a role keeps for a while come and go. */
const OPEN_FILES_SLACK = 8;
/** An allocator keeps some of what it had; a leak of one session's buffers each cycle is far above this. */
const RESIDENT_BYTES_SLACK = 64 * 1024 * 1024;

export interface Holding {
  openFiles: number;
  residentBytes: number;
}

/** What the roles hold now. */
export function holdings(stack: Stack): Record<(typeof ROLES)[number], Holding> {
  const of = (role: (typeof ROLES)[number]): Holding => {
    const { pid } = stack.role(role);
    return { openFiles: openFiles(pid), residentBytes: residentBytes(pid) };
  };
  return { "session-broker": of("session-broker"), "edge-node": of("edge-node") };
}

/** One player's visit. */
export async function cycle(stack: Stack, browser: Browser, random: Random): Promise<void> {
  const player = await Player.arrive(stack, browser);
  try {
    const session = await player.play({ app: "calibrate" });
    const { container_pid } = await stack.edgeSession(session.id);
    await player.picture.watch();
    let { counter } = await player.picture.reading("a barcode", () => true);
    const visits = 1 + random.below(3);
    for (let visit = 0; visit < visits; visit++) {
      if (visit > 0) {
        await player.page.reload();
        await player.enter();
        await player.picture.watch();
      }
      for (let press = random.below(6); press > 0; press--) {
        const before = await player.picture.reading("a barcode", () => true);
        await player.page.keyboard.press(random.pick(["KeyA", "KeyB", "Space", "Enter"]));
        await player.picture.reading("a flip", ({ inputs }) => inputs === (before.inputs + 1) % 256);
      }
      const least = counter + 30;
      ({ counter } = await player.picture.reading("the counter to go on", (reading) => reading.counter > least));
    }
    assert.equal((await stack.edgeSession(session.id)).container_pid, container_pid, "one container from start to end");
    if (random.below(2) === 0) {
      await player.end(session.id);
    } else {
      await player.close();
      await stack.operator.end(session.id);
    }
  } finally {
    await player.close();
  }
  await until("the node to have no session", async () => (await stack.edgeSessions()).length === 0);
  await until("nothing to be left of the cycle", () => stack.leftovers().length === 0, { instead: () => stack.leftovers() });
}

/** Waits until the roles hold no more than `before`, give or take. */
export async function holdNoMoreThan(stack: Stack, before: ReturnType<typeof holdings>): Promise<void> {
  await until(
    "the roles to hold no more than after the first cycle",
    () => {
      const now = holdings(stack);
      return ROLES.every(
        (role) =>
          now[role].openFiles <= before[role].openFiles + OPEN_FILES_SLACK &&
          now[role].residentBytes <= before[role].residentBytes + RESIDENT_BYTES_SLACK,
      );
    },
    { within_ms: 30_000, every_ms: 500, instead: () => ({ before, now: holdings(stack) }) },
  );
}
