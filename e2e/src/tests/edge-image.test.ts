/** A node in the edge image: Debian 13 and its GStreamer, the programs of this build, games beside it in the host's engine. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after } from "node:test";
import { containersWith, inspect } from "../harness/docker.js";
import { Rig } from "../harness/rig.js";
import { SecondNode } from "../harness/second-node.js";
import { until } from "../harness/until.js";

const IMAGE = "nearlight/edge:1";

let boxed: SecondNode | undefined;
// Before the rig's own: the second node goes before its broker does.
after(() => boxed?.down());

const rig = Rig.forThisFile({ name: "edge-image", runtime: "docker", config: ["[edge-node]", 'region = "home"'] });

/** What a program of the image prints. */
function told(program: string, ...args: string[]): string {
  return execFileSync("docker", ["run", "--rm", "--entrypoint", program, IMAGE, ...args], { encoding: "utf8" });
}

rig.test("a node in the edge image encodes with its own GStreamer, plays to a browser and hears its keys", async () => {
  const version = /GStreamer 1\.(\d+)/.exec(told("gst-inspect-1.0", "--version"))?.[1];
  assert.ok(Number(version) >= 26, `the first that knows drivers from 580 on, not 1.${version}`);
  const check = JSON.parse(told("edge-node", "--gpu-check", "--data", "/tmp/check", "--run", "/tmp/check/run")) as { passed: boolean; skipped: string | null };
  assert.ok(check.passed, JSON.stringify(check));

  const { operator } = rig.stack;
  const home = (await operator.nodes())[0]?.id ?? "";
  boxed = await SecondNode.join(rig.stack, { name: "boxed", region: "away", image: IMAGE, config: ["[runtime]", 'kind = "docker"'] });
  assert.equal((await operator.request("POST", `/v1/nodes/${home}/drain`)).status, 204);
  await until("the first node to take nothing", async () => (await operator.nodes()).some(({ id, status }) => id === home && status === "draining"));

  const player = await rig.player();
  const session = await player.play({ app: "calibrate" });
  assert.equal((await operator.session(session.id)).node, boxed.id);
  const [container, ...more] = containersWith(`nearlight.session=${session.id}`);
  assert.ok(container && more.length === 0, "its app is in the host's engine");
  assert.ok(inspect(container)?.State.Running);

  await player.picture.watch();
  const { counter } = await player.picture.reading("a frame of the app", () => true);
  await player.picture.reading("frames that follow", (later) => later.counter !== counter);
  const { x, y } = await player.centre();
  await player.page.mouse.move(x, y);
  await player.page.keyboard.press("F4");
  await player.picture.reading("a key to have arrived", ({ code }) => code === 62);
  await player.end(session.id);
  await until("its container to be gone", () => containersWith(`nearlight.session=${session.id}`).length === 0);
});
