/**
 * What there is of jobs that are over: containers, networks, volumes, mounts, loop devices, rules, files, and rows of the
 * ledger (e2e/python/ledger_left.py). Cycles come one by one, so between two nothing may be there of any job.
 */

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ENGINE } from "./job-soak-plan.js";
import { lines } from "./job-soak-strikes.js";
import { ROOT, type Stack } from "./stack.js";

const DEADLINE_MS = 60_000;

/** What there is of a job, and of the replicas of one that is a cluster. */
export function leftOf(stack: Stack, id: string): string[] {
  const ids = [id, ...replicasOf(stack, id)];
  return [...inEngine(ids), ...ids.flatMap((one) => onHost(stack, one)), ...held(stack), ...rows(stack, "left")];
}

/** An engine that is the soak's own has nothing at all; of a shared one what has the session's name. */
function inEngine(ids: readonly string[]): string[] {
  const found = ids.flatMap((id) => {
    const own = (filter: string): string[] => (ENGINE === undefined ? ["--filter", filter] : []);
    return [
      ...said("docker", "ps", "--all", "--format", "{{.Names}}", ...own(`label=nearlight.session=${id}`)).map((line) => `container ${line}`),
      ...said("docker", "network", "ls", "--filter", "type=custom", "--format", "{{.Name}}", ...own(`name=${id}`)).map((line) => `network ${line}`),
    ];
  });
  const volumes = said("docker", "volume", "ls", "--quiet");
  if (volumes.some(isSilence)) found.push(...volumes);
  else if (volumes.length > 0) {
    const format = "{{.Name}} {{.Options}}";
    // One may go while it is looked at.
    const all = execFileSync("sh", ["-c", `docker volume inspect --format '${format}' ${volumes.join(" ")} 2>/dev/null || true`], { encoding: "utf8" });
    const isLeft = (line: string): boolean => ENGINE !== undefined || ids.some((id) => line.includes(id));
    found.push(...all.split("\n").filter((line) => line !== "" && isLeft(line)).map((line) => `volume ${line}`));
  }
  return [...new Set(found)];
}

function onHost(stack: Stack, id: string): string[] {
  return [
    ...rulesOf(id),
    ...lines("/proc/mounts").filter((line) => line.includes(id)).map((line) => `mount ${line}`),
    ...loops().filter((file) => file.includes(id)).map((file) => `loop device of ${file}`),
    ...filesOf(join(stack.data, "edge"), id).map((file) => `file ${file}`),
  ];
}

/**
 * Chains and rules that name the session, as edge-node/src/job/network.rs does: chains are `NL-` and `NI-` with the end of
 * its id in upper case, bridges `nl-` with that in lower case, and comments have all of it.
 */
export function rulesOf(id: string): string[] {
  const tail = id.slice(-12).toLowerCase();
  const named = said("iptables", "-w", "-S").filter((line) => isSilence(line) || line.toLowerCase().includes(tail));
  return named.map((line) => `rule ${line}`);
}

/** What is mounted of the node's own directory: disks of jobs, and volumes. */
export function held(stack: Stack): string[] {
  return [
    ...lines("/proc/mounts").filter((line) => line.includes(stack.data)).map((line) => `mount ${line}`),
    ...loops().filter((file) => file.includes(stack.data)).map((file) => `loop device of ${file}`),
  ];
}

/** Files behind loop devices. */
function loops(): string[] {
  const devices = readdirSync("/sys/block").filter((name) => name.startsWith("loop"));
  return devices.flatMap((name) => lines(`/sys/block/${name}/loop/backing_file`)).filter(Boolean);
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

/** Rows of the ledger; the program says what it can be asked. */
export function rows(stack: Stack, what: string, ...more: string[]): string[] {
  const program = join(ROOT, "e2e/python/ledger_left.py");
  const args = [program, join(stack.data, "broker/ledger.sqlite"), what, ...more];
  return execFileSync("python3", args, { encoding: "utf8", timeout: DEADLINE_MS }).split("\n").filter(Boolean);
}

/** Sessions that a cluster has beside its own. */
function replicasOf(stack: Stack, id: string): string[] {
  return rows(stack, "replicas", id).filter((one) => one !== id);
}

function said(program: string, ...args: string[]): string[] {
  try {
    return execFileSync(program, args, { encoding: "utf8", timeout: DEADLINE_MS, stdio: ["ignore", "pipe", "ignore"] }).split("\n").filter(Boolean);
  } catch {
    // An engine that was killed says nothing: then nobody knows yet.
    return [`(${program} does not answer)`];
  }
}

/** Who does not answer has not said that nothing is left. */
const isSilence = (line: string): boolean => line.startsWith("(");
