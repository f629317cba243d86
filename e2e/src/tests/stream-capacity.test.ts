/**
 * A path with too little room, between the real encoder and a real browser: the stream fits itself
 * into it, by rate and then by size or frame rate, drops pictures rather than lets them queue, and
 * grows again. How fast is the bench's business.
 */

import assert from "node:assert/strict";
import { Rig } from "../harness/rig.js";
import { diagnosed, Streaming } from "../harness/streaming.js";
import { until } from "../harness/until.js";

const SEED = 12;
const rig = Rig.forThisFile({ name: "stream-capacity", runtime: "docker", path: SEED });

const WAY = { delay: "20ms" };

rig.test("the stream fits into a narrower path, and grows with a wider one", async () => {
  const { path } = rig.stack;
  await path.change({ down: { ...WAY, rate: "8mbit", queue: "100ms" }, up: WAY });
  const streaming = await Streaming.of(rig, "bench-noise");
  await streaming.player.page.keyboard.press("Control+Alt+KeyS");
  await streaming.reaches("a target that 2 Mbit/s cannot carry", ({ kbps_target }) => kbps_target > 3_000);

  await path.change({ down: { rate: "2mbit" } });
  const low = await streaming.reaches("a target that fits 2 Mbit/s", ({ kbps_target }) => kbps_target < 2_000);
  assert.equal(low.limited_by, "capacity");
  await diagnosed(streaming.player, "the line to be named", ({ fault }) => fault === "line");
  await streaming.goesOn(120, "the picture to go on in less room");
  await path.change({ down: { rate: "800kbit" } });
  const narrow = await streaming.reaches("a smaller picture or fewer of them", ({ width, fps_max }) => width < 1280 || fps_max < 60);

  await path.change({ down: { rate: "8mbit" } });
  await streaming.reaches("a target that 2 Mbit/s cannot carry, again", ({ kbps_target }) => kbps_target > 3_000);
  // A machine that is full may not draw more, whatever the path carries.
  await streaming.reaches(
    "a larger picture or more of them",
    ({ width, fps_max, limited_by }) => width * fps_max > narrow.width * narrow.fps_max || limited_by === "node",
  );
  // A machine that is full may be at fault itself, but the line is not any more.
  await diagnosed(streaming.player, "the line to be cleared", ({ fault }) => fault !== "line");
  await streaming.goesOn(120, "the picture to go on in more room");
  await streaming.heldTogether();
});

rig.test("pictures that do not fit are dropped and counted, and those that were sent are shown", async () => {
  const { path } = rig.stack;
  await path.change({ down: { ...WAY, rate: "8mbit", queue: "100ms" }, up: WAY });
  const streaming = await Streaming.of(rig, "bench-noise");
  const before = await dropped(rig, streaming.session);
  await path.change({ down: { rate: "1mbit" } });
  await streaming.reaches("a target that fits 1 Mbit/s", ({ kbps_target }) => kbps_target < 1_000);
  // Less than the least rate that the stream asks for.
  await path.change({ down: { rate: "200kbit" } });
  await until("pictures to be dropped", async () => (await dropped(rig, streaming.session)) > before);
  await path.clean();
  await until("every picture that was encoded to be sent, or counted as dropped", async () => {
    const { transport } = await rig.stack.edgeSession(streaming.session);
    return transport !== null && transport.video_in === transport.video_sent + sum(transport.video_dropped);
  });
  await streaming.goesOn(60, "the newest picture to be shown");
  await streaming.heldTogether();
});

/** Pictures of a session that were dropped: by its worker before they were encoded, or in the agent before they were sent. */
async function dropped(rig: Rig, session: string): Promise<number> {
  const { worker, transport } = await rig.stack.edgeSession(session);
  return sum(worker?.dropped ?? {}) + sum(transport?.video_dropped ?? {});
}

function sum(by: Record<string, number>): number {
  return Object.values(by).reduce((total, value) => total + value, 0);
}
