/**
 * `make bench SUITE=jobs`: what the endpoint of jobs costs, and how soon a job is there. docs/performance.md explains
 * each name. JOBS=start picks a part: proxy or start.
 */

import { proxy } from "./proxy.js";
import { Report } from "./report.js";
import { starts } from "./starts.js";

const PARTS: Readonly<Record<string, (report: Report) => Promise<void>>> = { proxy, start: starts };

const wanted = process.env["JOBS"]?.split(",") ?? Object.keys(PARTS);
const report = new Report();
for (const name of wanted) {
  const part = PARTS[name];
  if (!part) throw new Error(`JOBS takes ${Object.keys(PARTS).join(", ")}, not ${name}`);
  await part(report);
}
report.finish();
