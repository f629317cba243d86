/**
 * A job whose node's agent dies goes on at another node: two real agents, and real containers. They share an engine, as
 * agents with a GPU each on one machine do; so the dead one's container is in the way, and has to go.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { after } from "node:test";
import { describe } from "../harness/api.js";
import { containersWith, inspect } from "../harness/docker.js";
import { Rig } from "../harness/rig.js";
import { SecondNode } from "../harness/second-node.js";
import { until } from "../harness/until.js";

let second: SecondNode | undefined;
// Before the rig's own: the second node goes before its broker does.
after(() => second?.down());

const rig = Rig.forThisFile({ name: "job-elsewhere", runtime: "docker", config: ["[session-broker.sessions]", "node_grace_s = 3", "skew_s = 0"] });

interface Claim {
  session?: string;
  node: string;
  ended_unix_ms?: string | number | null;
}

const label = (session: string, node: string): string[] => containersWith(`nearlight.session=${session}`, `nearlight.node=${node}`);

rig.test("a job whose agent is killed goes on at another node, once, with its secret, and is billed for each", async () => {
  const { operator } = rig.stack;
  second = await SecondNode.join(rig.stack, { name: "second", region: "away", config: ["[runtime]", 'kind = "docker"'] });
  const away = second.id;
  const home = (await operator.nodes()).find(({ id }) => id !== away)?.id ?? "";
  assert.equal((await operator.request("POST", `/v1/nodes/${away}/vet`)).status, 204, "jobs go there");
  await operator.request("POST", `/v1/nodes/${home}/drain`);
  await until("the first node to take nothing", async () => (await operator.nodes()).some(({ id, status }) => id === home && status === "draining"));
  const job = {
    image: "nearlight/job-embeddings:1",
    command: ["sh", "-c", "cat /run/secrets/TOKEN; echo; exec sleep 100000"],
    secrets: ["TOKEN"],
    resources: { cpu_milli: 500, mem_mib: 128, disk_mib: 0 },
    restart: { elsewhere: true, max: 1 },
    time: { stop_s: 1 },
  };
  const headers = { "idempotency-key": randomUUID() };
  const made = await operator.request<{ id: string }>("POST", "/v1/sessions", { json: { job, secrets: { TOKEN: "correct-horse" } }, headers });
  assert.equal(made.status, 201, describe(made));
  const { id } = made.body;
  rig.stack.remember(id);
  const there = await operator.reach(id, ["ready"]);
  assert.equal(there.node, away);
  const [first] = label(id, away);
  assert.ok(first);
  await operator.request("DELETE", `/v1/nodes/${home}/drain`);

  await second.kill();
  await until("it to be ready at the other node", async () => {
    const { node, state } = await operator.session(id);
    return node === home && state.phase === "ready";
  }, { within_ms: 90_000, instead: () => operator.session(id) });
  const [now, ...more] = containersWith(`nearlight.session=${id}`);
  assert.ok(now && more.length === 0, "one container has it");
  assert.notEqual(now, first);
  assert.ok(inspect(now)?.State.Running);
  const said = (): string => execFileSync("docker", ["logs", now], { encoding: "utf8" });
  await until("it to say its secret", () => said() === "correct-horse\n", { instead: said });

  // The dead one is back: it finds that it lost the job, and touches nothing of the other's.
  await second.startAgain();
  await until("the second node to have no session", async () => (await operator.nodes()).some((node) => node.id === away && node.slots_free === node.slots_total));
  assert.deepEqual(containersWith(`nearlight.session=${id}`), [now]);
  assert.ok(inspect(now)?.State.Running);

  await operator.end(id);
  await operator.reachEnd(id);
  const usage = await operator.request<{ entries: Claim[] }>("GET", "/v1/usage?limit=100");
  const claims = usage.body.entries.filter(({ session }) => session === id);
  assert.deepEqual(claims.map(({ node }) => node).sort(), [home, away].sort(), describe(usage));
  assert.ok(claims.every(({ ended_unix_ms }) => ended_unix_ms), describe(usage));
}, 300_000);
