/** What runs the tests against files that no run should have: one that never ends, and one that is none. */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { after, test } from "node:test";
import { failures } from "../harness/files.js";
import { isAlive } from "../harness/processes.js";
import { until } from "../harness/until.js";

const directory = mkdtempSync(join(tmpdir(), "nearlight-runner-"));
after(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a file of this text as the runner does, and not as a part of this test. */
async function failed(name: string, text: string, within_ms: number): Promise<string[]> {
  const path = join(directory, name);
  writeFileSync(path, text);
  delete process.env["NODE_TEST_CONTEXT"];
  const out = new PassThrough();
  out.resume();
  return (await failures(path, out, within_ms)).map(({ name }) => name);
}

test("a file whose test hangs is ended, and named beside the test", { timeout: 60_000 }, async () => {
  const pid = join(directory, "pid");
  const hangs = `
    import { writeFileSync } from "node:fs";
    import { test } from "node:test";
    writeFileSync(${JSON.stringify(pid)}, String(process.pid));
    test("hangs", { timeout: 100 }, () => new Promise(() => setInterval(() => {}, 1000)));`;
  assert.deepEqual(await failed("hangs.mjs", hangs, 3_000), ["hangs", join(directory, "hangs.mjs")]);
  const process = Number(readFileSync(pid, "utf8"));
  await until("its process to be gone", () => !isAlive(process));
});

test("a file that cannot be read as one fails alone", async () => {
  assert.deepEqual(await failed("broken.mjs", "import { nothing } from 'node:nowhere';", 30_000), [join(directory, "broken.mjs")]);
  assert.deepEqual(await failed("whole.mjs", "import { test } from 'node:test'; test('passes', () => {});", 30_000), []);
});
