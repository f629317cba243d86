/**
 * Streams as a duty: `checker run` is assigned the stream of a node on which somebody plays, plays there beside them as a
 * guest, with a real decoder, and what it signs verifies. Who was to play follows from the log.
 */

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

const rig = Rig.forThisFile({
  name: "stream-duty",
  runtime: "sandbox",
  roots: ["calibrate"],
  config: ["[session-broker.checks]", "round_s = 20", 'stream_app = "calibrate"', "stream_s = 120"],
});
const data = mkdtempSync(join(tmpdir(), "nearlight-stream-"));
let checker: Checker | undefined;

after(() => {
  checker?.leave();
  rmSync(data, { recursive: true, force: true });
});

interface Receipt {
  readonly index: number;
  readonly leaf: string;
  readonly kind: string;
  readonly about: string;
  readonly issuer: string;
}

interface Row {
  readonly duty: string;
  readonly state: string;
  readonly checker: string;
  readonly leaf: string;
}

interface Statement {
  readonly predicate: { readonly body: { readonly finding: string; readonly reason: string; readonly app: string; readonly quality: { readonly frames: number } } };
}

rig.test(
  "a checker that is assigned a stream plays it beside the player, and who was to play follows from the log",
  async () => {
    const { operator } = rig.stack;
    const playing = (checker = await Checker.join(rig.stack, "west"));
    const { id } = playing;
    const player = await rig.player();
    const session = await player.play({ app: "calibrate" });
    const status = await until(
      "a stream to be played",
      async () => {
        const said = await playing.status();
        return /stream: [1-9]\d* done/.test(said) && said;
      },
      { within_ms: 240_000 },
    );
    console.log(`# ${status.replaceAll("\n", "\n# ")}`);
    assert.match(status, /plays streams/);
    // Whoever played plays on.
    await player.phase("playing");

    const all = (await operator.request<{ receipts: Receipt[] }>("GET", "/v1/receipts")).body.receipts;
    const found = all.find(({ kind, issuer }) => kind === "porw/v1" && issuer === id);
    assert.ok(found, "the log has what it found");
    const shown = await operator.request<{ envelope: string }>("GET", `/v1/receipts/${found.index}`);
    const { payload } = JSON.parse(shown.body.envelope) as { payload: string };
    const { body } = (JSON.parse(Buffer.from(payload, "base64").toString()) as Statement).predicate;
    console.log(`# ${JSON.stringify(body)}`);
    assert.equal(body.app, "calibrate");
    assert.ok(body.quality.frames > 0, "pictures were decoded");
    // A machine of the test's that is too slow itself says so, and blames no node.
    assert.ok(body.finding === "pass" || body.finding === "inconclusive", body.reason);

    const file = (name: string): string => join(data, name);
    const nearlight = (...args: string[]): Promise<{ stdout: string }> => promisify(execFile)(join(BINARIES, "nearlight"), args, { timeout: 60_000 });
    writeFileSync(file("receipt.json"), JSON.stringify(shown.body));
    writeFileSync(file("directory.json"), JSON.stringify((await operator.request("GET", "/v1/directory")).body));
    const verified = await nearlight("receipt", "verify", file("receipt.json"), "--directory", file("directory.json"));
    assert.match(verified.stdout, /^VALID/);

    // An audit finds things to look at in so young a log, and nothing that was told otherwise than follows.
    const assignments = file("assignments.jsonl");
    const asked = ["receipt", "audit", "--node", found.about, "--url", rig.stack.base, "--remember", file("logs"), "--save-assignments", assignments];
    const audit = await nearlight(...asked).catch((error: { stdout: string }) => error);
    console.log(`# ${audit.stdout.replaceAll("\n", "\n# ")}`);
    assert.match(audit.stdout, /were worked out and compared/);
    assert.doesNotMatch(audit.stdout, /wrong-assignment|left-out/);
    const row = await rowOf(found.leaf);
    assert.deepEqual([row.duty, row.state, row.checker], ["stream", "done", id]);

    await player.end(session.id);
  },
  420_000,
);

/** The assignment that a receipt settled, as a stranger sees it. */
async function rowOf(leaf: string): Promise<Row> {
  for (let round = 1; ; round++) {
    const told = await rig.stack.operator.request<{ assignments?: Row[] }>("GET", `/v1/assignments?round=${round}`);
    assert.equal(told.status, 200, `no round up to ${round} has that receipt`);
    const found = told.body.assignments?.find((row) => row.leaf === leaf);
    if (found) return found;
  }
}
