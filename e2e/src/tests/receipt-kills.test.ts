/**
 * The broker is killed while receipts are appended, again and again, and a checker of the network cosigns its log throughout:
 * no receipt that was acknowledged is lost or moved, and nothing that was signed is ever contradicted.
 */

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { signal } from "../harness/processes.js";
import { Signer } from "../harness/receipts.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";
import { until, window } from "../harness/until.js";

const KILLS = 5;
/** Who append at the same time, so that there are always some under way. */
const APPENDING = 6;
/** Receipts that are acknowledged between two kills, at least. */
const BETWEEN = 60;
const COMMAND_WITHIN_MS = 120_000;
const NOT_WITNESSED = 6;

const rig = Rig.forThisFile({ name: "receipt-kills", runtime: "sandbox", checkers: 1 });
const dir = mkdtempSync(join(tmpdir(), "nearlight-receipt-kills-"));
after(() => rmSync(dir, { recursive: true, force: true }));

interface Placed {
  readonly index: number;
  readonly leaf: string;
}

/** Hands receipts about one node in, each until it is acknowledged, from several sides at once. */
class Appending {
  readonly acknowledged: Placed[] = [];
  /** Requests that ended without an answer: what came of them only the log knows. */
  unanswered = 0;
  private round = 0;
  private over = false;

  constructor(
    private readonly checker: Signer,
    private readonly node: Signer,
  ) {}

  async from(sides: number): Promise<void> {
    await Promise.all(Array.from({ length: sides }, () => this.side()));
  }

  end(): void {
    this.over = true;
  }

  private async side(): Promise<void> {
    const headers = { "content-type": "application/vnd.dsse.envelope.v1+json" };
    while (!this.over) {
      const round = ++this.round;
      const about = { name: "node:nod_e2e", sha256: this.node.id };
      const body = this.checker.capacity(about, Math.floor(Date.now() / 1000), round, 900);
      const placed = await until(`receipt ${round} to be acknowledged`, async () => {
        const answer = await rig.stack.operator.request<Placed>("POST", "/v1/receipts", { body, headers }).catch((error: unknown) => {
          this.unanswered += 1;
          throw error;
        });
        return (answer.status === 200 || answer.status === 201) && answer.body;
      }, { within_ms: 120_000 });
      this.acknowledged.push(placed);
    }
  }
}

const witness = (): string => join(rig.stack.data, "checkers/1");

/** Entries of the head that the witness cosigned last. */
function cosigned(): number {
  const { logs } = JSON.parse(readFileSync(join(witness(), "witness.json"), "utf8")) as { logs: Record<string, { head: string }> };
  const heads = Object.values(logs).map(({ head }) => Number(head.split("\n")[1]));
  assert.ok(heads.length <= 1, "one log");
  return heads[0] ?? 0;
}

async function said(...args: string[]): Promise<{ out: string; status: number }> {
  try {
    const { stdout } = await promisify(execFile)(join(BINARIES, "nearlight"), args, { timeout: COMMAND_WITHIN_MS, cwd: dir, maxBuffer: 64 << 20 });
    return { out: stdout, status: 0 };
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
    return { out: `${stdout}${stderr}`, status: code };
  }
}

/** What is verified of a receipt once the witness has seen it. */
async function verifies(index: number): Promise<void> {
  const url = ["--url", rig.stack.base];
  const out = await until(`receipt ${index} to be witnessed`, async () => {
    if ((await said("receipt", "get", String(index), "receipt.json", ...url)).status !== 0) return undefined;
    assert.equal((await said("receipt", "directory", "directory.json", ...url)).status, 0);
    const verified = await said("receipt", "verify", "receipt.json", "--directory", "directory.json", "--policy", "policy");
    return verified.status !== NOT_WITNESSED && verified.out;
  });
  assert.match(out, /^VALID/);
  for (const check of ["witnesses", "inclusion"]) assert.match(out, new RegExp(`ok +${check}`));
}

rig.test(
  "kill -9 of the broker amid appends, while a checker cosigns: what was acknowledged is in the log, and nothing is contradicted",
  async () => {
    const { operator } = rig.stack;
    const [checker, node] = [new Signer(), new Signer()];
    await checker.letIn(rig.stack, "checker", "north");
    await node.letIn(rig.stack, "node", "south");
    await until("the witness to have cosigned a head", () => cosigned() > 0, { within_ms: 120_000 });
    const { log_key } = (await operator.request<{ log_key: string }>("GET", "/v1/directory")).body;
    const line = execFileSync(join(BINARIES, "checker"), ["witness", "--key", "--data", witness()], { encoding: "utf8" }).trim();
    writeFileSync(join(dir, "policy"), `log ${log_key}\nwitness w1 ${line}\nquorum w1\n`);

    const appending = new Appending(checker, node);
    const done = appending.from(APPENDING);
    const atKill: Placed[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      const [acknowledged, seen] = [appending.acknowledged.length, cosigned()];
      // Nothing that is lost hides: the witness has seen heads since the last kill.
      await until("receipts to be acknowledged, and the witness to see more", () => appending.acknowledged.length >= acknowledged + BETWEEN && cosigned() > seen, {
        within_ms: 120_000,
        instead: () => ({ acknowledged: appending.acknowledged.length, cosigned: cosigned() }),
      });
      // Anywhere between two heads.
      await window(Math.random() * 1000);
      const { pid } = rig.stack.role("session-broker");
      const last = appending.acknowledged.at(-1);
      signal(pid, "SIGKILL");
      if (last) atKill.push(last);
      await until("another broker", () => rig.stack.role("session-broker").pid !== pid, { within_ms: 60_000 });
    }
    const { length } = appending.acknowledged;
    await until("receipts to be acknowledged again", () => appending.acknowledged.length >= length + BETWEEN, { within_ms: 120_000 });
    appending.end();
    await done;
    const { acknowledged, unanswered } = appending;
    console.log(`# ${acknowledged.length} receipts acknowledged, ${unanswered} requests without an answer, ${KILLS} kills`);
    assert.ok(unanswered > 0, "the broker was killed amid requests");

    const newest = Math.max(...acknowledged.map(({ index }) => index));
    await until("the witness to have cosigned all of it", () => cosigned() > newest, { within_ms: 120_000, instead: cosigned });
    for (const { index } of atKill) await verifies(index);
    const audit = await said("receipt", "audit", "--node", node.id, "--policy", "policy", "--no-assignments", "--remember", "logs", "--json", "--url", rig.stack.base);
    type Audited = { verdict: string; findings: { oddity: string; words: string }[]; receipts: (Placed & { outcome: string })[] };
    const found = JSON.parse(audit.out) as Audited;
    // Nobody was assigned these checks, which is all that there is to say of them.
    assert.deepEqual(found.findings.filter(({ oddity }) => oddity !== "unassigned"), [], found.verdict);
    assert.deepEqual(found.receipts.filter(({ outcome }) => outcome !== "VALID"), []);
    const leaves = new Map(found.receipts.map(({ index, leaf }) => [index, leaf]));
    const lost = acknowledged.filter(({ index, leaf }) => leaves.get(index) !== leaf);
    assert.deepEqual(lost, [], "acknowledged, and elsewhere or nowhere in the log");
    assert.equal(found.receipts.length, acknowledged.length, "what was handed in again has one place");

    // The witness noticed that the broker was away, and found nothing to refuse.
    const log = readFileSync(rig.stack.log, "utf8");
    assert.match(log, /nothing was cosigned; asking again/);
    assert.doesNotMatch(log, /THE LOG CONTRADICTS ITSELF|the head is not cosigned|nothing is signed/);
    assert.ok(!existsSync(join(witness(), "witness-evidence")), "no contradiction is kept");
  },
  600_000,
);
