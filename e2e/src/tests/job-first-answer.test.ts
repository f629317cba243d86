/**
 * docs/jobs.md as somebody follows it who reads nothing else: the commands of its steps 2 and 3, taken out of the page and run
 * as they stand, in a checkout, beside a `nearlight up` that runs. It asserts what comes of each, and prints how long each took
 * and all together: from a checkout that is built, without the reader.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { Rig } from "../harness/rig.js";
import { BINARIES, ROOT } from "../harness/stack.js";

/** The environment that `scripts/openai.sh` made. */
const PYTHON = process.env["NEARLIGHT_PYTHON"] ?? "";
/** Nothing hangs for longer; an image that is not there is made. */
const WITHIN_MS = 600_000;
/** What the page writes in place of what is another each time. */
const ELSEWHERE = { id: "ses_01kb…", ticket: "eyJ…", address: /http:\/\/ses-01kb….localhost:\d+\// };

const rig = Rig.forThisFile({ name: "job-first-answer", runtime: "docker" });
const dir = mkdtempSync(join(tmpdir(), "nearlight-first-answer-"));

after(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** One fenced block of a step: its language, and its lines. */
interface Block {
  readonly language: string;
  readonly lines: readonly string[];
}

/** The blocks of a step, which ends with the next paragraph that has a heading. */
function blocks(step: number): Block[] {
  const page = readFileSync(join(ROOT, "docs/jobs.md"), "utf8");
  const from = page.indexOf(`\n**${step}. `);
  const to = page.indexOf("\n**", from + 1);
  assert.ok(from > 0 && to > from, `docs/jobs.md has no step ${step}`);
  const fences = page.slice(from, to).matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm);
  return [...fences].map(([, language = "", text = ""]) => ({ language, lines: text.trimEnd().split("\n") }));
}

const commands = ({ lines }: Block): string[] => lines.filter((line) => line.startsWith("$ ")).map((line) => line.slice(2));

/** A checkout whose `data` is that of the running `nearlight up`, and a home whose programs are those under test. */
function checkout(data: string): { cwd: string; home: string } {
  const [cwd, home] = [join(dir, "checkout"), join(dir, "home")];
  const target = join(home, ".cache/nearlight/target");
  for (const made of [cwd, target]) mkdirSync(made, { recursive: true });
  for (const name of readdirSync(ROOT)) if (name !== "data") symlinkSync(join(ROOT, name), join(cwd, name));
  symlinkSync(data, join(cwd, "data"));
  symlinkSync(BINARIES, join(target, "release"));
  return { cwd, home };
}

/** What was timed so far, together. */
let sumMs = 0;

/** Runs what a page says, and tells how long it took. */
async function timed(what: string, run: () => Promise<{ stdout: string }>): Promise<string> {
  const began = performance.now();
  const { stdout } = await run();
  const tookMs = performance.now() - began;
  sumMs += tookMs;
  say(tookMs, what);
  return stdout;
}

function say(tookMs: number, what: string): void {
  console.log(`# ${(tookMs / 1000).toFixed(1)} s: ${what}`);
}

rig.test("the page of the first API answer is followed to its answer", async () => {
  const { cwd, home } = checkout(rig.stack.data);
  // Nothing that the page does not say: no address, no key.
  const env = { HOME: home, PATH: process.env["PATH"], LANG: "C.UTF-8" };
  const setting: string[] = [];
  const shell = async (command: string): Promise<string> => {
    if (command.startsWith("export ")) {
      setting.push(command);
      return "";
    }
    const script = ["set -e", ...setting, command].join("\n");
    return timed(command, () => promisify(execFile)("bash", ["-c", script], { cwd, env, timeout: WITHIN_MS }));
  };

  const [start] = blocks(2);
  assert.ok(start);
  const ran = commands(start);
  // The page may change its commands, not what a reader gets of them.
  for (const part of ["scripts/images.sh jobs embeddings", "nearlight recipe list", "nearlight session start --recipe embeddings"]) {
    assert.ok(ran.includes(part), `step 2 of docs/jobs.md does not say \`${part}\``);
  }
  let said = "";
  for (const command of ran) {
    said = await shell(command);
    if (command === "nearlight recipe list") assert.match(said, /^embeddings\s/m);
  }
  // The last command prints the id, as the page shows it.
  assert.equal(start.lines.at(-1), ELSEWHERE.id);
  assert.match(said, /^ses_[0-9a-z]+\n$/);
  const id = said.trim();
  rig.stack.remember(id);

  const [ask, program, ...more] = blocks(3);
  assert.ok(ask && program && more.length === 0 && program.language === "python");
  const [command, ...none] = commands(ask);
  assert.ok(command !== undefined && command.includes(ELSEWHERE.id) && none.length === 0, command);
  said = await shell(command.replace(ELSEWHERE.id, id));
  // What the page shows is what there is, line by line, and the values have the same shape.
  const fields = (lines: readonly string[]): string[] => lines.map((line) => /^(.*?)\s+\S+(?: \(once\))?$/.exec(line)?.[1] ?? line);
  assert.deepEqual(fields(said.trimEnd().split("\n")), fields(ask.lines.slice(1)), said);
  const [, address] = /^address\s+(\S+)$/m.exec(said) ?? [];
  const [, ticket] = /^ticket\s+(\S+)$/m.exec(said) ?? [];
  assert.ok(address && ticket, said);

  const text = program.lines.join("\n");
  assert.ok(ELSEWHERE.address.test(text) && text.includes(ELSEWHERE.ticket), text);
  assert.ok(existsSync(PYTHON), "set NEARLIGHT_PYTHON to a Python that has the package openai: scripts/openai.sh makes one");
  const called = text.replace(ELSEWHERE.address, address).replace(ELSEWHERE.ticket, ticket);
  const answer = await timed("the program", () => promisify(execFile)(PYTHON, ["-c", called], { cwd, env, timeout: WITHIN_MS }));
  say(sumMs, "all of it: steps 2 and 3 of docs/jobs.md");
  assert.match(answer, /^\[(-?\d\.\d+(e-\d+)?(, )?){3}\]\n$/);
}, 2 * WITHIN_MS);
