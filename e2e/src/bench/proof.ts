/**
 * `make bench SUITE=proof`: what proofs and receipts cost. docs/performance.md explains each name. Each part adds its
 * own figures; PROOF=verify or PROOF=checker picks one.
 */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../harness/stack.js";
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

const PARTS: Readonly<Record<string, (report: Report) => void | Promise<void>>> = { verify, checker };

const wanted = process.env["PROOF"] ? [process.env["PROOF"]] : Object.keys(PARTS);
const report = new Report();
for (const name of wanted) {
  const part = PARTS[name];
  if (!part) throw new Error(`PROOF takes ${Object.keys(PARTS).join(", ")}, not ${name}`);
  await part(report);
}
report.print();
console.log(report.write());
