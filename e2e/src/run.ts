/**
 * `npm test [NAME...]`: the test files, one after another. A file with a failed test is run once more, as the
 * Rust tests are: they drive real browsers, containers and encoders, and a busy machine is no defect. What failed
 * once is named as flaky; what failed twice fails the run. Both are said at the end, with what went wrong.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { run } from "node:test";
import { tap } from "node:test/reporters";

const DIRECTORY = join(import.meta.dirname, "tests");

/** One test that failed. */
interface Failure {
  file: string;
  name: string;
  why: string;
}

async function failures(file: string): Promise<Failure[]> {
  const found: Failure[] = [];
  const events = run({ files: [join(DIRECTORY, file)], concurrency: 1 });
  events.on("test:fail", ({ name, details }) => {
    const { cause, message } = details.error;
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause ?? message);
    found.push({ file, name, why });
  });
  const report = events.compose(tap);
  report.pipe(process.stdout, { end: false });
  await finished(report);
  return found;
}

function list(title: string, found: Failure[]): void {
  if (found.length > 0) console.log(`\n# ${title}`);
  for (const { file, name, why } of found) console.log(`# ${file}: ${name}\n${why.replace(/^/gm, "#   ")}`);
}

const named = process.argv.slice(2);
const all = readdirSync(DIRECTORY).filter((file) => file.endsWith(".test.js"));
const chosen = all.filter((file) => named.length === 0 || named.some((name) => file.startsWith(`${name}.`)));
if (chosen.length === 0) throw new Error(`no test file is called ${named.join(" or ")}; there are: ${all.join(" ")}`);

const took_s = new Map<string, number>();
let first: Failure[] = [];
let second: Failure[] = [];
for (const file of chosen.sort()) {
  console.log(`# ${file}`);
  const since = performance.now();
  const failed = await failures(file);
  first = first.concat(failed);
  if (failed.length > 0) second = second.concat(await failures(file));
  took_s.set(file, Math.round((performance.now() - since) / 1000));
}
const slowest = [...took_s].sort(([, a], [, b]) => b - a).map(([file, s]) => `${file.replace(".test.js", "")} ${s}`);
console.log(`# seconds: ${slowest.join(", ")}`);
const flaky = first.filter(({ file, name }) => !second.some((other) => other.file === file && other.name === name));
list("FLAKY: failed once, and passed when run again", flaky);
list("FAILED twice", second);
process.exit(second.length > 0 ? 1 : 0);
