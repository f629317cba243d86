/** Programs of ours that die: what each death may cost, and what it may not. */

import assert from "node:assert/strict";
import { assertNeverBackwards } from "../harness/picture.js";
import type { Player } from "../harness/player.js";
import { isAlive, signal } from "../harness/processes.js";
import { Rig } from "../harness/rig.js";
import { until } from "../harness/until.js";
import type { Session } from "../../../client-web/src/wire/types.js";

const rig = Rig.forThisFile({ name: "failures-roles", runtime: "docker" });

async function playing(): Promise<{ player: Player; session: Session }> {
  const player = await rig.player();
  const session = await player.play({ app: "calibrate" });
  await player.picture.watch();
  return { player, session };
}

rig.test("a session worker that crashes ends its session, and another streams on untouched", async () => {
  const [doomed, other] = [await playing(), await playing()];
  const { worker_pid } = await rig.stack.edgeSession(doomed.session.id);
  const before = await rig.stack.attached(other.session.id);
  assert.ok(worker_pid);
  // Rust's own handler takes the first one for a stack overflow that would come back at once; it is
  // no fault of an instruction and does not, so it has to be sent again.
  await until("the worker to be dead", () => {
    signal(worker_pid, "SIGSEGV");
    return !isAlive(worker_pid);
  });
  assert.equal((await doomed.player.reachEnd(doomed.session.id)).reason, "worker-crashed");
  const shown = await other.player.picture.latest();
  await other.player.picture.reading("the other session to stream on", ({ counter }) => counter > (shown?.counter ?? 0) + 120);
  const after = await rig.stack.edgeSession(other.session.id);
  assert.equal(after.worker_pid, before.worker_pid);
  assert.equal(after.container, before.container);
  assert.equal(after.transport?.attachments, before.transport?.attachments, "it never had to attach again");
  assertNeverBackwards((await other.player.picture.readings()).readings);
});

rig.test("kill -9 of the edge agent: the same container plays on after a reconnect", async () => {
  const { player, session } = await playing();
  const before = await rig.stack.attached(session.id);
  await player.page.keyboard.press("KeyA");
  const shown = await player.picture.reading("a flip", ({ inputs }) => inputs >= 1);
  const agent = rig.stack.role("edge-node");
  signal(agent.pid, "SIGKILL");
  await until("a new agent that has adopted the session", async () => {
    const { pid } = rig.stack.role("edge-node");
    if (pid === agent.pid) return undefined;
    return (await rig.stack.edgeSession(session.id)).worker_pid === before.worker_pid;
  }, { within_ms: 60_000 });
  assert.ok(before.worker_pid && isAlive(before.worker_pid), "the worker lived on");
  await player.picture.reading("the page to play on by itself", ({ counter, inputs }) => counter > shown.counter + 60 && inputs >= shown.inputs, {
    within_ms: 90_000,
  });
  const after = await rig.stack.edgeSession(session.id);
  assert.equal(after.container, before.container, "the same container");
  await player.page.keyboard.press("KeyB");
  await player.picture.reading("input to arrive again", ({ code }) => code === 48);
});

rig.test("the broker is killed and comes back while a stream runs: the stream never stops", async () => {
  const { player, session } = await playing();
  const before = await rig.stack.attached(session.id);
  const broker = rig.stack.role("session-broker");
  signal(broker.pid, "SIGKILL");
  const shown = await player.picture.latest();
  await player.picture.reading("frames while the broker is gone or new", ({ counter }) => counter > (shown?.counter ?? 0) + 60);
  await until("a new broker that answers", async () => {
    if (rig.stack.role("session-broker").pid === broker.pid) return undefined;
    return (await player.api("GET", "/v1/sessions")).status === 200;
  }, { within_ms: 60_000 });
  await player.reach(session.id, ["playing"]);
  const listed = await player.api<{ sessions: Session[] }>("GET", "/v1/sessions");
  assert.ok(listed.body.sessions.some(({ id }) => id === session.id), "the session is still listed");
  await player.page.keyboard.press("KeyB");
  await player.picture.reading("input through the same stream", ({ code }) => code === 48);
  const after = await rig.stack.edgeSession(session.id);
  assert.equal(after.transport?.attachments, before.transport?.attachments, "the stream never had to attach again");
  await player.end(session.id);
});
