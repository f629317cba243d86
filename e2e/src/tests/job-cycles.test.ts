/**
 * Twenty jobs come and go while broker, agent and, beside an engine of their own, dockerd are killed; `make soak
 * SUITE=jobs` has five hundred. Who is not root has no engine to kill, and goes without its ends.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../harness/stack.js";

const CYCLES = 20;
const IMAGE = "nearlight/job-jupyter:1";

void test("jobs that come and go while broker, agent and engine are killed leave nothing behind", { timeout: 900_000 }, async ({ signal }) => {
  const program = [process.execPath, "--enable-source-maps", join(ROOT, "e2e/build/e2e/src/soak-jobs.js")];
  const engine = [join(ROOT, "scripts/engine.sh"), "--image", IMAGE, "--"];
  const [command = "", ...args] = process.getuid?.() === 0 ? [...engine, ...program] : program;
  const env = { ...process.env, SOAK_CYCLES: String(CYCLES) };
  const child = spawn(command, args, { env, stdio: ["ignore", "inherit", "inherit"] });
  // A test that took too long has failed; what it started must not keep its file alive.
  signal.addEventListener("abort", () => child.kill());
  const [status] = (await once(child, "exit")) as [number | null];
  assert.equal(status, 0, "its own words are above");
});
