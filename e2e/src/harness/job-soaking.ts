/**
 * Jobs that come and go while roles are killed: each cycle starts a job of seeded kind, kills broker, agent or (where
 * it is a soak's own) engine at a seeded moment, ends it, and looks for what is left: containers, networks, volumes, mounts, loop devices, rules, files, rows.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SessionState } from "../../../client-web/src/wire/types.js";
import { describe, type Reply } from "./api.js";
import { create, endpoint } from "./jobs.js";
import { descendants, isAlive, signal } from "./processes.js";
import type { Random } from "./random.js";
import type { Stack } from "./stack.js";
import { until, window } from "./until.js";

/** Built by `scripts/images.sh jobs`, and with a small HTTP server in it. */
const IMAGE = "nearlight/job-jupyter:1";
const MOMENTS = ["created", "ready", "ending"] as const;
const BACK_MS = 90_000;
/** After a kill a step may have to be found out by a role that has just started. */
const GONE_MS = 90_000;

type Role = "session-broker" | "edge-node" | "dockerd";
type Phase = SessionState["phase"];

/** What a cycle is; all of it follows from the seed. */
export interface Cycle {
  readonly job: object;
  readonly secrets: Record<string, string>;
  readonly strikes: readonly { role: Role; moment: (typeof MOMENTS)[number]; after_ms: number }[];
}

/** The file with the id of an engine that may be killed: `scripts/engine.sh` makes one. */
const ENGINE = process.env["NEARLIGHT_ENGINE_PID"];

export function planned(random: Random): Cycle {
  const hasPort = random.below(2) === 0;
  const hasSecret = random.below(2) === 0;
  const job = {
    image: IMAGE,
    command: hasPort ? ["python3", "-m", "http.server", "8000", "--directory", "/etc/jupyter"] : ["sleep", "600"],
    resources: { cpu_milli: 200, mem_mib: 128, disk_mib: random.below(3) === 0 ? 16 : 0 },
    ...(hasPort ? { ports: [{ name: "http", port: 8000, health: { path: "/", every_s: 1 } }] } : {}),
    ...(hasSecret ? { secrets: ["TOKEN"] } : {}),
    ...(random.below(3) === 0 ? { egress: { allow: ["192.0.2.0/24"] } } : {}),
    time: { start_s: 60, max_s: 600, stop_s: 1 },
  };
  const strikes = (["session-broker", "edge-node", "dockerd"] as const)
    .filter(() => random.below(4) === 0)
    .map((role) => ({ role, moment: random.pick(MOMENTS), after_ms: random.below(400) }));
  // Choices are made for an engine, too, where none may be killed: a seed means the same everywhere.
  const may = strikes.filter(({ role }) => role !== "dockerd" || ENGINE !== undefined);
  return { job, secrets: hasSecret ? { TOKEN: "soak" } : {}, strikes: may };
}

/** One job, from its start to nothing. Answers how it ended. */
export async function jobCycle(stack: Stack, cycle: Cycle): Promise<string> {
  // Whoever was killed in the last cycle may still be on its way back.
  const { id } = await until("a job to be taken", () => create(stack, cycle.job, cycle.secrets).catch(() => undefined), {
    within_ms: BACK_MS,
    every_ms: 500,
  });
  await strike(stack, cycle, "created");
  let phase = await reached(stack, id, ["ready", "ended"]);
  if (phase === "ready") {
    await strike(stack, cycle, "ready");
    if ("ports" in cycle.job) await calls(stack, id, cycle);
  }
  const ends = patient(stack, "DELETE", `/v1/sessions/${id}`);
  await strike(stack, cycle, "ending");
  assert.ok([202, 409, 410].includes((await ends).status), describe(await ends));
  phase = await reached(stack, id, ["ended"]);
  const { body } = await patient<{ state: SessionState }>(stack, "GET", `/v1/sessions/${id}`);
  assert.equal(body.state.phase, "ended");
  await until(`nothing of ${id} to be left`, () => leftOf(stack, id).length === 0, {
    within_ms: GONE_MS,
    every_ms: 200,
    instead: () => ({ left: leftOf(stack, id), log: stack.logTail(30) }),
  });
  return body.state.phase === "ended" ? body.state.reason : phase;
}

/**
 * The job answers through its endpoint, as soon as whoever was killed is back. One whose engine was killed may be over:
 * an engine that comes back ends what ran under the former one.
 */
async function calls(stack: Stack, id: string, cycle: Cycle): Promise<void> {
  const mayBeOver = cycle.strikes.some(({ role }) => role === "dockerd");
  await until(`${id} to answer`, async () => {
    if (mayBeOver) {
      const { body } = await patient<{ state: SessionState }>(stack, "GET", `/v1/sessions/${id}`);
      if (body.state.phase === "ended") return true;
    }
    try {
      const { url, ticket } = await endpoint(stack, id);
      const answer = await fetch(url, { headers: { authorization: `Bearer ${ticket}` }, signal: AbortSignal.timeout(10_000) });
      return answer.status === 200 && (await answer.text()).length > 0;
    } catch {
      return false;
    }
  }, { within_ms: BACK_MS });
}

async function strike(stack: Stack, cycle: Cycle, moment: (typeof MOMENTS)[number]): Promise<void> {
  for (const { role, after_ms } of cycle.strikes.filter((one) => one.moment === moment)) {
    await window(after_ms);
    if (role === "dockerd") {
      if (ENGINE) await killEngine(ENGINE);
      continue;
    }
    const { pid } = await until(`a ${role} to kill`, () => descendants(stack.pid).find(({ program }) => program === role), { within_ms: BACK_MS });
    signal(pid, "SIGKILL");
  }
}

async function killEngine(file: string): Promise<void> {
  const pid = await until("an engine to kill", () => Number(lines(file)[0]) || undefined, { within_ms: BACK_MS });
  signal(pid, "SIGKILL");
  await until("the engine to be dead", () => !isAlive(pid));
}

/** A request that is sent again while no broker answers. */
async function patient<T>(stack: Stack, method: string, path: string): Promise<Reply<T>> {
  return until(`${method} ${path} to be answered`, async () => {
    try {
      const reply = await stack.operator.request<T>(method, path);
      return reply.status < 500 && reply;
    } catch {
      return false;
    }
  }, { within_ms: BACK_MS });
}

async function reached(stack: Stack, id: string, phases: Phase[]): Promise<Phase> {
  return until(`${id} to be ${phases.join(" or ")}`, async () => {
    const { body } = await patient<{ state: SessionState }>(stack, "GET", `/v1/sessions/${id}`);
    return phases.includes(body.state.phase) && body.state.phase;
  }, { within_ms: 180_000, instead: () => stack.logTail(30) });
}

/** What there is of a session that is over. */
export function leftOf(stack: Stack, id: string): string[] {
  const said = (program: string, ...args: string[]): string[] => {
    try {
      return execFileSync(program, args, { encoding: "utf8", timeout: 60_000, stdio: ["ignore", "pipe", "ignore"] }).split("\n").filter(Boolean);
    } catch {
      // An engine that was killed says nothing: then nobody knows yet.
      return [`(${program} does not answer)`];
    }
  };
  const label = `label=nearlight.session=${id}`;
  const tail = id.slice(-12);
  const found = [
    ...said("docker", "ps", "--all", "--quiet", "--filter", label).map((line) => `container ${line}`),
    ...said("docker", "network", "ls", "--quiet", "--filter", label).map((line) => `network ${line}`),
    ...said("iptables", "-w", "-S").filter((line) => line.includes(tail)).map((line) => `rule ${line}`),
    ...lines("/proc/mounts").filter((line) => line.includes(id)).map((line) => `mount ${line}`),
    ...loopsOf(id).map((line) => `loop device ${line}`),
    ...filesOf(join(stack.data, "edge"), id).map((file) => `file ${file}`),
    ...rowsOf(stack, id),
  ];
  const volumes = said("docker", "volume", "ls", "--quiet").filter((name) => !name.startsWith("("));
  if (volumes.length > 0) {
    const format = "{{.Name}} {{.Options}}";
    // One may go while it is looked at.
    const all = execFileSync("sh", ["-c", `docker volume inspect --format '${format}' ${volumes.join(" ")} 2>/dev/null || true`], { encoding: "utf8" });
    found.push(...all.split("\n").filter((line) => line.includes(id)).map((line) => `volume ${line}`));
  }
  return found;
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch {
    return [];
  }
}

function loopsOf(id: string): string[] {
  const loops = readdirSync("/sys/block").filter((name) => name.startsWith("loop"));
  return loops.filter((name) => lines(`/sys/block/${name}/loop/backing_file`).some((line) => line.includes(id)));
}

function filesOf(dir: string, id: string): string[] {
  try {
    const files = readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((file) => file.includes(id));
    // How it ended is kept for the next agent, and what it said for whoever asks.
    return files.filter((file) => !file.startsWith("ended/") && !file.startsWith("job-logs/"));
  } catch {
    // Something went while it was read.
    return ["(a directory that changes)"];
  }
}

/** Rows of the ledger that say that something of it goes on. */
function rowsOf(stack: Stack, id: string): string[] {
  const program = `
import sqlite3, sys
ledger = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=30)
for name, sql in {
    "live claim": "SELECT count(*) FROM claim WHERE session_id = ? AND released_ms IS NULL",
    "order": "SELECT count(*) FROM outbox WHERE session_id = ?",
    "secret": "SELECT count(*) FROM job_secret WHERE session_id = ?",
    "open interval": "SELECT count(*) FROM usage_interval WHERE session_id = ? AND ended_ms IS NULL",
    "session without an end": "SELECT count(*) FROM session WHERE session_id = ? AND ended_ms IS NULL",
}.items():
    for _ in range(ledger.execute(sql, [sys.argv[2]]).fetchone()[0]):
        print(name)
`;
  const said = execFileSync("python3", ["-c", program, join(stack.data, "broker/ledger.sqlite"), id], { encoding: "utf8", timeout: 60_000 });
  return said.split("\n").filter(Boolean).map((line) => `row: ${line}`);
}
