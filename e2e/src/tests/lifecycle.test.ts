/** `nearlight up` and the command around it: up, used, interrupted, up again. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { inspect } from "../harness/docker.js";
import { isAlive } from "../harness/processes.js";
import { BINARIES, Stack } from "../harness/stack.js";
import type { Session } from "../../../client-web/src/wire/types.js";

const run = promisify(execFile);

/** The command, against this stack. */
async function nearlight(stack: Stack, ...args: string[]): Promise<string> {
  const broker = ["--url", stack.base, "--data", stack.data];
  const { stdout } = await run(join(BINARIES, "nearlight"), [...args, ...broker], { timeout: 60_000 });
  return stdout;
}

test("an interrupt ends the sessions and leaves nothing behind", { timeout: 180_000 }, async () => {
  const stack = await Stack.up({ name: "lifecycle-interrupt", runtime: "docker" });
  const session = await stack.operator.start({ app: "calibrate" });
  const { container, worker_pid } = await stack.edgeSession(session.id);
  assert.ok(container && worker_pid);
  await stack.down();
  assert.equal(inspect(container), undefined, "the container is removed");
  assert.equal(isAlive(worker_pid), false, "the worker is gone");
});

test("the command starts, lists and stops sessions", { timeout: 180_000 }, async () => {
  const stack = await Stack.up({ name: "lifecycle-command" });
  try {
    const nodes = JSON.parse(await nearlight(stack, "node", "list", "--json")) as unknown;
    assert.ok(JSON.stringify(nodes).includes("nod_"));
    const started = JSON.parse(await nearlight(stack, "session", "start", "calibrate", "--json")) as Session;
    assert.match(started.id, /^ses_/);
    stack.remember(started.id);
    await stack.operator.reach(started.id, ["ready"]);
    assert.ok((await nearlight(stack, "session", "list")).includes(started.id), "the table has it");
    await nearlight(stack, "session", "stop", started.id);
    assert.equal((await stack.operator.reachEnd(started.id)).reason, "player-ended");
  } finally {
    await stack.down();
  }
});
