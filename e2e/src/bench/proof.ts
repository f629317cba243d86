/**
 * `make bench SUITE=proof`: what proofs and receipts cost. docs/performance.md explains each name. Each part adds its
 * own figures; PROOF=verify picks one.
 */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "../harness/stack.js";
import { Report } from "./report.js";

/** The module that scripts/wasm.sh builds, and a program that asks it as a page does. */
const MODULE = join(ROOT, "client-web/public/verifier.wasm");
const ASK = join(ROOT, "verifier/wasm/tests/ask.mjs");
const WASM_ROUNDS = 500;

/** A receipt verified, natively and in a browser's module. */
function verify(report: Report): void {
  const args = ["run", "--release", "--locked", "--quiet", "-p", "nearlight-verifier-wasm", "--example", "cost"];
  const said = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const native = JSON.parse(said) as { readonly verify_us: number; readonly beacon_us: number; readonly question: string };
  const options = { encoding: "utf8", input: `${native.question}\n` } as const;
  const asked = execFileSync(process.execPath, [ASK, MODULE, "--time", String(WASM_ROUNDS)], options);
  const wasm = JSON.parse(asked) as { readonly us: number; readonly outcome: string };
  if (wasm.outcome !== "VALID") throw new Error(`the module says ${wasm.outcome}`);
  report.add("proof.verify_us_native", native.verify_us);
  report.add("proof.verify_us_wasm", wasm.us);
  report.add("proof.beacon_us_native", native.beacon_us);
}

const PARTS: Readonly<Record<string, (report: Report) => void | Promise<void>>> = { verify };

const wanted = process.env["PROOF"] ? [process.env["PROOF"]] : Object.keys(PARTS);
const report = new Report();
for (const name of wanted) {
  const part = PARTS[name];
  if (!part) throw new Error(`PROOF takes ${Object.keys(PARTS).join(", ")}, not ${name}`);
  await part(report);
}
report.print();
console.log(report.write());
