/**
 * The log of a job that is over, on real roles with real containers: by `logs` and `logs -f`, for its tenant alone, of each
 * replica, as long as there is room, and never longer.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Api, describe } from "../harness/api.js";
import { create } from "../harness/jobs.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";
import { until } from "../harness/until.js";

const IMAGE = "nearlight/job-jupyter:1";
/** As little as an operator may give: two floods do not fit. */
const rig = Rig.forThisFile({ name: "job-logs", runtime: "docker", config: ["[edge-node.jobs]", "log_mib = 8"] });
const SMALL = { cpu_milli: 200, mem_mib: 128, disk_mib: 0 };
const job = (script: string, more: object = {}): object => ({
  image: IMAGE,
  command: ["sh", "-c", script],
  resources: SMALL,
  time: { stop_s: 1 },
  ...more,
});
interface Done {
  status: number | null;
  stdout: string;
  stderr: string;
}

function logs(...args: string[]): Promise<Done> {
  return new Promise((resolve) => {
    const env = { ...process.env, NEARLIGHT_URL: rig.stack.base, NEARLIGHT_TOKEN: rig.stack.key };
    const options = { env, timeout: 150_000, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(join(BINARIES, "nearlight"), ["session", "logs", ...args], options, (_, stdout, stderr) => {
      resolve({ status: child.exitCode, stdout, stderr });
    });
  });
}

rig.test("what a job says when it is asked to end is in its log, and restarts are in one log", async () => {
  const words = 'trap "echo last words; exit 0" TERM; echo first words; while :; do sleep 0.1; done';
  const { id } = await create(rig.stack, job(words, { time: { stop_s: 20 } }));
  await rig.stack.operator.reach(id, ["ready"]);
  const followed = logs("--follow", id);
  await until("the first words", async () => (await logs(id)).stdout === "first words\n");
  await rig.stack.operator.end(id);
  await rig.stack.operator.reachEnd(id);
  assert.equal((await logs(id)).stdout, "first words\nlast words\n");
  assert.equal((await followed).stdout, "first words\nlast words\n");

  const again = await create(rig.stack, job("echo attempt; exit 5", { restart: { policy: "on-failure", max: 2 } }));
  await rig.stack.operator.reachEnd(again.id);
  assert.equal((await logs(again.id)).stdout, "attempt\n".repeat(3));
});

rig.test("the log of a job that is over is its tenant's alone", async () => {
  const admin = rig.stack.operator;
  const tenant = async (name: string): Promise<Api> => {
    const made = await admin.request<{ id: string }>("POST", "/v1/tenants", { json: { name } });
    const key = await admin.request<{ secret: string }>("POST", "/v1/keys", { json: { name, role: "tenant", tenant: made.body.id, scopes: [] } });
    assert.equal(key.status, 201, describe(key));
    return new Api(rig.stack.base, key.body.secret);
  };
  const [owner, stranger] = [await tenant("owner"), await tenant("stranger")];
  const made = await owner.request<{ id: string }>("POST", "/v1/sessions", { json: { job: job("echo mine; exit 3") }, headers: { "idempotency-key": crypto.randomUUID() } });
  assert.equal(made.status, 201, describe(made));
  const { id } = made.body;
  rig.stack.remember(id);
  await admin.reachEnd(id);
  const path = `/v1/sessions/${id}/logs`;
  const answers = await Promise.all([owner, stranger, admin].map((as) => as.request("GET", path)));
  assert.deepEqual(answers.map(({ status }) => status), [200, 404, 200]);
});

rig.test("each replica of a cluster that is over has its log", async () => {
  const { id } = await create(rig.stack, job("echo rank $NODE_RANK; exit $NODE_RANK", { cluster: { replicas: 2 } }));
  await rig.stack.operator.reachEnd(id);
  await until("both logs", async () => (await Promise.all([logs(id), logs("--replica", "1", id)])).every(({ status }) => status === 0), { within_ms: 60_000, every_ms: 500 });
  assert.equal((await logs(id)).stdout, "rank 0\n");
  assert.equal((await logs("--replica", "1", id)).stdout, "rank 1\n");
  assert.equal((await logs("--replica", "2", id)).status, 4);
});

rig.test("logs that do not fit any more are gone, the oldest first, and who asks learns it", async () => {
  // Some 3.5 MiB on the engine's disk, and less than that kept.
  const flood = (name: string): object => job(`i=0; while [ $i -lt 12000 ]; do echo ${name} ${"x".repeat(230)} $i; i=$((i+1)); done`);
  const ids: string[] = [];
  for (const name of ["a", "b", "c", "d"]) {
    const { id } = await create(rig.stack, flood(name));
    assert.equal((await rig.stack.operator.reachEnd(id)).reason, "job-done");
    ids.push(id);
  }
  const [first = "", , , last = ""] = ids;
  const gone = await logs(first);
  assert.equal(gone.status, 4, gone.stderr);
  assert.match(gone.stderr, /8 MiB of them together, the oldest go first/);
  const kept = await logs(last);
  assert.equal(kept.stdout.trim().split("\n").length, 12_000);
  assert.match(kept.stdout, /^d x+ 0\n/);
  const dir = join(rig.stack.data, "edge/job-logs");
  assert.throws(() => readFileSync(join(dir, `${first}.log`)), /ENOENT/);
});
