/** Apps that attack their desktop or sound server: at most their own session pays. */

import assert from "node:assert/strict";
import { Rig } from "../harness/rig.js";
import { isAlive } from "../harness/processes.js";
import { until, Hopeless } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "hostile-apps" });

/** Ends that a hostile desktop client may have: the worker threw it out, or it exited when it was disconnected. */
const DESKTOP_ENDS = ["desktop-violation", "app-crashed"];

for (const attack of ["truncated-shm", "surfaces", "giant-buffers"] as const) {
  rig.test(`a hostile Wayland client (${attack}) ends its session with a reason; another streams on`, async () => {
    const bystander = await rig.player();
    const other = await bystander.play({ app: "calibrate" });
    await bystander.picture.watch();
    const before = await rig.stack.attached(other.id);
    const attacker = await rig.player();
    const session = await attacker.create({ app: `hostile-${attack}` });
    const end = await attacker.reachEnd(session.id, { within_ms: 90_000 });
    assert.ok(DESKTOP_ENDS.includes(end.reason), `ended with ${end.reason}: ${end.detail}`);
    assert.ok(end.detail.length > 0, "the end has words");
    const shown = await bystander.picture.latest();
    await bystander.picture.reading("the other session to stream on", ({ counter }) => counter > (shown?.counter ?? 0) + 60);
    const after = await rig.stack.edgeSession(other.id);
    assert.equal(after.worker_pid, before.worker_pid);
    assert.equal(after.transport?.attachments, before.transport?.attachments);
  });
}

for (const attack of ["pulse-garbage", "pulse-never-reads"] as const) {
  rig.test(`a hostile sound client (${attack}) does not stop the picture, its own nor another's`, async () => {
    const bystander = await rig.player();
    const other = await bystander.play({ app: "calibrate" });
    await bystander.picture.watch();
    const attacker = await rig.player();
    const session = await attacker.play({ app: `hostile-${attack}` });
    const { worker_pid } = await rig.stack.edgeSession(session.id);
    const commits = async (): Promise<number> => (await rig.stack.edgeSession(session.id)).worker?.committed ?? 0;
    const start = await commits();
    await until("the attacker's own picture to go on for a while", async () => {
      const { state } = await attacker.session(session.id);
      if (state.phase === "ended") throw new Hopeless(`the session ended: ${JSON.stringify(state)}`);
      return (await commits()) > start + 600;
    }, { within_ms: 90_000 });
    assert.ok(worker_pid && isAlive(worker_pid), "its worker lives");
    const shown = await bystander.picture.latest();
    await bystander.picture.reading("the other session to stream on", ({ counter }) => counter > (shown?.counter ?? 0) + 60);
    await bystander.end(other.id);
  });
}
