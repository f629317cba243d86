/** Leaving and coming back: a reload, a second tab, the end. */

import assert from "node:assert/strict";
import { inspect } from "../harness/docker.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "reattach", runtime: "docker" });

rig.test("a reload returns to the same container, and the counter goes on", async () => {
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  await player.picture.watch();
  await player.page.keyboard.press("KeyA");
  const before = await player.picture.reading("a flip and some commits", ({ inputs, counter }) => inputs >= 1 && counter > 60);
  const { container } = await rig.stack.edgeSession(id);
  for (let i = 0; i < 3; i++) {
    await player.page.reload();
    await player.enter();
    await player.picture.watch();
    await player.picture.reading("the counter to go on", ({ counter, inputs }) => counter > before.counter && inputs >= before.inputs);
  }
  const after = await rig.stack.attached(id, 4);
  assert.equal(after.container, container, "the same container");
  assert.equal(after.transport?.attachments, 4, "one attachment a page load");
});

rig.test("a second tab of the owner is offered to take over, and does", async () => {
  const player = await rig.player();
  const session = await player.play({ app: "calibrate" });
  const second = await player.context.newPage();
  await second.goto(session.play_path);
  await until("the second tab to say where it is played", () => second.evaluate(() => document.documentElement.dataset["phase"] === "elsewhere"));
  // As a duplicate of the first tab is in some browsers: with its memory, and as if it had been reloaded.
  const { attachment } = await player.page.evaluate(() => ({ ...document.documentElement.dataset }));
  const memory = await player.page.evaluate(() => sessionStorage.getItem("nearlight.attachment") ?? "");
  assert.ok(attachment && memory.includes(attachment));
  await second.evaluate((kept) => sessionStorage.setItem("nearlight.attachment", kept), memory);
  await second.reload();
  await until("the duplicate to say where it is played", () => second.evaluate(() => document.documentElement.dataset["phase"] === "elsewhere"));
  assert.equal(await player.page.evaluate(() => document.documentElement.dataset["attachment"]), attachment, "the first tab plays on");
  const takeOver = second.getByRole("button", { name: /take over/i });
  await takeOver.click({ timeout: 60_000 });
  await until("the second tab to show the picture", () => second.evaluate(() => (document.querySelector("video")?.videoWidth ?? 0) > 0), {
    within_ms: 60_000,
  });
  await player.phase("detached");
  assert.equal(await player.reason(), "taken-over");
  // No key takes the session by itself, and none is lost to the app that is gone: back by keyboard alone.
  const focused = (): Promise<string> => player.page.evaluate(() => document.activeElement?.textContent ?? "");
  assert.equal(await focused(), "Taken over");
  await player.page.keyboard.press("Enter");
  await player.page.keyboard.press("Tab");
  assert.match(await focused(), /take over/i);
  assert.equal(await player.page.evaluate(() => document.documentElement.dataset["phase"]), "detached");
  await player.page.keyboard.press("Enter");
  await player.enter();
  assert.match(await player.page.evaluate(() => document.activeElement?.className ?? ""), /surface/, "the keys are the app's again");
});

rig.test("someone else who opens the link reads that it is not theirs", async () => {
  const [owner, stranger] = [await rig.player(), await rig.player()];
  const session = await owner.play({ app: "calibrate" });
  const { status } = await stranger.api("GET", `/v1/sessions/${session.id}`);
  assert.equal(status, 404);
  await stranger.page.goto(session.play_path);
  await stranger.phase("refused");
  assert.equal(await stranger.reason(), "not-found");
  assert.match(await stranger.page.locator("body").innerText(), /belong to another player/i);
  assert.equal(await stranger.page.locator("video").evaluateAll((all) => all.filter((v) => (v as HTMLVideoElement).videoWidth > 0).length), 0);
});

rig.test("DELETE ends the session, tells the player, and removes the container", async () => {
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  const { container } = await rig.stack.edgeSession(id);
  assert.ok(container && inspect(container)?.State.Running, "the container runs");
  await player.end(id);
  assert.equal((await player.reachEnd(id)).reason, "player-ended");
  assert.equal(inspect(container), undefined, "the container is removed");
  await player.phase("ended");
  assert.equal(await player.reason(), "player-ended");
  const { status } = await player.api("DELETE", `/v1/sessions/${id}`);
  assert.equal(status, 202, "a second DELETE answers the same");
});
