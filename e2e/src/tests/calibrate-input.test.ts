/** Input: every key press, click and motion arrives, once, and is answered by picture, sound and cursor. */

import assert from "node:assert/strict";
import { KEYS } from "../../../client-web/src/wire/constants.js";
import { wrap16, type Reading } from "../harness/calibrate.js";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "calibrate-input" });

const STAGES = ["input", "render", "capture", "encode", "pace", "network", "decode", "present"];
const PRESSES = 50;
/** Names of `KeyboardEvent.code` that calibrate gives no meaning of its own. */
const PLAIN_KEYS = ["KeyA", "KeyZ", "Digit1", "Digit0", "Space", "Enter", "ArrowLeft", "ArrowUp", "Tab", "Backspace", "Slash", "ShiftLeft", "ControlRight"];
const BUTTONS = [
  { name: "left", code: 0x110 },
  { name: "right", code: 0x111 },
  { name: "middle", code: 0x112 },
] as const;

async function calibrate(): Promise<Player> {
  const player = await rig.player();
  await player.play({ app: "calibrate" });
  await player.picture.watch();
  const { x, y } = await player.centre();
  await player.page.mouse.move(x, y);
  await player.picture.reading("the pointer and the keyboard in the picture", ({ pointerInside, keyboard }) => pointerInside && keyboard);
  return player;
}

async function latest(player: Player): Promise<Reading> {
  return player.picture.reading("a reading", () => true);
}

rig.test("each of 50 key presses flips the picture", async () => {
  const player = await calibrate();
  for (let i = 0; i < PRESSES; i++) {
    const key = PLAIN_KEYS[i % PLAIN_KEYS.length] ?? "KeyA";
    const before = await latest(player);
    await player.page.keyboard.press(key);
    const after = await player.picture.reading(`press ${i + 1}, ${key}, to flip the picture`, ({ light }) => light !== before.light);
    assert.equal(after.inputs, (before.inputs + 1) % 256, `one press of ${key}, one input`);
    assert.equal(after.code, KEYS.get(key), `the code of ${key}`);
  }
  // Where the answers spent their time is the node's to tell, the browser's part included.
  const counted = (metrics: string, stage: string): boolean =>
    new RegExp(`^edge_stage_seconds_count\\{[^}]*stage="${stage}"[^}]*\\} [1-9]`, "m").test(metrics);
  const missing = async (): Promise<string[]> => {
    const metrics = await rig.stack.edgeMetrics();
    return STAGES.filter((stage) => !counted(metrics, stage));
  };
  await until("every stage to be in the node's metrics", async () => (await missing()).length === 0, { instead: missing });
});

/** Each of 50 clicks flips the picture. */
async function clicksFlip(player: Player): Promise<void> {
  const { x, y } = await player.centre();
  for (let i = 0; i < PRESSES; i++) {
    const button = BUTTONS[i % BUTTONS.length] ?? BUTTONS[0];
    const before = await latest(player);
    await player.page.mouse.click(x + i, y - i, { button: button.name });
    const after = await player.picture.reading(`click ${i + 1}, ${button.name}, to flip the picture`, ({ light }) => light !== before.light);
    assert.equal(after.inputs, (before.inputs + 1) % 256, "one click, one input");
    assert.equal(after.code, button.code);
  }
}

/** The pointer arrives where it is, and the wheel turns. */
async function pointerAndWheelArrive(player: Player): Promise<void> {
  const box = await picturesBox(player);
  for (const [fx, fy] of [[0.1, 0.2], [0.9, 0.2], [0.5, 0.5], [0.25, 0.9]] as const) {
    await player.page.mouse.move(box.x + fx * box.width, box.y + fy * box.height, { steps: 5 });
    await player.picture.reading(
      `the pointer at ${fx}, ${fy} of the picture`,
      ({ pointer }) => Math.abs(pointer.x - fx * 1280) <= 3 && Math.abs(pointer.y - fy * 720) <= 3,
    );
  }
  const before = await latest(player);
  await player.page.mouse.wheel(0, 240);
  await player.picture.reading("the wheel to turn down", ({ wheel }) => wrap16(wheel.y - before.wheel.y) > 0);
}

/** A locked pointer moves by what the mouse moves. */
async function lockedPointerMoves(player: Player): Promise<void> {
  await player.page.keyboard.press("F1");
  await until("the browser to lock the pointer", () => player.page.evaluate(() => document.pointerLockElement !== null), {
    within_ms: 15_000,
    instead: () => player.picture.notices(),
  });
  const before = await player.picture.reading("calibrate to have the lock", ({ locked }) => locked);
  const { x, y } = await player.centre();
  // Out and back: what arrives is motion, whatever the place.
  await player.page.mouse.move(x + 120, y + 60, { steps: 6 });
  const there = await player.picture.reading(
    "relative motion to the right and down",
    ({ relative }) => wrap16(relative.x - before.relative.x) >= 60 && wrap16(relative.y - before.relative.y) >= 30,
  );
  assert.deepEqual(there.pointer, before.pointer, "a locked pointer stays where it is");
  await player.page.mouse.move(x, y, { steps: 6 });
  await player.picture.reading("relative motion back", ({ relative }) => wrap16(relative.x - there.relative.x) <= -60);
  await player.page.keyboard.press("F1");
  await until("the browser to free the pointer", () => player.page.evaluate(() => document.pointerLockElement === null), {
    within_ms: 15_000,
  });
}

rig.test("a click is heard, and silence before it is silence", async () => {
  const player = await calibrate();
  // The page has had no gesture yet, and without one no browser plays sound.
  await player.page.keyboard.press("KeyA");
  await player.picture.listen();
  await until("silence", async () => (await player.picture.loudness()).peak < 0.02, { every_ms: 300 });
  const { x, y } = await player.centre();
  for (let i = 0; i < 5; i++) {
    await player.page.mouse.click(x, y);
    await player.picture.isLoud(0.2, `click ${i + 1} to be heard`);
    await until("silence after it", async () => (await player.picture.loudness()).peak < 0.02, { every_ms: 300 });
  }
});

/** The app's cursor is the browser's. */
async function cursorFollows(player: Player): Promise<void> {
  const { x, y } = await player.centre();
  const cursor = (): Promise<string> =>
    player.page.evaluate(([px, py]) => getComputedStyle(document.elementFromPoint(px, py) ?? document.body).cursor, [x, y] as const);
  const shapes: [string, (css: string) => boolean][] = [
    ["an image", (css) => css.startsWith("url(")],
    ["the text cursor", (css) => css === "text"],
    ["no cursor", (css) => css === "none"],
    ["the arrow", (css) => css === "default" || css === "auto"],
  ];
  for (const [what, matches] of shapes) {
    await player.page.keyboard.press("F2");
    await until(`the cursor to be ${what}`, async () => matches(await cursor()), { instead: cursor });
  }
}

/** No key stays down when the page loses its focus. */
async function keysAreLetGo(player: Player): Promise<void> {
  const before = await latest(player);
  await player.page.keyboard.down("KeyD");
  await player.picture.reading("the key to be down", ({ inputs }) => inputs !== before.inputs);
  await player.page.evaluate(() => window.dispatchEvent(new Event("blur")));
  await player.page.evaluate(() => window.dispatchEvent(new Event("focus")));
  // Down again is a new press only if it was let go.
  const held = await latest(player);
  await player.page.keyboard.up("KeyD");
  await player.page.keyboard.down("KeyD");
  await player.picture.reading("a new press of the same key", ({ inputs }) => inputs === (held.inputs + 1) % 256);
  await player.page.keyboard.up("KeyD");
}

rig.test("clicks, the pointer and the wheel arrive, and the app's cursor is the browser's", async () => {
  const player = await calibrate();
  await clicksFlip(player);
  await pointerAndWheelArrive(player);
  await cursorFollows(player);
});

rig.test("a locked pointer moves by what the mouse moves, and no key stays down when the page loses its focus", async () => {
  const player = await calibrate();
  await lockedPointerMoves(player);
  await keysAreLetGo(player);
});

/** Where the picture itself is on the page: the video element less its bars. */
async function picturesBox(player: Player): Promise<{ x: number; y: number; width: number; height: number }> {
  return player.page.evaluate(() => {
    const video = document.querySelector("video");
    if (!video) throw new Error("no video element");
    const box = video.getBoundingClientRect();
    const scale = Math.min(box.width / video.videoWidth, box.height / video.videoHeight);
    const [width, height] = [video.videoWidth * scale, video.videoHeight * scale];
    return { x: box.x + (box.width - width) / 2, y: box.y + (box.height - height) / 2, width, height };
  });
}
