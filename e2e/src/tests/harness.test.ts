/**
 * The harness against itself: a page that streams the specification's example picture and a tone to
 * itself. What fails here is a fault of the tests or of the browser, not of Nearlight.
 */

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { after, before, test } from "node:test";
import { crc32, decode } from "../harness/calibrate.js";
import { launchChromium } from "../harness/chromium.js";
import { launchFirefox } from "../harness/firefox.js";
import { Picture } from "../harness/picture.js";
import { installProbe } from "../harness/probe.js";

/** Of docs/calibrate.md. */
const EXAMPLE = "aaaaaaaa 000003e8 070d001e 02800168 fffd000c 0000000f 79ed52d8 c9b10758";

const PAGE = `<!doctype html><title>Loop</title><button>Play</button><video playsinline></video>
<script>
const rows = "${EXAMPLE}".split(" ").map((word) => parseInt(word, 16));
const canvas = Object.assign(document.createElement("canvas"), { width: 1280, height: 720 });
const pen = canvas.getContext("2d");
let frame = 0;
function draw() {
  pen.fillStyle = "rgb(16,20,24)";
  pen.fillRect(0, 0, 1280, 720);
  rows.forEach((row, y) => {
    for (let x = 0; x < 32; x++) {
      pen.fillStyle = (row >>> (31 - x)) & 1 ? "#fff" : "#000";
      pen.fillRect(16 * x, 16 * y, 16, 16);
    }
  });
  pen.fillStyle = "rgb(255,140,0)";
  pen.fillRect((frame++ * 8) % 1248, 128, 32, 32);
  requestAnimationFrame(draw);
}
document.querySelector("button").onclick = async () => {
  draw();
  const audio = new AudioContext();
  audio.resume();
  const tone = audio.createOscillator();
  const out = audio.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
  from.onicecandidate = ({ candidate }) => to.addIceCandidate(candidate);
  to.onicecandidate = ({ candidate }) => from.addIceCandidate(candidate);
  const received = new MediaStream();
  const video = document.querySelector("video");
  video.srcObject = received;
  to.ontrack = ({ track }) => { received.addTrack(track); video.play(); };
  for (const track of [...canvas.captureStream(60).getTracks(), ...out.stream.getTracks()]) from.addTrack(track);
  const options = { negotiated: true, id: 0 };
  const [motion] = [from.createDataChannel("marks", options), to.createDataChannel("motion", options)];
  motion.onopen = () => {
    const mark = new DataView(new ArrayBuffer(58));
    mark.setUint8(0, 1);
    mark.setUint8(1, 0x82);
    mark.setUint32(2, 90000, true);
    mark.setUint32(6, 7, true);
    [1000n, 2000n, 3000n, 4000n, 5000n, 6000n].forEach((time, i) => mark.setBigUint64(10 + 8 * i, time, true));
    motion.send(mark.buffer);
    motion.send(JSON.stringify({ notice: "pointer-lock", wanted: true }));
  };
  await from.setLocalDescription();
  await to.setRemoteDescription(from.localDescription);
  await to.setLocalDescription();
  await from.setRemoteDescription(to.localDescription);
};
</script>`;

let server: Server;
let address = "";
before(async () => {
  server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end(PAGE));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  if (bound && typeof bound === "object") address = `http://127.0.0.1:${bound.port}/`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

test("the example of the specification is read as it says", () => {
  const reading = decode(EXAMPLE.split(" ").map((word) => Number.parseInt(word, 16)));
  assert.deepEqual(reading, {
    counter: 1000,
    inputs: 7,
    light: true,
    locked: false,
    pointerInside: true,
    keyboard: true,
    sound: false,
    immediate: false,
    code: 30,
    pointer: { x: 640, y: 360 },
    relative: { x: -3, y: 12 },
    wheel: { x: 0, y: 15 },
    clipboard: crc32("calibrate 1"),
  });
});

async function readsTheLoop(picture: Picture, withSound: boolean): Promise<void> {
  await picture.isShown();
  await picture.watch();
  const { counter } = await picture.reading("the example", () => true);
  assert.equal(counter, 1000);
  await picture.differsFrom(await picture.thumbnail(), 0.05, "the bar to move");
  if (withSound) {
    await picture.listen();
    await picture.isLoud(0.5, "the tone");
  }
  const [mark] = await picture.marks();
  assert.deepEqual(mark, { rtp: 90000, frame: 7, commit_us: 1000, captured_us: 2000, encoded_us: 3000, sent_us: 4000, input_us: 5000, input_host_us: 6000 });
  assert.deepEqual(await picture.notices(), [{ notice: "pointer-lock", wanted: true }]);
}

test("Chromium: the probe sees picture, sound, marks and notices", { timeout: 120_000 }, async () => {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage();
    await page.addInitScript(installProbe);
    await page.goto(address);
    await page.getByRole("button").click();
    await readsTheLoop(new Picture({ evaluate: (body, argument) => page.evaluate(body as never, argument as never) }), true);
  } finally {
    await browser.close();
  }
});

test("Firefox: the probe sees picture, marks and notices", { timeout: 120_000 }, async () => {
  const { browser, page, picture } = await launchFirefox();
  try {
    await page.goto(address);
    await page.click("button");
    await readsTheLoop(picture, false); // Its AudioContext does not run on a machine with no audio device.
  } finally {
    await browser.close();
  }
});
