/** What a cycle of the soak of jobs is: a job, what is done with it, and who is killed when. All of it follows from the seed. */

import type { Random } from "./random.js";

/** Built by `scripts/images.sh jobs`, and with a small HTTP server in it. */
const IMAGE = "nearlight/job-jupyter:1";
const MOMENTS = ["creating", "created", "ready", "inside", "ending"] as const;
const ROLES = ["session-broker", "edge-node", "dockerd"] as const;
/** Jobs meet their predecessors' volumes: there are few. */
const VOLUMES = ["soak-a", "soak-b", "soak-c"] as const;
/** Never reached. */
const BUDGET_MICRO = 1_000_000_000;
/** What is done inside of a job takes longer than to ask for it. */
const INSIDE_MS = 1500;
const MOMENT_MS = 400;

export type Role = (typeof ROLES)[number];
export type Moment = (typeof MOMENTS)[number];

export interface Cycle {
  readonly job: object;
  readonly secrets: Record<string, string>;
  readonly budget_micro: number | undefined;
  readonly hasPort: boolean;
  readonly volume: string | undefined;
  /** The replica that is looked into. */
  readonly replica: number | undefined;
  /** A command of seconds, or one that is cut off by the end of its job. */
  readonly exec: "short" | "open" | undefined;
  readonly copies: boolean;
  readonly strikes: readonly { role: Role; moment: Moment; after_ms: number }[];
}

/** The file with the id of an engine that may be killed: `scripts/engine.sh` makes one. */
export const ENGINE = process.env["NEARLIGHT_ENGINE_PID"];

export const isStruck = (cycle: Cycle, by: Role): boolean => cycle.strikes.some(({ role }) => role === by);

export function planned(random: Random): Cycle {
  const one = (of: number): boolean => random.below(of) === 0;
  const [hasPort, hasSecret, hasDisk, hasEgress] = [one(2), one(2), one(3), one(3)];
  const [hasBudget, hasLabel, isCluster, hasVolume] = [one(4), one(3), one(10), one(3)];
  const volume = random.pick(VOLUMES);
  const [exec, hasExec, copies] = [random.pick(["short", "open"] as const), one(2), one(3)];
  const has = <T>(is: boolean, part: T): T | object => (is ? part : {});
  const job = {
    image: IMAGE,
    command: hasPort ? ["python3", "-m", "http.server", "8000", "--directory", "/etc/jupyter"] : ["sleep", "600"],
    resources: { cpu_milli: 200, mem_mib: 128, disk_mib: hasDisk ? 16 : 0 },
    ...has(hasPort, { ports: [{ name: "http", port: 8000, health: { path: "/", every_s: 1 } }] }),
    ...has(hasSecret, { secrets: ["TOKEN"] }),
    ...has(hasEgress, { egress: { allow: ["192.0.2.0/24"] } }),
    ...has(hasLabel, { labels: { customer: "acme" } }),
    // One volume is one container's.
    ...(isCluster ? { cluster: { replicas: 2 } } : has(hasVolume, { volumes: [{ name: volume, path: "/work", size_mib: 16 }] })),
    time: { start_s: 60, max_s: 600, stop_s: 1 },
  };
  const strikes = ROLES.filter(() => one(4)).map((role) => {
    const moment = random.pick(MOMENTS);
    return { role, moment, after_ms: random.below(moment === "inside" ? INSIDE_MS : MOMENT_MS) };
  });
  return {
    job,
    secrets: hasSecret ? { TOKEN: "soak" } : {},
    budget_micro: hasBudget ? BUDGET_MICRO : undefined,
    hasPort,
    volume: hasVolume && !isCluster ? volume : undefined,
    replica: isCluster ? 1 : undefined,
    exec: hasExec ? exec : undefined,
    copies,
    // Choices are made for an engine, too, where none may be killed: a seed means the same everywhere.
    strikes: strikes.filter(({ role }) => role !== "dockerd" || ENGINE !== undefined),
  };
}
