/**
 * Lost packets, between the real encoder and a real browser: the picture goes on and is never an old
 * one, what was lost is made good in each way that the browser takes, the sound goes on, and nobody is
 * sent away. How fast is the bench's business.
 */

import assert from "node:assert/strict";
import type { Conditions, PathReport } from "../harness/path.js";
import { repairs, type Repairs } from "../harness/repairs.js";
import { Rig } from "../harness/rig.js";
import { Streaming } from "../harness/streaming.js";
import { until } from "../harness/until.js";

const SEED = 11;
const rig = Rig.forThisFile({ name: "stream-loss", runtime: "docker", path: SEED });

const WAY = { delay: "20ms" };
/** Enough to lose several packets of every kind, on any path here. */
const COMMITS = 240;
/** Packets of sound that the browser misses, before what became of them is judged. */
const SOUND_LOST = 10;

/** Plays on `down` until enough was lost, and answers how it was made good meanwhile. */
async function playsOn(down: Conditions, lost: (report: PathReport) => number): Promise<Repairs> {
  const { path } = rig.stack;
  const streaming = await Streaming.of(rig, "bench-paced");
  await path.change({ down: { ...down, ...WAY }, up: WAY });
  // A round trip of 40 ms is too long to ask again alone.
  await streaming.reaches("repair packets to be sent ahead", ({ repair }) => repair === "flex-fec");
  const [before, from] = [await path.report(), await repairs(streaming.player)];
  await streaming.goesOn(COMMITS);
  await until("twenty packets to be lost", async () => lost(await path.report()) - lost(before) >= 20, {
    within_ms: 60_000,
    instead: () => path.report(),
  });
  await streaming.grows("audio", "packetsLost", SOUND_LOST);
  await streaming.goesOn(60, "the picture to go on while packets are lost");
  const made = (await repairs(streaming.player)).since(from);
  await path.clean();
  await streaming.goesOn(60, "the picture to go on once none are lost");
  assert.equal((await path.report()).down.overflowed, 0, "the relay lost nothing of its own");
  await streaming.heldTogether();
  return made;
}

/** Both ways at once: what repair packets cannot give back is asked for again. */
function pictureIsRepaired({ picture }: Repairs): void {
  assert.ok(picture.ahead > 0, `no repair packet came: ${JSON.stringify(picture)}`);
  assert.ok(picture.again > 0, `nothing was sent again: ${JSON.stringify(picture)}`);
}

/** What was lost came within later packets (RED): less than half of it had to be made up. */
function soundIsRepaired({ sound }: Repairs): void {
  const missed = (sound.samples * sound.lost) / sound.packets;
  assert.ok(sound.concealed < missed / 2, `lost sound was made up: ${JSON.stringify(sound)}`);
}

rig.test("2% of the packets lost", async () => {
  const made = await playsOn({ loss: "2%" }, ({ down }) => down.lost_random);
  pictureIsRepaired(made);
  soundIsRepaired(made);
});

rig.test("5% of the packets lost", async () => {
  const made = await playsOn({ loss: "5%" }, ({ down }) => down.lost_random);
  pictureIsRepaired(made);
  soundIsRepaired(made);
});

rig.test("ten packets in a row lost, again and again", async () => {
  const made = await playsOn({ burst: "10 every 1s" }, ({ down }) => down.lost_burst);
  pictureIsRepaired(made);
});

rig.test("a fifth of the packets lost for a while, and then none", async () => {
  const { path } = rig.stack;
  const streaming = await Streaming.of(rig, "bench-paced");
  await path.change({ down: WAY, up: WAY });
  await streaming.goesOn(60);
  const from = await repairs(streaming.player);
  const { down: before } = await path.change({ down: { loss: "20%" } });
  // Two seconds' worth at 8 Mbit/s, sound included.
  await until("a thousand packets to be offered", async () => (await path.report()).down.offered - before.offered >= 1_000, { within_ms: 60_000 });
  const { down: after } = await path.clean();
  assert.ok(after.lost_random - before.lost_random >= 100, "a good many were lost");
  await streaming.goesOn(120, "the picture to come back");
  await streaming.grows("audio", "packetsReceived", 200);
  const { picture } = (await repairs(streaming.player)).since(from);
  assert.ok(picture.again > 0, "nothing was sent again");
  await streaming.heldTogether();
});
