/**
 * The endpoint of jobs against two nginx in series with the same TLS legs, in front of the same container, asked by the
 * same client in turns.
 */

import { execFile, execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { addressOf, containersWith } from "../harness/docker.js";
import { create, endpoint, type EndpointTicket } from "../harness/jobs.js";
import { BINARIES, Stack } from "../harness/stack.js";
import { certificates, TwoNginx } from "./nginx.js";
import type { Report } from "./report.js";

const DOMAIN = "jobs.test";
const IMAGE = "nearlight/bench-upstream:1";
const PORT = 8000;
const ROUNDS = process.env["JOBS_ROUNDS"] ?? "7";
const MIB = process.env["JOBS_MIB"] ?? "64";

/** What `loadtest proxy` says of a way. */
interface Measured {
  readonly down_mib_per_s_median: number;
  readonly up_mib_per_s_median: number;
  readonly down_cpu_s_per_gib: number;
  readonly up_cpu_s_per_gib: number;
  readonly ms_p50: number;
  readonly ms_p99: number;
}

/** The upstream, on the Debian that it was linked on. */
function image(dir: string): void {
  copyFileSync(join(BINARIES, "upstream"), join(dir, "upstream"));
  writeFileSync(join(dir, "Dockerfile"), `FROM nearlight/base:1\nCOPY upstream /upstream\nUSER 1000:1000\nCMD ["/upstream", "${PORT}"]\n`);
  execFileSync("docker", ["build", "--quiet", "--tag", IMAGE, dir], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, DOCKER_BUILDKIT: "0" } });
}

export async function proxy(report: Report): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "nearlight-bench-"));
  const build = mkdtempSync(join(tmpdir(), "nearlight-bench-"));
  try {
    image(build);
    await measured(dir, report);
  } finally {
    for (const made of [dir, build]) rmSync(made, { recursive: true, force: true });
  }
}

async function measured(dir: string, report: Report): Promise<void> {
  const tls = certificates(dir, DOMAIN);
  const stack = await Stack.up({
    name: "bench-jobs",
    runtime: "docker",
    config: ["[session-broker.jobs]", `domain = "${DOMAIN}"`, `cert = "${tls.cert}"`, `key = "${tls.key}"`],
  });
  let nginx: TwoNginx | undefined;
  try {
    const ports = [{ name: "http", port: PORT, health: { path: "/", every_s: 1 } }];
    const job = { image: IMAGE, ports, resources: { cpu_milli: 2000, mem_mib: 256, disk_mib: 0 } };
    const { id } = await create(stack, job);
    await stack.operator.reach(id, ["ready"]);
    const direct = `${addressOf(containersWith(`nearlight.session=${id}`)[0] ?? "")}:${PORT}`;
    nginx = await TwoNginx.start(dir, DOMAIN, direct);
    tell(report, await ask(stack, tls.ca, await endpoint(stack, id), nginx, direct));
    await stack.operator.end(id);
    await stack.operator.reachEnd(id);
  } finally {
    nginx?.stop();
    await stack.down();
  }
}

type Ways = Record<"endpoint" | "nginx" | "direct", Measured>;

async function ask(stack: Stack, ca: string, { url, ticket }: EndpointTicket, nginx: TwoNginx, direct: string): Promise<Ways> {
  const roles = [stack.role("session-broker").pid, stack.role("edge-node").pid];
  const args = [
    ...["proxy", "--ca", ca, "--rounds", ROUNDS, "--mib", MIB],
    ...["--way", `endpoint=${url}`, "--at", `endpoint=127.0.0.1:${new URL(url).port}`, "--bearer", `endpoint=${ticket}`],
    ...["--cpu", `endpoint=${roles.join(",")}`],
    ...["--way", `nginx=https://bench.${DOMAIN}:${nginx.port}/`, "--at", `nginx=127.0.0.1:${nginx.port}`, "--cpu", `nginx=${nginx.pids.join(",")}`],
    ...["--way", `direct=http://${direct}/`],
  ];
  const { stdout: said } = await promisify(execFile)(join(BINARIES, "loadtest"), args);
  console.log(said.trim());
  return JSON.parse(said) as Ways;
}

function tell(report: Report, { endpoint: ours, nginx: theirs, direct: none }: Ways): void {
  report.add("jobs.proxy_throughput_over_nginx", ours.down_mib_per_s_median / theirs.down_mib_per_s_median);
  report.add("jobs.proxy_upload_over_nginx", ours.up_mib_per_s_median / theirs.up_mib_per_s_median);
  report.add("jobs.proxy_mib_per_s", ours.down_mib_per_s_median);
  report.add("jobs.proxy_added_ms_p50", ours.ms_p50 - none.ms_p50);
  report.add("jobs.proxy_added_ms_p99", ours.ms_p99 - none.ms_p99);
  report.add("jobs.proxy_cpu_s_per_gib", ours.down_cpu_s_per_gib);
  report.add("jobs.nginx_added_ms_p50", theirs.ms_p50 - none.ms_p50);
  report.add("jobs.nginx_cpu_s_per_gib", theirs.down_cpu_s_per_gib);
}
