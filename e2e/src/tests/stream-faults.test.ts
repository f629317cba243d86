/**
 * What the overlay names when a stream is not good, with the sign of it and no other: a radio that sends again, and a
 * node that has no processor left. Lines and distances have their own files (stream-capacity, line-check).
 */

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { Rig } from "../harness/rig.js";
import { diagnosed, Streaming } from "../harness/streaming.js";

const SEED = 16;
/** A browser that comes to a loopback name is told nothing of radios. This one resolves to loopback, too, and says so to nobody. */
const NAME = "home.localhost";
const rig = Rig.forThisFile({ name: "stream-faults", runtime: "docker", path: SEED, config: ["[session-broker]", `hosts = ["${NAME}"]`] });

rig.test("a round trip that jumps, with no queue, is blamed on the radio", async () => {
  const { path, base } = rig.stack;
  // Packets wait one by one, so that no queue stands behind them.
  const air = { delay: "3ms", jitter_shape: "exponential" } as const;
  await path.change({ down: { ...air, jitter: "4ms" }, up: { ...air, jitter: "30ms" } });
  const player = await rig.player(base.replace("127.0.0.1", NAME));
  await player.play({ app: "bench-paced" });
  await player.page.keyboard.press("Control+Alt+KeyS");
  await diagnosed(player, "the radio to be named", ({ fault }) => fault === "wifi");
});

const SPINNING = 8;

/** Leaves `pid` one of its processors, and programs there that never rest; answers how to end that. */
function crowd(pid: number): () => void {
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  const one = allowed.split(/[-,]/)[0] ?? "0";
  const hold = (processors: string): void => {
    execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", processors, String(pid)], { stdio: "ignore" });
  };
  hold(one);
  const spinning = Array.from({ length: SPINNING }, () => spawn("taskset", ["--cpu-list", one, process.execPath, "-e", "for (;;);"], { stdio: "ignore" }));
  return () => {
    for (const program of spinning) program.kill("SIGKILL");
    hold(allowed);
  };
}

rig.test("a node without processor time to encode is blamed itself", async () => {
  await rig.stack.path.clean();
  const streaming = await Streaming.of(rig, "bench-noise");
  await streaming.player.page.keyboard.press("Control+Alt+KeyS");
  const { worker_pid } = await rig.stack.edgeSession(streaming.session);
  assert.ok(worker_pid);
  const leave = crowd(worker_pid);
  try {
    await diagnosed(streaming.player, "the node to be named", ({ fault }) => fault === "node");
  } finally {
    leave();
  }
  // A machine that is full may go on being at fault; the picture goes on.
  await streaming.goesOn(60);
});
