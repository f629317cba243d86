/** Two players at once: two containers, and nothing of one reaches the other. */

import assert from "node:assert/strict";
import { crc32 } from "../harness/calibrate.js";
import { assertNeverBackwards } from "../harness/picture.js";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "two-players", runtime: "docker" });

rig.test("two players play two containers and never see each other's picture, input or clipboard", async () => {
  const [one, two] = [await rig.player(), await rig.playerElsewhere()];
  const [first, second] = [await one.play({ app: "calibrate" }), await two.play({ app: "calibrate" })];
  const [a, b] = [await rig.stack.edgeSession(first.id), await rig.stack.edgeSession(second.id)];
  assert.notEqual(a.container, b.container);
  assert.notEqual(a.worker_pid, b.worker_pid);
  for (const player of [one, two]) {
    await player.picture.watch();
    const { x, y } = await player.centre();
    await player.page.mouse.move(x, y);
  }

  // Input: seven presses here, three there.
  const [startOne, startTwo] = [await inputs(one), await inputs(two)];
  for (let i = 0; i < 7; i++) await one.page.keyboard.press("KeyA");
  for (let i = 0; i < 3; i++) await two.page.keyboard.press("KeyB");
  const seenOne = await one.picture.reading("seven presses", (reading) => reading.inputs === startOne + 7);
  const seenTwo = await two.picture.reading("three presses", (reading) => reading.inputs === startTwo + 3);
  assert.equal(seenOne.code, 30, "KeyA is the last key of the first");
  assert.equal(seenTwo.code, 48, "KeyB is the last key of the second");

  // Clipboard, browser to app: each app reads its own player's.
  await copyAndRead(one, "the first player's secret");
  await copyAndRead(two, "what the second player copied");
  const again = await one.picture.latest();
  assert.equal(again?.clipboard, crc32("the first player's secret"));

  // Clipboard, app to browser: only the first app copies.
  const before = (await two.picture.notices()).length;
  await one.page.keyboard.press("F3");
  await until("the first player's browser to be told", async () =>
    (await one.picture.notices()).some((notice) => notice.notice === "clipboard" && notice.text.startsWith("calibrate ")),
  );
  const told = (await two.picture.notices()).slice(before);
  assert.deepEqual(told.filter(({ notice }) => notice === "clipboard"), [], "the second player hears nothing of it");

  // Pictures: each goes forwards by itself, and what differs, differs to the end.
  for (const player of [one, two]) assertNeverBackwards((await player.picture.readings()).readings);
  const codes = (all: { code: number }[]): Set<number> => new Set(all.map(({ code }) => code));
  assert.ok(!codes((await one.picture.readings()).readings).has(48), "the first picture never had the second's key");
  assert.ok(!codes((await two.picture.readings()).readings).has(30), "the second picture never had the first's key");
});

async function inputs(player: Player): Promise<number> {
  return (await player.picture.reading("a reading", () => true)).inputs;
}

/** Puts `text` on the browser's clipboard, pastes it into the app, and waits until the app has read it. */
async function copyAndRead(player: Player, text: string): Promise<void> {
  await player.page.evaluate((words) => navigator.clipboard.writeText(words), text);
  await player.page.keyboard.press("Control+KeyV");
  await until("the app to read the player's clipboard", async () => {
    await player.page.keyboard.press("F4");
    return (await player.picture.latest())?.clipboard === crc32(text);
  }, { every_ms: 500, instead: () => player.picture.latest() });
}
