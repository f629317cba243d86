/**
 * Clusters with real work: three containers train one network with torchrun, a Ray cluster runs a task on
 * each of its nodes; what cannot be placed together does not start, and a replica that is killed ends or
 * restarts all.
 */

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe } from "../harness/api.js";
import { containersWith, imageBytes, inspect, killContainer } from "../harness/docker.js";
import { Rig } from "../harness/rig.js";
import { BINARIES, ROOT } from "../harness/stack.js";
import { until } from "../harness/until.js";

const TORCHRUN = "nearlight/job-torchrun:1";
/** A CPU build of torch is enough for it; one for GPUs takes several times that. */
const TORCHRUN_BYTES_MAX = 2e9;
const RAY = join(ROOT, "configs/jobs/ray/job.toml");
const REPLICAS = 3;
const PATIENCE = { within_ms: 150_000 };

const rig = Rig.forThisFile({ name: "job-clusters", runtime: "docker" });

interface Started {
  id: string;
}

const cli = async (args: string[]): Promise<string> => {
  const env = { ...process.env, NEARLIGHT_URL: rig.stack.base, NEARLIGHT_TOKEN: rig.stack.key };
  const { stdout } = await promisify(execFile)(join(BINARIES, "nearlight"), args, { timeout: 280_000, env });
  return stdout;
};

/** Starts a cluster that trains for so many steps. */
async function training(steps: number, more: Record<string, unknown> = {}): Promise<string> {
  const job = {
    image: TORCHRUN,
    env: { STEPS: String(steps), PAUSE_MS: "50" },
    // Most of a start is the import of torch.
    resources: { cpu_milli: 1000, mem_mib: 1024, disk_mib: 0 },
    cluster: { replicas: REPLICAS },
    time: { stop_s: 2 },
    ...more,
  };
  const headers = { "idempotency-key": randomUUID() };
  const reply = await rig.stack.operator.request<Started>("POST", "/v1/sessions", { json: { job }, headers });
  assert.equal(reply.status, 201, describe(reply));
  rig.stack.remember(reply.body.id);
  return reply.body.id;
}

/** The containers of a run of a cluster, all of them running. */
function running(cluster: string, run: number): Promise<string[]> {
  return until(
    `${REPLICAS} containers that run`,
    () => {
      const all = containersWith(`nearlight.cluster=nearlight-${cluster}-${run}`);
      return all.length === REPLICAS && all.every((id) => inspect(id)?.State.Running) && all;
    },
    PATIENCE,
  );
}

/** What a container prints until it is gone. */
function printed(container: string): Promise<string> {
  const logs = spawn("docker", ["logs", "--follow", container], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  logs.stdout.on("data", (part: Buffer) => (text += part.toString()));
  logs.stderr.on("data", (part: Buffer) => (text += part.toString()));
  return new Promise((resolve) => logs.on("close", () => resolve(text)));
}

rig.test("three containers train one network with torchrun", async () => {
  const bytes = imageBytes(TORCHRUN);
  assert.ok(bytes > 0 && bytes < TORCHRUN_BYTES_MAX, `the image has ${bytes} bytes`);
  const id = await training(80);
  const logs = (await running(id, 0)).map(printed);
  const end = await rig.stack.operator.reachEnd(id, PATIENCE);
  const text = (await Promise.all(logs)).join("\n");
  assert.equal(end.reason, "job-done", text);
  const weights = new Set<string>();
  for (let rank = 0; rank < REPLICAS; rank++) {
    const losses = [...text.matchAll(new RegExp(`rank ${rank} of ${REPLICAS} step \\d+ loss ([\\d.]+)`, "g"))].map((m) => Number(m[1]));
    const [first, last] = [losses[0], losses.at(-1)];
    assert.ok(losses.length >= 8 && first !== undefined && last !== undefined && last < first, `rank ${rank}: ${losses.join(" ")}`);
    const digest = new RegExp(`rank ${rank} of ${REPLICAS} weights (sha256:[0-9a-f]{64})`).exec(text)?.[1];
    assert.ok(digest, `rank ${rank} has no weights:\n${text}`);
    weights.add(digest);
  }
  assert.equal(weights.size, 1, "every rank ends with the same weights");
}, 200_000);

rig.test("a replica that is killed ends all, or has all run again", async () => {
  const once = await training(100_000);
  const [victim] = await running(once, 0);
  await rig.stack.operator.reach(once, ["ready"], PATIENCE);
  for (let rank = 0; rank < REPLICAS; rank++) {
    const said = `rank ${rank} of ${REPLICAS}`;
    await until(`the log of replica ${rank}`, async () => (await cli(["session", "logs", "--replica", String(rank), once])).includes(said), PATIENCE);
  }
  killContainer(victim ?? "", "KILL");
  assert.equal((await rig.stack.operator.reachEnd(once, PATIENCE)).reason, "job-failed");
  await until("nothing of it to be left", () => containersWith(`nearlight.cluster=nearlight-${once}-0`).length === 0);

  const again = await training(100_000, { cluster: { replicas: REPLICAS, on_failure: "restart" }, restart: { max: 1 } });
  const first = await running(again, 0);
  killContainer(first[0] ?? "", "KILL");
  const second = await running(again, 1);
  assert.ok(second.every((id) => !first.includes(id)));
  await rig.stack.operator.reach(again, ["ready"], PATIENCE);
  killContainer(second[0] ?? "", "KILL");
  assert.equal((await rig.stack.operator.reachEnd(again, PATIENCE)).reason, "job-failed", "once was what it asked for");
}, 300_000);

rig.test("a Ray cluster runs a task on each of its three nodes", async () => {
  const out = await cli(["session", "start", "-f", RAY]);
  const id = /ses_[0-9a-z]+/.exec(out)?.[0];
  assert.ok(id, out);
  rig.stack.remember(id);
  const opened = await rig.stack.operator.request<{ url: string; ticket: string }>("POST", `/v1/sessions/${id}/endpoint`, { json: {} });
  assert.equal(opened.status, 201, describe(opened));
  const answer = await fetch(new URL("nodes", opened.body.url), {
    headers: { authorization: `Bearer ${opened.body.ticket}` },
    signal: AbortSignal.timeout(120_000),
  });
  const nodes = (await answer.json()) as { node: string; address: string; sum: number }[];
  assert.equal(new Set(nodes.map((node) => node.node)).size, REPLICAS, JSON.stringify(nodes));
  assert.equal(new Set(nodes.map((node) => node.address)).size, REPLICAS, JSON.stringify(nodes));
  assert.equal(nodes.reduce((sum, node) => sum + node.sum, 0), 4950);
}, 300_000);

rig.test("with one slot too few nothing starts, and the reason says so", async () => {
  const small = { resources: { cpu_milli: 100, mem_mib: 64, shm_mib: 8, disk_mib: 0 } };
  const refused = async (replicas: number, reason: RegExp): Promise<void> => {
    const id = await training(10, { cluster: { replicas }, ...small });
    await until("the reason", async () => reason.test(await cli(["session", "explain", id])), { instead: () => cli(["session", "explain", id]) });
    assert.equal((await rig.stack.operator.session(id)).state.phase, "queued");
    assert.deepEqual(containersWith(`nearlight.cluster=nearlight-${id}-0`), []);
    await rig.stack.operator.end(id);
    await rig.stack.operator.reachEnd(id);
  };
  // More than there are, whatever ends.
  await refused(7, /no site of the fleet has room for 7 at one time; the largest has room for 6/);
  // More than are free.
  const other = await training(100_000, { cluster: undefined, ...small, command: ["sleep", "1000"] });
  await rig.stack.operator.reach(other, ["ready"], PATIENCE);
  await refused(6, /needs 6 slots at one site, the best site has 5/);
});
