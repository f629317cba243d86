/**
 * Lost packets, between the real encoder and a real browser: the picture goes on and is never an old
 * one, what was lost is made good, the sound goes on, and nobody is sent away. How fast is the
 * bench's business.
 */

import assert from "node:assert/strict";
import type { Conditions, PathReport } from "../harness/path.js";
import { Rig } from "../harness/rig.js";
import { Streaming } from "../harness/streaming.js";
import { until } from "../harness/until.js";

const SEED = 11;
const rig = Rig.forThisFile({ name: "stream-loss", runtime: "docker", path: SEED });

/** Enough to lose several packets of every kind, on any path here. */
const COMMITS = 400;

/** Plays on `down`, and answers what the path did meanwhile. */
async function playsOn(down: Conditions, lost: (report: PathReport) => number): Promise<void> {
  const { path } = rig.stack;
  const streaming = await Streaming.of(rig, "bench-paced");
  const before = await path.change({ down: { ...down, delay: "20ms" }, up: { delay: "20ms" } });
  const keys = await streaming.counted("video", "keyFramesDecoded");
  await streaming.goesOn(COMMITS);
  await until("twenty packets to be lost", async () => lost(await path.report()) - lost(before) >= 20, {
    within_ms: 60_000,
    instead: () => path.report(),
  });
  await streaming.goesOn(60, "the picture to go on while packets are lost");
  await streaming.grows("audio", "packetsReceived", 200);
  await path.clean();
  await streaming.goesOn(120, "the picture to go on once none are lost");

  const repaired = (await streaming.counted("video", "retransmittedPacketsReceived")) + (await streaming.counted("video", "fecPacketsReceived"));
  const renewed = (await streaming.counted("video", "keyFramesDecoded")) - keys;
  assert.ok(repaired > 0 || renewed > 0, "what was lost was sent again, repaired, or followed by a key frame");
  assert.ok((await path.report()).down.overflowed === 0, "the relay lost nothing of its own");
  await streaming.heldTogether();
}

rig.test("2% of the packets lost", () => playsOn({ loss: "2%" }, ({ down }) => down.lost_random));

rig.test("5% of the packets lost", () => playsOn({ loss: "5%" }, ({ down }) => down.lost_random));

rig.test("ten packets in a row lost, again and again", () => playsOn({ burst: "10 every 1s" }, ({ down }) => down.lost_burst));

rig.test("a fifth of the packets lost for a while, and then none", async () => {
  const { path } = rig.stack;
  const streaming = await Streaming.of(rig, "bench-paced");
  await path.change({ down: { delay: "20ms" }, up: { delay: "20ms" } });
  await streaming.goesOn(60);
  const { down: before } = await path.change({ down: { loss: "20%" } });
  // Two seconds' worth at 8 Mbit/s, sound included.
  await until("a thousand packets to be offered", async () => (await path.report()).down.offered - before.offered >= 1_000, { within_ms: 60_000 });
  const { down: after } = await path.clean();
  assert.ok(after.lost_random - before.lost_random >= 100, "a good many were lost");
  await streaming.goesOn(120, "the picture to come back");
  await streaming.grows("audio", "packetsReceived", 200);
  await streaming.heldTogether();
});
