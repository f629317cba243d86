/** A capacity check of a real node by a real checker, computed anew by whoever has the receipt: `nearlight receipt rerun`. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { Checker } from "../harness/checker.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "receipt-rerun", runtime: "sandbox", config: ["[session-broker.checks]", "round_s = 10"] });
const data = mkdtempSync(join(tmpdir(), "nearlight-rerun-"));
let checker: Checker | undefined;

after(() => {
  checker?.leave();
  rmSync(data, { recursive: true, force: true });
});

interface Summary {
  readonly index: number;
  readonly kind: string;
  readonly issuer: string;
}

interface Body {
  readonly matrix_root: string;
  readonly [name: string]: unknown;
}

/** What it says, and its exit status. */
async function rerun(what: string): Promise<{ said: string; status: number }> {
  const asked = ["receipt", "rerun", what, "--url", rig.stack.base];
  try {
    const { stdout } = await promisify(execFile)(join(BINARIES, "nearlight"), asked, { timeout: 300_000 });
    return { said: stdout, status: 0 };
  } catch (error) {
    const { stdout, code } = error as { stdout: string; code: number };
    return { said: stdout, status: code };
  }
}

rig.test(
  "what a checker found of a node is computed anew from its receipt, and a root that was changed differs",
  async () => {
    const { operator } = rig.stack;
    checker = await Checker.join(rig.stack, "west");
    const { id } = checker;
    const found = await until(
      "a capacity check with evidence",
      async () => {
        const { receipts } = (await operator.request<{ receipts: Summary[] }>("GET", "/v1/receipts")).body;
        for (const one of receipts.filter(({ kind, issuer }) => kind === "porc/v1" && issuer === id)) {
          const shown = await operator.request<{ envelope: string }>("GET", `/v1/receipts/${one.index}`);
          if (shown.status === 200 && bodyOf(shown.body.envelope).finding === "pass") return { index: one.index, shown: shown.body };
        }
        return undefined;
      },
      { within_ms: 300_000 },
    );
    // By its place in the log, with the evidence beside that; a checker hands that in after its receipt.
    const agrees = await until(
      "the evidence to be there",
      async () => {
        const now = await rerun(String(found.index));
        return !now.said.includes("never handed in") && now;
      },
      { within_ms: 120_000 },
    );
    console.log(`# ${agrees.said.replaceAll("\n", "\n# ")}`);
    assert.equal(agrees.status, 0, agrees.said);
    assert.match(agrees.said, /^AGREES/);
    assert.match(agrees.said, /ok +tiles/);

    // Another root of C than the node committed to.
    const file = join(data, "receipt.json");
    const envelope = JSON.parse(found.shown.envelope) as { payload: string };
    const payload = Buffer.from(envelope.payload, "base64").toString();
    const { matrix_root } = bodyOf(found.shown.envelope);
    const other = (matrix_root.startsWith("0") ? "1" : "0") + matrix_root.slice(1);
    const changed = { ...envelope, payload: Buffer.from(payload.replaceAll(matrix_root, other)).toString("base64") };
    writeFileSync(file, JSON.stringify({ ...found.shown, envelope: JSON.stringify(changed) }));
    const differs = await rerun(file);
    console.log(`# ${differs.said.replaceAll("\n", "\n# ")}`);
    assert.equal(differs.status, 14, differs.said);
    assert.match(differs.said, /^DIFFERS/);
  },
  700_000,
);

function bodyOf(envelope: string): Body {
  const { payload } = JSON.parse(envelope) as { payload: string };
  return (JSON.parse(Buffer.from(payload, "base64").toString()) as { predicate: { body: Body } }).predicate.body;
}
