/** Apps that attack their desktop or sound server: at most their own session pays. */

import assert from "node:assert/strict";
import { Rig } from "../harness/rig.js";
import { isAlive } from "../harness/processes.js";
import { until, Hopeless } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "hostile-apps" });

/** Ends that a hostile desktop client may have: the worker threw it out, or it exited when it was disconnected. */
const DESKTOP_ENDS = ["desktop-violation", "app-crashed"];

interface Bystander {
  /** Waits until it has shown a second more of pictures, by the same worker and to the same attachment. */
  streamsOn(): Promise<void>;
}

/** Another player of the same node, whom no attack may reach. */
async function bystander(): Promise<Bystander> {
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  await player.picture.watch();
  const before = await rig.stack.attached(id);
  return {
    async streamsOn() {
      const shown = await player.picture.latest();
      await player.picture.reading("the other session to stream on", ({ counter }) => counter > (shown?.counter ?? 0) + 60);
      const after = await rig.stack.edgeSession(id);
      assert.equal(after.worker_pid, before.worker_pid);
      assert.equal(after.transport?.attachments, before.transport?.attachments);
    },
  };
}

rig.test("a hostile Wayland client ends its session with a reason; another streams on", async () => {
  const other = await bystander();
  const attacker = await rig.player();
  for (const attack of ["truncated-shm", "surfaces", "giant-buffers"]) {
    const session = await attacker.create({ app: `hostile-${attack}` });
    const end = await attacker.reachEnd(session.id, { within_ms: 90_000 });
    assert.ok(DESKTOP_ENDS.includes(end.reason), `${attack} ended with ${end.reason}: ${end.detail}`);
    assert.ok(end.detail.length > 0, "the end has words");
    await other.streamsOn();
  }
}, 360_000);

/** Plays an app that attacks its sound server, until its picture has gone on for ten seconds' worth. */
async function attackSound(attack: string): Promise<void> {
  const attacker = await rig.player();
  const session = await attacker.play({ app: `hostile-${attack}` });
  const { worker_pid } = await rig.stack.edgeSession(session.id);
  const commits = async (): Promise<number> => (await rig.stack.edgeSession(session.id)).worker?.committed ?? 0;
  const start = await commits();
  await until(`the picture of ${attack} to go on for a while`, async () => {
    const { state } = await attacker.session(session.id);
    if (state.phase === "ended") throw new Hopeless(`the session ended: ${JSON.stringify(state)}`);
    return (await commits()) > start + 600;
  }, { within_ms: 90_000 });
  assert.ok(worker_pid && isAlive(worker_pid), "its worker lives");
}

rig.test("a hostile sound client does not stop the picture, its own nor another's", async () => {
  const other = await bystander();
  await Promise.all(["pulse-garbage", "pulse-never-reads"].map(attackSound));
  await other.streamsOn();
});
