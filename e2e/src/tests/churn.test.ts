/** Viewers come and go by the hundred, also without a word, and the node holds what it held before. */

import assert from "node:assert/strict";
import { against, loadtest, type Churned, type Streamed } from "../harness/loadtest.js";
import { Rig } from "../harness/rig.js";

const rig = Rig.forThisFile({ name: "churn" });

const CYCLES = 200;

rig.test(
  "200 attach and detach cycles leave no task, socket, thread or file behind",
  async () => {
    const broker = ["--broker-pid", String(rig.stack.role("session-broker").pid)];
    const plan = ["--cycles", String(CYCLES), "--sessions", "2"];
    const report = await loadtest<Churned>(["churn", ...against(rig.stack), ...broker, ...plan]);
    assert.deepEqual(report.faults, []);
    assert.equal(report.cycles, CYCLES);
  },
  900_000,
);

rig.test("two native receivers get continuous pictures at once", async () => {
  const args = ["--sessions", "2", "--decode", "2", "--measure", "5s", "--press-every", "1s"];
  const report = await loadtest<Streamed>(["stream", ...against(rig.stack), ...args]);
  assert.deepEqual(report.faults, []);
  assert.equal(report.sessions.length, 2);
});
