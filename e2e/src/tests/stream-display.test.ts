/** The display follows the window and the player's choices, while the app runs. */

import assert from "node:assert/strict";
import { BARCODE } from "../harness/calibrate.js";
import type { Player } from "../harness/player.js";
import { Rig } from "../harness/rig.js";
import { streamState } from "../harness/streaming.js";
import { until } from "../harness/until.js";

/** Pictures are counted from one of the node's totals to another, which come once a second. */
const TOTALS = 5;
/** A window so small that a machine of two cores draws, encodes and decodes 144 of its pictures a second. */
const SMALL = { width: 960, height: 540 };

const rig = Rig.forThisFile({ name: "stream-display", runtime: "docker" });

/** Resizes the window, and waits until the picture in it has its shape. */
async function resize(player: Player, width: number, height: number): Promise<void> {
  await player.page.setViewportSize({ width, height });
  await until(`the node to tell of ${width} x ${height}`, async () => {
    const told = (await player.picture.notices()).findLast((notice) => notice.notice === "display");
    return told?.notice === "display" && told.width === width && told.height === height;
  }, { instead: async () => (await player.picture.notices()).filter((notice) => notice.notice === "display").slice(-3) });
  // A node that is short of CPU may encode it smaller.
  await until(
    "the picture to have that shape",
    () => player.page.evaluate(([w, h]) => {
      const video = document.querySelector("video");
      if (!video?.videoHeight || video.videoWidth > w) return false;
      return Math.abs(video.videoWidth / video.videoHeight - w / h) < 0.02;
    }, [width, height] as const),
    { instead: () => player.page.evaluate(() => [document.querySelector("video")?.videoWidth, document.querySelector("video")?.videoHeight]) },
  );
}

rig.test("a window of another size has a display of that size, and what is pointed at is hit", async () => {
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  await player.picture.watch();
  await player.picture.reading("some commits", ({ counter }) => counter > 30);
  const { container } = await rig.stack.edgeSession(id);
  let before = 0;
  for (const [width, height] of [[960, 540], [800, 600], [1280, 720]] as const) {
    await resize(player, width, height);
    await player.picture.watch({ ...BARCODE, width, height });
    const [x, y] = [Math.round(width * 0.75), Math.round(height * 0.625)];
    await player.page.mouse.move(width / 2, height / 2);
    await player.page.mouse.move(x, y);
    // The edges of the app's window are the display's: what is 3/4 across the page is so in the app.
    const seen = await player.picture.reading("the pointer where it is pointed at", ({ pointer, pointerInside }) =>
      pointerInside && Math.abs(pointer.x - x) <= 1 && Math.abs(pointer.y - y) <= 1);
    assert.ok(seen.counter > before, "the same app goes on");
    before = seen.counter;
  }
  const after = await rig.stack.edgeSession(id);
  assert.equal(after.container, container, "nothing was started again");
  assert.equal(after.transport?.attachments, 1, "nor was the player sent away");
});

rig.test("what the player allows is what the node sends", async () => {
  const player = await rig.player();
  await player.play({ app: "bench-noise" });
  const choose = await settings(player);
  const told = (what: string, wanted: Parameters<typeof streamState>[1]) => streamState(player, wanted, what);
  await told("more than the player will allow", ({ kbps_target, fps_max }) => kbps_target > 2_000 && fps_max > 30);

  await choose("bitrate", "2000");
  const narrow = await told("a target within the player's limit", ({ kbps_target }) => kbps_target <= 2_000);
  assert.ok(narrow.kbps_target > 0);
  await told("that the player is what limits it", ({ limited_by }) => limited_by === "player");
  await choose("frame-rate", "30");
  await told("thirty pictures a second", ({ fps_max }) => fps_max <= 30);

  await choose("bitrate", "");
  await choose("frame-rate", "");
  await told("more again", ({ kbps_target, fps_max }) => kbps_target > 2_000 && fps_max > 30);
});

/** Opens the settings, and answers how to choose in them. */
async function settings(player: Player): Promise<(field: string, value: string) => Promise<void>> {
  await player.page.keyboard.press("Control+Alt+KeyM");
  await player.page.locator("[data-action=settings]").click();
  return async (field, value) => {
    await player.page.locator(`[data-field=${field}]`).selectOption(value);
  };
}

rig.test("a resolution that the player chooses is the display's, also of a larger window", async () => {
  const player = await rig.player();
  await player.page.setViewportSize({ width: 1440, height: 810 });
  const { id } = await player.play({ app: "calibrate" });
  const choose = await settings(player);
  const display = async (): Promise<number | undefined> => (await rig.stack.edgeSession(id)).worker?.display?.height;
  for (const [chosen, height] of [["1080", 810], ["720", 720], ["1080", 810]] as const) {
    await choose("resolution", chosen);
    await until(`a display of ${height} rows with up to ${chosen}`, async () => (await display()) === height, { instead: display });
    await streamState(player, (state) => state.height <= height, "a picture that is no larger");
  }
  assert.equal((await rig.stack.edgeSession(id)).transport?.attachments, 1, "the player was not sent away");
});

rig.test("the data saver is kept on this device, for the next page and the next session, and on no other", async () => {
  const player = await rig.player();
  const { id } = await player.play({ app: "bench-noise" });
  await settings(player);
  await streamState(player, ({ kbps_target }) => kbps_target > 3_000, "more than the data saver allows");
  await player.page.locator("[data-field=data-saver]").check();
  assert.match(await player.page.locator("[data-testid=cost]").innerText(), /At most 1\.4 GB an hour/);
  const saves = async (): Promise<void> => {
    const state = await streamState(player, ({ limited_by }) => limited_by === "player", "the player's settings to be the limit");
    assert.ok(state.kbps_target <= 3_000, JSON.stringify(state));
  };
  await saves();
  await player.page.reload();
  await player.enter();
  await saves();
  await player.end(id);
  const { id: second } = await player.play({ app: "bench-noise" });
  await saves();
  await player.end(second);

  const other = await rig.player();
  await other.play({ app: "bench-noise" });
  await streamState(other, ({ kbps_target }) => kbps_target > 3_000, "another device's player to be given more");
});

interface Counted {
  readonly drawn: number;
  readonly sent: number;
}

/** Pictures that the app drew, and that were sent to its player, over so many of the node's totals. */
async function counted(id: string): Promise<Counted> {
  const now = async (): Promise<Counted> => {
    const { worker, transport } = await rig.stack.edgeSession(id);
    return { drawn: worker?.committed ?? 0, sent: transport?.video_sent ?? 0 };
  };
  const next = async (last: Counted): Promise<Counted> =>
    until("another total", async () => {
      const seen = await now();
      return seen.drawn !== last.drawn && seen;
    });
  const from = await next(await now());
  let to = from;
  for (let n = 0; n < TOTALS; n++) to = await next(to);
  return { drawn: to.drawn - from.drawn, sent: to.sent - from.sent };
}

rig.test("a display of 120 or 144 Hz that the player chooses has more pictures of the same app", async () => {
  const player = await rig.player();
  await player.page.setViewportSize(SMALL);
  const { id } = await player.play({ app: "calibrate" });
  await player.picture.watch({ ...BARCODE, ...SMALL });
  const { container, worker_pid } = await rig.stack.edgeSession(id);
  await player.page.keyboard.press("Control+Alt+KeyM");
  await player.page.locator("[data-action=settings]").click();
  const usual = await counted(id);
  // A total may come late, and holds what came meanwhile.
  const most = (hz: number): number => hz * (TOTALS + 1.5);
  assert.ok(usual.drawn > 10 * TOTALS && usual.drawn <= most(60), `${usual.drawn} drawn at 60 Hz`);
  for (const hz of [120, 144]) {
    await player.page.locator("[data-field=frame-rate]").selectOption(String(hz));
    await streamState(player, ({ fps_max }) => fps_max === hz, `${hz} pictures a second at most`);
    const display = async (): Promise<unknown> => (await rig.stack.edgeSession(id)).worker?.display;
    await until(`a display of ${hz} Hz`, async () => (await rig.stack.edgeSession(id)).worker?.display?.hz === hz, { instead: display });
    const now = await counted(id);
    const said = `at ${hz} Hz ${now.drawn} drawn and ${now.sent} sent, at 60 Hz ${usual.drawn} and ${usual.sent}`;
    assert.ok(now.drawn > 1.3 * usual.drawn && now.sent > 1.3 * usual.sent, said);
    assert.ok(now.drawn <= most(hz), `${said}: no more than the display has turns`);
  }
  const after = await rig.stack.edgeSession(id);
  assert.deepEqual([after.container, after.worker_pid], [container, worker_pid], "nothing was started again");
  assert.equal(after.transport?.attachments, 1, "nor was the player sent away");
});
