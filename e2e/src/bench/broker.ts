/** `npm run bench`, `make bench SUITE=broker`: what the broker costs. docs/performance.md explains the method and each name. */

import { execFileSync } from "node:child_process";
import { ROOT } from "../harness/places.js";
import { Report } from "./report.js";

/** Decisions among 100,000 nodes: an example of the simulator, whose figures are taken as they are. */
function placement(report: Report): void {
  const args = ["run", "--release", "--locked", "--quiet", "-p", "nearlight-sim", "--example", "placement"];
  const said = execFileSync("cargo", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  const figures = JSON.parse(said) as Record<string, unknown>;
  for (const [name, value] of Object.entries(figures)) {
    if (name.startsWith("broker.") && typeof value === "number") report.add(name, value);
  }
}

const report = new Report();
placement(report);
report.print();
console.log(report.write());
