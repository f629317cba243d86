/** What a stack is brought up with: its options, and the files that `nearlight up` reads. */

import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ARTEFACTS, ROOT } from "./places.js";

export const LOOPBACK = "127.0.0.1";

export interface StackOptions {
  /** Names the log: target/e2e/<name>.log. */
  name: string;
  /** How the node runs apps. `docker` and `sandbox` insist; `auto` is what a stranger gets. */
  runtime?: "docker" | "sandbox" | "auto";
  env?: Record<string, string>;
  /** Players reach the node over a path whose conditions the test chooses; seeded with this. */
  path?: number;
  /** The address of this machine that such a path begins at. Default: the loopback's. Firefox takes no answer of ICE that maps it to such. */
  pathAddress?: string;
  /** What players send to the node is remembered. Not together with a path. */
  tapped?: boolean;
  /** Checkers that `nearlight up` starts beside the node. */
  checkers?: number;
  /** More of the configuration, TOML. */
  config?: string[];
  /** Descriptions of apps by file name, instead of those in e2e/apps. */
  apps?: () => Record<string, string> | Promise<Record<string, string>>;
  /** Apps to have root file systems of, for the sandbox. They are made once and shared by all data directories. */
  roots?: string[];
}

/** Root file systems for the sandbox, which all data directories share. */
export function makeRoots(data: string, apps: readonly string[]): void {
  const shared = join(ARTEFACTS, "sandbox");
  const images = join(ROOT, "scripts/images.sh");
  execFileSync(images, ["sandbox", "--data", shared, ...apps], { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  mkdirSync(join(data, "edge"), { mode: 0o700 });
  symlinkSync(join(shared, "rootfs"), join(data, "edge/rootfs"));
}

/** Descriptions of apps in a directory of their own. */
export function writeApps(data: string, apps: Record<string, string>): string {
  const dir = join(data, "apps");
  mkdirSync(dir);
  for (const [name, description] of Object.entries(apps)) writeFileSync(join(dir, name), description);
  return dir;
}

/** Room for what the tests start at once: what they claim is little, and none of it is a promise to a player. */
export function writeConfig(data: string, adminPort: number, pathPort: number, options: StackOptions): string {
  const config = join(data, "up.toml");
  const lines = [
    "[edge-node.admin]",
    `listen = "127.0.0.1:${adminPort}"`,
    "[edge-node.runtime]",
    `kind = "${options.runtime ?? "auto"}"`,
    "[edge-node.slots]",
    "count = 6",
    "cpu_milli = 8000",
    "mem_mib = 8192",
    // The tests look many times a second, and all from one address.
    "[session-broker.limits]",
    "requests_per_s = 1000",
    "requests_burst = 2000",
    "creates_per_min = 1000",
    "creates_burst = 1000",
    "guests_per_min = 1000",
    "guests_burst = 1000",
    ...(pathPort === 0 ? [] : ["[edge-node.rtc]", `advertise = ["${options.pathAddress ?? LOOPBACK}"]`, `advertise_port = ${pathPort}`]),
    ...(options.config ?? []),
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  return config;
}
