/** The picture of calibrate: it only ever goes forwards, and every commit is accounted for. */

import assert from "node:assert/strict";
import { assertNeverBackwards } from "../harness/picture.js";
import { Rig } from "../harness/rig.js";
import type { EdgeSession } from "../harness/stack.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "calibrate-picture" });

rig.test("the counter in the picture never goes backwards", async () => {
  const player = await rig.player();
  await player.play({ app: "calibrate" });
  await player.picture.watch();
  await until("600 presented frames", async () => (await player.picture.frames()).length >= 600, { within_ms: 120_000 });
  const { readings, unreadable } = await player.picture.readings();
  assert.ok(assertNeverBackwards(readings) > 0, "the counter stands still");
  assert.equal(unreadable, 0, `${unreadable} of ${readings.length + unreadable} frames are unreadable`);
});

rig.test("every committed frame is sent, or dropped with a reason", async () => {
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  await player.picture.watch();
  const before = await player.picture.reading("the first hundred commits", ({ counter }) => counter > 100);
  await player.page.reload();
  await player.enter();
  await player.picture.watch();
  await player.picture.reading("the reloaded page to go on", ({ counter }) => counter > before.counter + 60);
  // Calibrate stops committing, so the totals can be compared exactly.
  await player.page.keyboard.press("F9");
  const settled = await until("the node's totals to settle", () => settledTotals(id), { within_ms: 30_000, every_ms: 1_500 });
  const { worker, transport } = settled;
  assert.ok(worker && transport);
  assert.equal(worker.in_flight, 0);
  assert.equal(worker.committed, worker.encoded + sum(worker.dropped), "commits = access units + drops");
  assert.equal(transport.video_in, worker.encoded + worker.repeated, "the agent got every access unit");
  assert.equal(transport.video_in, transport.video_sent + sum(transport.video_dropped), "access units = sent + drops");
  assert.ok((worker.dropped["no-viewer"] ?? 0) > 0, "the reload left a time with no viewer");
  const shown = await player.picture.latest();
  assert.equal(shown?.counter, worker.committed, "the last commit is on the screen");
});

/** The session's totals, once two looks agree. */
async function settledTotals(id: string): Promise<EdgeSession | undefined> {
  const now = await rig.stack.edgeSession(id);
  const agreed = lastLook !== undefined && lastLook.worker?.committed === now.worker?.committed && lastLook.transport?.video_in === now.transport?.video_in;
  lastLook = now;
  return agreed ? now : undefined;
}
let lastLook: EdgeSession | undefined;

function sum(by: Record<string, number>): number {
  return Object.values(by).reduce((total, value) => total + value, 0);
}
