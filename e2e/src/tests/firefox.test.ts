/** The same in Firefox, shorter: picture, keys, pointer and sound, in VP8 where it has no H.264; and with packets lost. */

import assert from "node:assert/strict";
import type { Session } from "../../../client-web/src/wire/types.js";
import { launchFirefox, type FirefoxPlayer } from "../harness/firefox.js";
import { assertNeverBackwards } from "../harness/picture.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";

const SEED = 17;
const WAY = { delay: "20ms" };
const rig = Rig.forThisFile({ name: "firefox", path: SEED });

/** Waits until the page plays, and reads the picture's barcode from then on. */
async function enter({ page, picture }: FirefoxPlayer): Promise<void> {
  await until("the page to be playing", () => page.evaluate(() => document.documentElement.dataset["phase"] === "playing"), {
    within_ms: 90_000,
    instead: () => page.evaluate(() => ({ ...document.documentElement.dataset })),
  });
  await picture.isShown();
  await picture.watch();
}

/** A session of a guest of this browser, in front of it. */
async function play(player: FirefoxPlayer, app: string): Promise<string> {
  const { page } = player;
  await page.goto(rig.stack.base);
  // The lobby makes this browser a guest; a second whoami beside its own would make it another one.
  await until("the lobby to have made a guest", () => page.evaluate(async () => (await fetch("/v1/sessions")).ok));
  const session = await page.evaluate(async (app) => {
    const answer = await fetch("/v1/sessions", {
      method: "POST",
      headers: { "content-type": "application/json", "idempotency-key": crypto.randomUUID() },
      body: JSON.stringify({ app }),
    });
    return (await answer.json()) as Session;
  }, app);
  rig.stack.remember(session.id);
  await page.goto(rig.stack.base + session.play_path);
  await enter(player);
  return session.id;
}

rig.test("Firefox plays calibrate: picture, keys, pointer, sound, reload", async () => {
  const player = await launchFirefox();
  const { browser, page, picture } = player;
  try {
    await play(player, "calibrate");
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

rig.test("Firefox asks again for what is lost, and the picture and the sound go on", async () => {
  const player = await launchFirefox();
  const { browser, picture } = player;
  const { path } = rig.stack;
  try {
    await path.change({ down: WAY, up: WAY });
    const id = await play(player, "bench-paced");
    const node = async () => (await rig.stack.edgeSession(id)).transport;
    const [before, { down }] = [await node(), await path.change({ down: { loss: "2%" } })];
    const sound = Number((await picture.inbound("audio"))["packetsReceived"]);
    await until("forty packets to be lost", async () => (await path.report()).down.lost_random - down.lost_random >= 40, { within_ms: 60_000 });
    await until("the node to have sent some of them again", async () => ((await node())?.retransmits ?? 0) > (before?.retransmits ?? 0), { instead: node });
    await until("the sound to go on", async () => Number((await picture.inbound("audio"))["packetsReceived"]) >= sound + 200);
    const { counter } = await picture.reading("a reading", () => true);
    await picture.reading("the picture to go on while packets are lost", (now) => now.counter >= counter + 120, { within_ms: 60_000 });
    // It takes neither FlexFEC nor RED, so asking again is all there is.
    const told = (await picture.notices()).flatMap((notice) => (notice.notice === "stream" ? [notice.stream.repair] : []));
    assert.deepEqual([...new Set(told)], ["rtx"]);
    await path.clean();
    const after = await picture.reading("a reading", () => true);
    await picture.reading("the picture to go on once none are lost", (now) => now.counter >= after.counter + 120, { within_ms: 60_000 });
    assertNeverBackwards((await picture.readings()).readings);
    assert.equal((await node())?.attachments, 1, "one attachment, never lost");
  } finally {
    await browser.close();
  }
});
