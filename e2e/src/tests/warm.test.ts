/** Desktops that are ready before a session, with real workers: used once, and with nothing of anybody else's in them. */

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "../harness/calibrate.js";
import { spareWorker, warmApp } from "../harness/desktops.js";
import { hasInMemory } from "../harness/memory.js";
import type { Player } from "../harness/player.js";
import { isAlive } from "../harness/processes.js";
import { Rig } from "../harness/rig.js";
import { ROOT } from "../harness/stack.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({
  name: "warm",
  runtime: "docker",
  apps: () => ({ "ready.toml": warmApp(readFileSync(join(ROOT, "configs/apps/calibrate.toml"), "utf8"), "ready", 1) }),
  config: ["[edge-node.warm]", "max = 1"],
});

/** What only the first player knows, in two halves: this program's own memory has them apart. */
const secret = (): string => ["only the first player", "knows this"].join(" ");

rig.test("a desktop that was ready is used once, and the next one has nothing of its player's", async () => {
  const { stack } = rig;
  const first = await spareWorker(stack);
  const one = await rig.player();
  const played = await one.play({ app: "ready" });
  assert.equal(await placedPoints(played.id), 0, "it was placed where one is ready");
  assert.equal((await stack.edgeSession(played.id)).worker_pid, first, "it has the desktop that was ready");

  // Another is made ready while the first player plays.
  const second = await spareWorker(stack, [first]);
  await paste(one, secret());
  assert.ok(hasInMemory(first, secret()), "the player's own desktop has it: it can be found");
  assert.ok(!hasInMemory(second, secret()));
  assert.notEqual(user(second), user(first), "each is somebody else");
  await one.end(played.id);
  await until("the used desktop to be gone", () => !isAlive(first));

  const two = await rig.playerElsewhere();
  const next = await two.play({ app: "ready" });
  assert.equal((await stack.edgeSession(next.id)).worker_pid, second, "the one that was ready meanwhile");
  await two.picture.watch();
  const { x, y } = await two.centre();
  await two.page.mouse.move(x, y);
  await two.page.keyboard.press("F4");
  const seen = await two.picture.reading("a key to have arrived", ({ code }) => code === 62);
  assert.notEqual(seen.clipboard, crc32(secret()), "its clipboard is its own player's");
  assert.ok(!hasInMemory(second, secret()), "nothing of the first player is in it");

  // A third one is made ready, which is neither of them.
  await spareWorker(stack, [first, second]);
  await two.end(next.id);
  await until("the second one to be gone", () => !isAlive(second));
});

/** Points that the placement took for a desktop that has to be started. */
async function placedPoints(session: string): Promise<number> {
  const { body } = await rig.stack.operator.request<{ points?: { desktop?: number } }>("GET", `/v1/sessions/${session}/placement`);
  const points = body.points?.desktop;
  if (points === undefined) throw new Error(`no points for a desktop: ${JSON.stringify(body)}`);
  return points;
}

function user(pid: number): number {
  return statSync(`/proc/${pid}`).uid;
}

/** Puts `text` on the browser's clipboard, pastes it into the app, and waits until the app has read it. */
async function paste(player: Player, text: string): Promise<void> {
  await player.picture.watch();
  const { x, y } = await player.centre();
  await player.page.mouse.move(x, y);
  await player.page.evaluate((words) => navigator.clipboard.writeText(words), text);
  await player.page.keyboard.press("Control+KeyV");
  await until("the app to read the player's clipboard", async () => {
    await player.page.keyboard.press("F4");
    return (await player.picture.latest())?.clipboard === crc32(text);
  }, { every_ms: 500, instead: () => player.picture.latest() });
}
