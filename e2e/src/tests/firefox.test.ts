/** The same in Firefox, shorter: picture, keys, pointer and sound, in VP8 where it has no H.264. */

import assert from "node:assert/strict";
import { enter, launchFirefox, play } from "../harness/firefox.js";
import { assertNeverBackwards } from "../harness/picture.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "firefox" });

rig.test("Firefox plays calibrate: picture, keys, pointer, sound, reload", async () => {
  const player = await launchFirefox();
  const { browser, page, picture } = player;
  try {
    await play(rig.stack, player, "calibrate");
    const offersH264 = await page.evaluate(() =>
      (RTCRtpReceiver.getCapabilities("video")?.codecs ?? []).some(({ mimeType, sdpFmtpLine }) => mimeType === "video/H264" && /42e01f/i.test(sdpFmtpLine ?? "")),
    );
    const { mimeType } = await picture.inbound("video");
    if (!offersH264) assert.equal(mimeType, "video/VP8");

    const box = await (await page.$("video"))?.boundingBox();
    assert.ok(box);
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await page.mouse.move(x, y);
    await picture.reading("the pointer in the middle", ({ pointer }) => Math.abs(pointer.x - 640) <= 4 && Math.abs(pointer.y - 360) <= 4);
    for (let i = 0; i < 10; i++) {
      const before = await picture.reading("a reading", () => true);
      if (i % 2 === 0) await page.keyboard.press("KeyA");
      else await page.mouse.click(x, y);
      await picture.reading(`press ${i + 1} to flip the picture`, ({ light, inputs }) => light !== before.light && inputs === (before.inputs + 1) % 256);
    }
    // Firefox runs no AudioContext on a machine with no audio device; its own count of what it decoded will do.
    const energy = async (): Promise<number> => Number((await picture.inbound("audio"))["totalAudioEnergy"]);
    const quiet = await energy();
    await page.mouse.click(x, y);
    await until("the click to be heard", async () => (await energy()) > quiet + 0.0005);

    const { readings } = await picture.readings();
    assert.ok(assertNeverBackwards(readings) > 0);
    const last = readings.at(-1)?.counter ?? 0;
    await page.reload();
    await enter(player);
    await picture.reading("the counter to go on after a reload", ({ counter }) => counter > last);
  } finally {
    await browser.close();
  }
});
