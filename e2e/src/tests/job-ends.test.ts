/**
 * What ends a job on real roles with a real container: its time, its idleness, its budget with the amount on its
 * usage line; and what stays after it: a volume.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { describe } from "../harness/api.js";
import { create, endpoint } from "../harness/jobs.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";

const IMAGE = "nearlight/job-jupyter:1";
/** Millionths a second: of the slot, for nothing else costs anything here. */
const RATE = 1000;
const CARD = `currency = "EUR"\n[[card]]\nvalid_from = 2026-01-01T00:00:00Z\nslot = ${RATE}\ncpu_core = 0\nmem_gib = 0\ngpu_other = 0\n`;

const dir = mkdtempSync(join(tmpdir(), "nearlight-rates-"));
const rates = join(dir, "rates.toml");
writeFileSync(rates, CARD);
const rig = Rig.forThisFile({ name: "job-ends", runtime: "docker", config: ["[session-broker.rates]", `file = "${rates}"`] });
after(() => rmSync(dir, { recursive: true }));

const SMALL = { cpu_milli: 200, mem_mib: 128, disk_mib: 0 };
const job = (command: string[], more: object = {}): object => ({ image: IMAGE, command, resources: SMALL, ...more });
const shell = (script: string): string[] => ["sh", "-c", script];

const cli = async (args: string[]): Promise<string> => {
  const { stdout } = await promisify(execFile)(join(BINARIES, "nearlight"), args, {
    timeout: 120_000,
    env: { ...process.env, NEARLIGHT_URL: rig.stack.base, NEARLIGHT_TOKEN: rig.stack.key },
  });
  return stdout;
};

interface Line {
  session: string;
  seconds: number;
  amount_micro: number;
  ended_unix_ms?: number;
}

async function billed(id: string): Promise<Line> {
  const usage = await rig.stack.operator.request<{ entries: Line[] }>("GET", "/v1/usage?limit=100");
  const line = usage.body.entries.find(({ session }) => session === id);
  assert.ok(line?.ended_unix_ms, describe(usage));
  return line;
}

rig.test("a job ends when its time is over, and when nobody asks it anything", async () => {
  const timed = await create(rig.stack, job(["sleep", "600"], { time: { max_s: 4, stop_s: 1 } }));
  const serves = ["python3", "-m", "http.server", "8000", "--directory", "/etc/jupyter"];
  const port = { name: "http", port: 8000, health: { path: "/", every_s: 1 } };
  const idle = await create(rig.stack, job(serves, { ports: [port], time: { idle_s: 5, stop_s: 1 } }));
  await rig.stack.operator.reach(idle.id, ["ready"]);
  const { url, ticket } = await endpoint(rig.stack, idle.id);
  const answer = await fetch(url, { headers: { authorization: `Bearer ${ticket}` } });
  assert.equal(answer.status, 200);
  assert.equal((await rig.stack.operator.reachEnd(timed.id)).reason, "time-limit");
  assert.equal((await rig.stack.operator.reachEnd(idle.id)).reason, "idle-timeout");
});

rig.test("a budget ends a job, and its usage line costs what its seconds cost", async () => {
  const budget = 3 * RATE;
  const request = { job: job(["sleep", "600"], { time: { stop_s: 1 } }), budget_micro: budget };
  const reply = await rig.stack.operator.request<{ id: string }>("POST", "/v1/sessions", {
    json: request,
    headers: { "idempotency-key": crypto.randomUUID() },
  });
  assert.equal(reply.status, 201, describe(reply));
  const { id } = reply.body;
  rig.stack.remember(id);
  assert.equal((await rig.stack.operator.reachEnd(id)).reason, "budget-reached");
  const line = await billed(id);
  assert.equal(line.amount_micro, line.seconds * RATE);
  assert.ok(line.amount_micro >= budget, JSON.stringify(line));
});

rig.test("a volume has in the next job what the last one wrote", async () => {
  const volumes = [{ name: "work", path: "/work", size_mib: 16 }];
  const run = async (script: string): Promise<string> => {
    const { id } = await create(rig.stack, job(shell(script), { volumes, time: { max_s: 60, stop_s: 1 } }));
    const { reason, detail } = await rig.stack.operator.reachEnd(id);
    return `${reason} ${detail}`;
  };
  assert.match(await run("echo kept > /work/here"), /^job-done/);
  assert.match(await run("grep -qx kept /work/here && touch /work/again"), /^job-done/);
  assert.match(await run("test -e /work/again && test ! -e /work/never"), /^job-done/);
});

rig.test("a job whose node takes its machine back is told in its container, and ends as preempted", async () => {
  const waits = shell("until [ -e /run/nearlight/ending ]; do sleep 0.2; done; cat /run/nearlight/ending; sleep 600");
  const { id } = await create(rig.stack, job(waits, { time: { stop_s: 1 } }));
  await rig.stack.operator.reach(id, ["ready"]);
  const log = cli(["session", "logs", "--follow", id]);
  const [node] = await rig.stack.operator.nodes();
  await cli(["node", "drain", node?.id ?? "", "--reclaim", "5s"]);
  assert.equal((await rig.stack.operator.reachEnd(id)).reason, "preempted");
  assert.match(await log, /"reason":"preempted","ends_unix_ms":\d+/);
});
