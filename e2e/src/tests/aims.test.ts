/** What the bench makes of aims: read from the page that explains the figures, compared, and said. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { aimsOf, isMet, text, type Aim } from "../bench/aims.js";
import { Report } from "../bench/report.js";
import { worst } from "../bench/windows.js";
import { ROOT } from "../harness/places.js";

const PAGE = `
| name | unit | what it is |
|---|---|---|
| \`play.most\` <= 1.5, \`play.free\` | ms | says <= 3 of something else |
| \`play.under\` < 100 | ms | |
| \`play.least\` >= 0.8, \`play.range\` 20 to 80 | ratio | |
| another table | \`play.other\` |
`;

function aim(name: string): Aim {
  const found = aimsOf(PAGE).get(name);
  assert.ok(found, name);
  return found;
}

test("aims are read from the names' own cells, and said as they stand there", () => {
  const aims = aimsOf(PAGE);
  assert.deepEqual([...aims.keys()], ["play.most", "play.free", "play.under", "play.least", "play.range"]);
  assert.equal(aims.get("play.free"), undefined);
  assert.deepEqual(["play.most", "play.under", "play.least", "play.range"].map((name) => text(aim(name))), ["<= 1.5", "< 100", ">= 0.8", "20 to 80"]);
});

test("a bound itself is within all aims but one that says less", () => {
  const judged = (name: string, values: number[]): boolean[] => values.map((value) => isMet(aim(name), value));
  assert.deepEqual(judged("play.most", [1.499, 1.5, 1.501]), [true, true, false]);
  assert.deepEqual(judged("play.under", [99.999, 100, 101]), [true, false, false]);
  assert.deepEqual(judged("play.least", [0.799, 0.8, 0.801]), [false, true, true]);
  assert.deepEqual(judged("play.range", [19.999, 20, 80, 80.001]), [false, true, true, false]);
});

test("an aim that cannot be read, and a figure that is explained twice, are errors", () => {
  assert.throws(() => aimsOf("| `play.most` about 3 | ms | |"), /no figure with or without an aim/);
  assert.throws(() => aimsOf("| `play.most`, `play.free`, `play.most` <= 3 | ms | |"), /play\.most is explained twice/);
});

test("a report says of each figure whether its aim is met, and names those that miss theirs", () => {
  const report = new Report(aimsOf(PAGE));
  report.add("play.most", 1.50049);
  report.add("play.free", 7);
  report.add("play.least", 0.7994);
  assert.throws(() => report.add("play.other", 1), /does not explain play\.other/);
  assert.deepEqual(report.lines().map((line) => line.split(/\s{2,}/)), [
    ["play.most", "1.500", "<= 1.5", "met"],
    ["play.free", "7.000"],
    ["play.least", "0.799", ">= 0.8", "MISSED"],
  ]);
  assert.deepEqual(report.missed(), ["play.least"]);
});

test("sessions that were not created do not make a restart's figure better", () => {
  const window = (ms_p99: number | null) => ({ from_s: 90, failed: ms_p99 === null ? 500 : 0, ms_p99 });
  const figure = aimsOf(readFileSync(join(ROOT, "docs/performance.md"), "utf8")).get("broker.restart_create_ms_p99");
  assert.ok(figure);
  assert.equal(worst([window(20), window(49)]), 49);
  assert.ok(isMet(figure, worst([window(20), window(49)])));
  for (const none of [[window(20), window(null)], [window(null)], []]) assert.ok(!isMet(figure, worst(none)));
});

test("the page's own aims can be read, and every suite has some", () => {
  const aims = [...aimsOf(readFileSync(join(ROOT, "docs/performance.md"), "utf8"))];
  const suites = new Set(aims.filter(([, found]) => found !== undefined).map(([name]) => name.slice(0, name.indexOf("."))));
  assert.deepEqual([...suites].sort(), ["broker", "jobs", "play", "proof", "stream"]);
});
