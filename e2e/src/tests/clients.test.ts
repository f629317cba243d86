/**
 * The examples of the Python and the TypeScript client, as they are: each starts the embeddings job, calls it
 * with OpenAI's client or runs commands in it, and ends it.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { promisify } from "node:util";
import { Rig } from "../harness/rig.js";
import { ROOT } from "../harness/stack.js";

const rig = Rig.forThisFile({ name: "clients", runtime: "docker" });

const script = join(ROOT, "scripts/clients.sh");
const run = promisify(execFile);
let installed = "";

// A registry takes the time that it takes: not the test's.
before(async () => {
  installed = await mkdtemp(join(tmpdir(), "nearlight-packages-"));
  await run(script, ["packages", installed]);
});
after(() => rm(installed, { recursive: true, force: true }));

rig.test("the examples of both clients run as they are", async () => {
  const { stdout, stderr } = await run(script, ["examples", installed], {
    timeout: 380_000,
    env: { ...process.env, NEARLIGHT_URL: rig.stack.base, NEARLIGHT_TOKEN: rig.stack.key },
  });
  const cosines = [...stdout.matchAll(/^cosine (\S+)$/gm)].map((match) => Number(match[1]));
  assert.equal(cosines.length, 2, stdout);
  for (const cosine of cosines) assert.ok(Math.abs(cosine - 0.8749) < 1e-3, stdout);

  // Status, both streams, more than is kept, a terminal, five megabytes out and in, and a refusal in the broker's words: the same of both.
  const ran = stdout.split("\n").filter((line) => /^(exec|refused) /.test(line));
  const each = ["exec 3 apple pear sorted", "exec 0 33554432 bytes", "exec 0 a terminal", "exec 0 copied", "refused bad-request `command` names no program."];
  assert.deepEqual(ran, [...each, ...each], stdout);

  // Whatever they started is over.
  const started = [...new Set(stderr.match(/ses_[0-9a-z]+/g))];
  assert.equal(started.length, 4, stderr);
  for (const id of started) await rig.stack.operator.reachEnd(id);
}, 400_000);
