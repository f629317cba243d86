/**
 * `make bench SUITE=proof`: what proofs and receipts cost. docs/performance.md explains each name. Each part adds its
 * own figures; PROOF=verify, PROOF=checker or PROOF=log picks one.
 */

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BINARIES, ROOT } from "../harness/stack.js";
import { Report } from "./report.js";

/** The module that scripts/wasm.sh builds, and a program that asks it as a page does. */
const MODULE = join(ROOT, "client-web/public/verifier.wasm");
const ASK = join(ROOT, "verifier/wasm/tests/ask.mjs");
const WASM_ROUNDS = 500;

/** What an example program of a crate prints. */
function example(crate: string, name: string): string {
  const args = ["run", "--release", "--locked", "--quiet", "-p", crate, "--example", name];
  return execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** A receipt verified, natively and in a browser's module. */
function verify(report: Report): void {
  const said = example("nearlight-verifier-wasm", "cost");
  const native = JSON.parse(said) as { readonly verify_us: number; readonly beacon_us: number; readonly question: string };
  const options = { encoding: "utf8", input: `${native.question}\n` } as const;
  const asked = execFileSync(process.execPath, [ASK, MODULE, "--time", String(WASM_ROUNDS)], options);
  const wasm = JSON.parse(asked) as { readonly us: number; readonly outcome: string };
  if (wasm.outcome !== "VALID") throw new Error(`the module says ${wasm.outcome}`);
  report.add("proof.verify_us_native", native.verify_us);
  report.add("proof.verify_us_wasm", wasm.us);
  report.add("proof.beacon_us_native", native.beacon_us);
}

/** What a probe of full size costs its checker. */
function checker(report: Report): void {
  const cost = JSON.parse(example("nearlight-proof", "probe_cost")) as { readonly checker_cpu_s: number };
  report.add("proof.checker_cpu_s", cost.checker_cpu_s);
}

/** Entries of a young log and of an old one. The old one takes some 9 GB of the disk for minutes. */
const LOG_ENTRIES = [10_000, Number(process.env["LOG_ENTRIES"] ?? 10_000_000)] as const;
const FLOOD_S = 60;

/** What `loadtest receipts` says, as far as it is read here. */
interface Appended {
  readonly appends_per_s: number;
  readonly flood_s: number;
  /** Answers that gave no place, by status. */
  readonly others: Readonly<Record<string, number>>;
  readonly ms_p50: number;
  readonly ms_p99: number;
  readonly missing: number;
  readonly broker_cores: number;
  readonly broker_ms_each: number;
}

/** Receipts appended to the log of a broker on this disk: never /tmp, which may be memory. */
function append(entries: number): Appended {
  const scratch = join(ROOT, "target/bench");
  mkdirSync(scratch, { recursive: true });
  const data = mkdtempSync(join(scratch, "log-"));
  try {
    const args = ["receipts", "--entries", String(entries), "--flood-seconds", String(FLOOD_S), "--data", data];
    const said = execFileSync(join(BINARIES, "loadtest"), args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
    return JSON.parse(said) as Appended;
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

function log(report: Report): void {
  const [young, old] = [append(LOG_ENTRIES[0]), append(LOG_ENTRIES[1])];
  if (young.missing + old.missing > 0) throw new Error("a receipt that was given a place stands elsewhere or is new");
  for (const { others, flood_s } of [young, old]) {
    if (Object.keys(others).length > 0) throw new Error(`not every receipt was given a place: ${JSON.stringify(others)} by status`);
    if (flood_s < FLOOD_S) throw new Error(`the receipts lasted ${flood_s} s of ${FLOOD_S}: make more (--flood)`);
  }
  report.add("proof.log_appends_per_s", old.appends_per_s);
  report.add("proof.log_append_ms_p50_young", young.ms_p50);
  report.add("proof.log_append_ms_p50", old.ms_p50);
  report.add("proof.log_append_ms_p99", old.ms_p99);
  report.add("proof.log_append_p50_ratio", old.ms_p50 / young.ms_p50);
  report.add("proof.log_broker_cores", old.broker_cores);
  report.add("proof.log_broker_ms_each", old.broker_ms_each);
}

const PARTS: Readonly<Record<string, (report: Report) => void | Promise<void>>> = { verify, checker, log };

const wanted = process.env["PROOF"] ? [process.env["PROOF"]] : Object.keys(PARTS);
const report = new Report();
for (const name of wanted) {
  const part = PARTS[name];
  if (!part) throw new Error(`PROOF takes ${Object.keys(PARTS).join(", ")}, not ${name}`);
  await part(report);
}
report.finish();
