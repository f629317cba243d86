/**
 * `npm test [NAME...]`: the test files, one after another. A file with a failed test is run once more, as the
 * Rust tests are: they drive real browsers, containers and encoders, and a busy machine is no defect. What failed
 * once is named as flaky; what failed twice fails the run. Both are said at the end, with what went wrong.
 *
 * Files that mostly wait, and have an engine and a network of their own or need neither, run one after another beside the
 * others.
 */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, type Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { failures, type Failure } from "./harness/files.js";

const DIRECTORY = join(import.meta.dirname, "tests");
/** For jobs to end, rounds of checks to begin, vanished viewers to be given up. */
const BESIDE = ["job-cycles", "stream-duty", "churn"];
/** Files that run while those do: jobs, and what else has no pictures that must come in time. */
const MEANWHILE = /^(job-.*|aims|clients|nearness|pull|receipts|refusals-http|runner)$/;
/** A file that has not ended by then hangs: no test of any may take half of it. */
const FILE_MS_MAX = 30 * 60_000;

const nameOf = (file: string): string => file.replace(".test.js", "");

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

async function measured(file: string, out: Writable = process.stdout): Promise<Failure[]> {
  const since = performance.now();
  const failed = await failures(join(DIRECTORY, file), out, FILE_MS_MAX);
  took_s.set(file, Math.round((performance.now() - since) / 1000));
  first = first.concat(failed);
  return failed;
}

function again(file: string): Promise<Failure[]> {
  return failures(join(DIRECTORY, file), process.stdout, FILE_MS_MAX);
}

/** Runs a file beside others, and keeps its report until theirs cannot be mixed up with it. */
async function beside(file: string): Promise<{ failed: Failure[]; report: string }> {
  const out = new PassThrough();
  const report = text(out);
  const failed = await measured(file, out);
  out.end();
  return { failed, report: await report };
}

/** Runs a file, and once more if something failed. */
async function inTurn(file: string): Promise<void> {
  console.log(`# ${file}`);
  if ((await measured(file)).length > 0) second = second.concat(await again(file));
}

/** Those that run beside the others, in turn; each report is shown whole. What failed of them is run again when nothing else runs. */
async function lane(files: readonly string[]): Promise<{ file: string; failed: Failure[]; report: string }[]> {
  const done = [];
  for (const file of files) done.push({ file, ...(await beside(file)) });
  return done;
}

const others = chosen.filter((file) => !BESIDE.includes(nameOf(file))).sort();
const [same, rest] = [others.filter((file) => MEANWHILE.test(nameOf(file))), others.filter((file) => !MEANWHILE.test(nameOf(file)))];
const waiting = lane(BESIDE.map((name) => `${name}.test.js`).filter((file) => chosen.includes(file)));
for (const file of same) await inTurn(file);
for (const { file, failed, report } of await waiting) {
  console.log(`# ${file}, beside the others\n${report}`);
  if (failed.length > 0) second = second.concat(await again(file));
}
for (const file of rest) await inTurn(file);
const slowest = [...took_s].sort(([, a], [, b]) => b - a).map(([file, s]) => `${nameOf(file)} ${s}`);
console.log(`# seconds: ${slowest.join(", ")}`);
const flaky = first.filter(({ file, name }) => !second.some((other) => other.file === file && other.name === name));
list("FLAKY: failed once, and passed when run again", flaky);
list("FAILED twice", second);
process.exit(second.length > 0 ? 1 : 0);
