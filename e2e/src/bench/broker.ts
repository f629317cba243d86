/**
 * `make bench SUITE=broker`: what a placement costs, how many sessions a second a broker creates on each
 * engine of the ledger, and how long each takes. docs/performance.md explains the method and each name.
 * BROKER=create picks a part.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BINARIES, ROOT } from "../harness/stack.js";
import { Report } from "./report.js";

const RATE = Number(process.env["BROKER_RATE"] ?? 1500);
const SECONDS = Number(process.env["BROKER_SECONDS"] ?? 60);

/** What `loadtest sessions` says. */
interface Created {
  readonly created: number;
  readonly created_per_s: number;
  readonly ms_p50: number;
  readonly ms_p99: number;
  readonly missing: number;
  readonly durability: Readonly<Record<string, string>>;
  readonly fdatasync_ms_p50: number;
  readonly broker_cores: number;
}

/** On the disk of the repository, for that is where the ledger's syncs are to be measured. */
function scratch(name: string): string {
  return mkdtempSync(join(ROOT, "target/bench/", `${name}-`));
}

function create(engine: string, ledger: readonly string[], report: Report): void {
  const data = scratch(engine);
  try {
    const args = ["sessions", "--rate", String(RATE), "--seconds", String(SECONDS), "--data", data, ...ledger];
    const said = execFileSync(join(BINARIES, "loadtest"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    const measured = JSON.parse(said) as Created;
    console.log(`${engine}: ${JSON.stringify(measured.durability)}, fdatasync ${measured.fdatasync_ms_p50} ms`);
    report.add(`broker.create_per_s_${engine}`, measured.created_per_s);
    report.add(`broker.create_ms_p50_${engine}`, measured.ms_p50);
    report.add(`broker.create_ms_p99_${engine}`, measured.ms_p99);
    report.add(`broker.create_missing_${engine}`, measured.missing);
    report.add(`broker.create_cores_${engine}`, measured.broker_cores);
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

function onPostgres(report: Report): void {
  const script = join(ROOT, "scripts/postgres.sh");
  const dir = scratch("server");
  try {
    const [, url] = execFileSync(script, ["start", dir], { encoding: "utf8" }).split("\n");
    if (url === undefined) throw new Error("scripts/postgres.sh names no URL");
    create("postgres", ["--ledger", url], report);
  } finally {
    execFileSync(script, ["drop", dir], { stdio: "ignore" });
  }
}

/** Decisions among 100,000 nodes: an example of the simulator, whose figures are taken as they are. */
function placement(report: Report): void {
  const args = ["run", "--release", "--locked", "--quiet", "-p", "nearlight-sim", "--example", "placement"];
  const said = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  for (const [name, value] of Object.entries(JSON.parse(said) as Record<string, unknown>)) {
    if (name.startsWith("broker.") && typeof value === "number") report.add(name, value);
  }
}

const report = new Report();
const part = process.env["BROKER"];
if (part === undefined || part === "placement") placement(report);
if (part === undefined || part === "create") {
  create("sqlite", [], report);
  onPostgres(report);
}
report.print();
console.log(report.write());
