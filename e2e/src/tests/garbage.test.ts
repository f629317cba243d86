/** Garbage on the media side: on the data channels of a player, and on the node's UDP port. */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { randomBytes } from "node:crypto";
import { Rig } from "../harness/rig.js";
import { readProcess } from "../harness/processes.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "garbage" });

rig.test("garbage on the data channels is counted and costs nobody else anything", async () => {
  const [bystander, player] = [await rig.player(), await rig.player()];
  const other = await bystander.play({ app: "calibrate" });
  await bystander.picture.watch();
  const session = await player.play({ app: "calibrate" });
  await player.picture.watch();
  const before = await rig.stack.attached(other.id);

  // One on each channel: counted, and the session is played on.
  await player.page.evaluate(() => {
    for (const channel of nearlightProbe.channels.values()) channel.send(new Uint8Array([9, 9, 9]));
  });
  await until("the rejects to be counted", async () => ((await rig.stack.edgeSession(session.id)).transport?.input_rejected ?? 0) >= 2);
  await player.page.keyboard.press("KeyA");
  await player.picture.reading("a key after them", ({ code }) => code === 30);

  // A flood, of every kind and length: the attachment is ended with that reason.
  await player.page.evaluate(() => {
    for (let i = 0; i < 3_000; i++) {
      for (const channel of nearlightProbe.channels.values()) {
        if (channel.readyState !== "open") continue;
        const bytes = crypto.getRandomValues(new Uint8Array(1 + (i % 300)));
        if (i % 3 === 0 && bytes.length > 2) bytes.set([1, i % 16]);
        if (i % 7 === 0) channel.send("text where binary belongs");
        else channel.send(bytes);
      }
    }
    const control = nearlightProbe.channels.get("control");
    if (control?.readyState === "open") control.send(new Uint8Array(60_000));
  });
  await player.phase("detached");
  assert.equal(await player.reason(), "protocol-error");

  const shown = await bystander.picture.latest();
  await bystander.picture.reading("the other session to stream on", ({ counter }) => counter > (shown?.counter ?? 0) + 60);
  const after = await rig.stack.edgeSession(other.id);
  assert.equal(after.transport?.attachments, before.transport?.attachments);
  // The flooded session itself can be played again.
  await player.page.reload();
  await player.enter();
  await player.picture.watch();
  await player.page.keyboard.press("KeyB");
  await player.picture.reading("a key after the flood", ({ code }) => code === 48);
});

rig.test("garbage on the UDP port disturbs no stream", async () => {
  const player = await rig.player();
  await player.play({ app: "calibrate" });
  await player.picture.watch();
  const agent = rig.stack.role("edge-node");
  const before = await player.picture.reading("a reading", () => true);
  await shower(rig.stack.rtcPort);
  await player.picture.reading("the stream to go on", ({ counter }) => counter > before.counter + 120);
  await player.page.keyboard.press("KeyC");
  await player.picture.reading("input to arrive", ({ code }) => code === 46);
  assert.ok(readProcess(agent.pid), "the agent lives");
  assert.equal(rig.stack.role("edge-node").pid, agent.pid, "and is the same");
});

/** Random datagrams, and ones that begin like STUN, DTLS, SRTP and SRTCP. */
async function shower(port: number): Promise<void> {
  const socket = createSocket("udp4");
  const heads = [[], [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42], [0x00, 0x01, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42], [22, 254, 253], [23, 254, 255], [0x80, 96], [0x80, 200], [0x90, 111]];
  for (let i = 0; i < 4_000; i++) {
    const body = Buffer.concat([Buffer.from(heads[i % heads.length] ?? []), randomBytes(i % 1_400)]);
    await new Promise<void>((resolve) => socket.send(body, port, "127.0.0.1", () => resolve()));
  }
  await new Promise<void>((resolve) => socket.close(resolve));
}
