/**
 * What the overlay names when a stream is not good, with the sign of it and no other: a radio that sends again, and a
 * node that has no processor left. Lines and distances have their own files (stream-capacity, line-check).
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Rig } from "../harness/rig.js";
import { diagnosed, Streaming } from "../harness/streaming.js";

const SEED = 16;
const CGROUPS = "/sys/fs/cgroup";
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

/** What a worker is left of a tenth of a second: half of what a session with scene `noise` takes of a core
 *  (`stream.cpu_session_percent`). */
const PERIOD_US = 100_000;
const LEFT_US = 15_000;

/** The file with the bound on a process's group, and what leaves it that little, for either version of the interface. */
function bound(pid: number): { readonly file: string; readonly left: string } {
  const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n").map((line) => line.split(":"));
  const first = groups.find(([, controllers]) => controllers?.split(",").includes("cpu"));
  if (first) return { file: join(CGROUPS, "cpu", first[2] ?? "", "cpu.cfs_quota_us"), left: String(LEFT_US) };
  const unified = groups.find(([, controllers]) => controllers === "");
  return { file: join(CGROUPS, unified?.[2] ?? "", "cpu.max"), left: `${LEFT_US} ${PERIOD_US}` };
}

/** Leaves a worker next to no processor time; answers how to end that. Programs that compete for it would not do: the
 *  agent gives what makes pictures the larger weight. */
function crowd(pid: number): () => void {
  const { file, left } = bound(pid);
  const before = readFileSync(file, "utf8");
  writeFileSync(file, left);
  return () => {
    writeFileSync(file, before);
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
