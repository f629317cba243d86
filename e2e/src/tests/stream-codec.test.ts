/** Another video format than the node's best, chosen in the settings: VP9, which every Chromium decodes and every node makes. */

import assert from "node:assert/strict";
import { Rig } from "../harness/rig.js";
import { Streaming } from "../harness/streaming.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "stream-codec", runtime: "docker" });

rig.test("VP9 that the player chooses: the picture, another target, and a key frame for who comes back", async () => {
  const streaming = await Streaming.of(rig, "bench-noise");
  const { page, picture } = streaming.player;
  const format = async (): Promise<string> => String((await picture.inbound("video"))["mimeType"]);
  assert.equal(await format(), "video/H264", "the node's best");

  await page.keyboard.press("Control+Alt+KeyM");
  await page.locator("[data-action=settings]").click();
  await page.locator("[data-field=codec]").selectOption("VP9");
  await until("the picture to come in VP9", async () => (await format()) === "video/VP9", { within_ms: 60_000, instead: format });
  await picture.watch();
  await streaming.goesOn(60, "the same app to go on in VP9");
  await streaming.reaches("the encoder to be named", ({ encoder }) => encoder.includes("vp9"));

  await page.locator("[data-field=bitrate]").selectOption("2000");
  await streaming.reaches("a target within the player's limit", ({ kbps_target, limited_by }) => kbps_target <= 2_000 && limited_by === "player");
  await streaming.goesOn(60, "the picture to go on with less");
  await page.locator("[data-field=bitrate]").selectOption("");
  await streaming.reaches("more again", ({ kbps_target }) => kbps_target > 2_000);

  // Whoever comes back in the middle has a picture that needs no other before it.
  await page.reload();
  await streaming.player.enter();
  await picture.watch();
  assert.equal(await format(), "video/VP9", "the choice is this device's");
  assert.ok((await streaming.counted("video", "keyFramesDecoded")) > 0);
  await streaming.goesOn(60, "the same app to go on");
});
