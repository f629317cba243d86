/**
 * How soon a job is there: embeddings with a real model, asked for by API, until it is ready and until its first answer.
 * With its image in the page cache, without, and the same container by Docker alone, in turns.
 */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { addressOf } from "../harness/docker.js";
import { create, endpoint, type EndpointTicket } from "../harness/jobs.js";
import { ROOT, Stack } from "../harness/stack.js";
import { until } from "../harness/until.js";
import { median } from "./quantiles.js";
import type { Report } from "./report.js";
import { follow, type Reached } from "./stages.js";

const STARTS = Number(process.env["JOBS_STARTS"] ?? 15);
const IMAGE = "nearlight/job-embeddings:1";
const PORT = 8000;
/** Between two looks at what is due any moment, milliseconds: the error of each figure. */
const LOOK_MS = 5;
const PATIENCE = { within_ms: 150_000, every_ms: LOOK_MS };
/** As configs/jobs/embeddings/job.toml has it. */
const JOB = {
  image: IMAGE,
  resources: { cpu_milli: 1000, mem_mib: 2048, disk_mib: 0 },
  ports: [{ name: "http", port: PORT, health: { path: "/health", every_s: 1 } }],
  time: { start_s: 120, idle_s: 900 },
};
/** As much of the machine as the node gives it. */
const LIMITS = ["--cpus", "1", "--memory", "2g", "--read-only", "--tmpfs", "/tmp"];

/** One start, milliseconds from the POST. */
interface Started {
  readonly reached: Reached;
  /** The first 200 of /v1/embeddings. */
  readonly answered: number;
}

export async function starts(report: Report): Promise<void> {
  execFileSync(join(ROOT, "scripts/images.sh"), ["jobs", "embeddings"], { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  const stack = await Stack.up({ name: "bench-starts", runtime: "docker" });
  const [warm, cold]: [Started[], Started[]] = [[], []];
  const bare: number[] = [];
  try {
    // The first meets a node that never ran it, and counts for nothing.
    await start(stack);
    for (let n = 0; n < STARTS; n++) {
      evict();
      cold.push(await start(stack));
      warm.push(await start(stack));
      bare.push(await alone());
    }
  } catch (error) {
    console.error(stack.logTail());
    throw error;
  } finally {
    await stack.down();
  }
  console.log(`from the POST, ms: ${JSON.stringify({ warm, cold, bare })}`);
  tell(report, warm, cold, bare);
}

function tell(report: Report, warm: readonly Started[], cold: readonly Started[], bare: readonly number[]): void {
  const stage = (of: readonly Started[], from: (one: Started) => number, to: (one: Started) => number): number =>
    median(of.map((one) => to(one) - from(one))) / 1000;
  const asked = (): number => 0;
  report.add("jobs.start_warm_s", stage(warm, asked, ({ reached }) => reached.ready));
  report.add("jobs.start_cold_s", stage(cold, asked, ({ reached }) => reached.ready));
  report.add("jobs.first_answer_s", stage(warm, asked, ({ answered }) => answered));
  report.add("jobs.start_placing_s", stage(warm, asked, ({ reached }) => reached.placed));
  report.add("jobs.start_container_s", stage(warm, ({ reached }) => reached.placed, ({ reached }) => reached.runs));
  report.add("jobs.start_health_s", stage(warm, ({ reached }) => reached.runs, ({ reached }) => reached.ready));
  report.add("jobs.start_cold_health_s", stage(cold, ({ reached }) => reached.runs, ({ reached }) => reached.ready));
  report.add("jobs.start_answer_s", stage(warm, ({ reached }) => reached.ready, ({ answered }) => answered));
  report.add("jobs.start_bare_s", median(bare) / 1000);
  report.add("jobs.start_over_bare_s", median(warm.map(({ reached }, n) => reached.ready - (bare[n] ?? NaN))) / 1000);
}

/** Starts a job, has its first answer, and ends it. */
async function start(stack: Stack): Promise<Started> {
  const asked = performance.now();
  const { id } = await create(stack, JOB);
  // What its user does meanwhile: asks for the address, and waits for the events to say that it is ready.
  const [reached, way] = await Promise.all([follow(stack, id, asked), endpoint(stack, id)]);
  await until("an answer of the job", () => answers(way), PATIENCE);
  const answered = performance.now() - asked;
  await stack.operator.end(id);
  await stack.operator.reachEnd(id);
  return { reached, answered };
}

async function answers({ url, ticket }: EndpointTicket): Promise<boolean> {
  const answer = await fetch(new URL("v1/embeddings", url), {
    method: "POST",
    headers: { authorization: `Bearer ${ticket}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "all-MiniLM-L6-v2", input: "A man is eating food." }),
  });
  await answer.arrayBuffer();
  return answer.status === 200;
}

/** Takes the image's files out of the page cache; nothing else of the machine. */
function evict(): void {
  const program = readFileSync(join(ROOT, "e2e/python/evict.py"), "utf8");
  const said = docker("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "python3", IMAGE, "-c", program);
  const { largest, resident } = JSON.parse(said) as { readonly largest: string; readonly resident: number };
  if (resident > 0.01) throw new Error(`${largest} stays in memory: ${resident} of it`);
}

/** The container by Docker alone: milliseconds until it is healthy. */
async function alone(): Promise<number> {
  const asked = performance.now();
  const container = docker("run", "--detach", "--rm", ...LIMITS, IMAGE);
  try {
    const health = `http://${addressOf(container)}:${PORT}/health`;
    await until("the container to be healthy", async () => (await fetch(health)).ok, PATIENCE);
    return performance.now() - asked;
  } finally {
    docker("rm", "--force", container);
  }
}

function docker(...args: string[]): string {
  return execFileSync("docker", args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }).trim();
}
