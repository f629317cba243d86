/**
 * `nearlight up --checkers 3` with the real programs: a node of class software comes in, is challenged, gets receipts, and its rank
 * changes. A stranger verifies one of them without a network, and Chromium does so in the explorer's page.
 */

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS, BINARIES } from "../harness/stack.js";
import { Hopeless, until } from "../harness/until.js";

const CHECKERS = [1, 2, 3] as const;
/** For rounds to begin, and for three probes at the lowest priority on a busy machine. */
const CHECKED_WITHIN_MS = 600_000;
const COMMAND_WITHIN_MS = 120_000;
/** The exit status of `nearlight receipt verify`. */
const NOT_WITNESSED = 6;

const rig = Rig.forThisFile({ name: "up-checkers", runtime: "sandbox", checkers: CHECKERS.length, config: ["[session-broker.checks]", "round_s = 10"] });
const dir = mkdtempSync(join(tmpdir(), "nearlight-up-checkers-"));

after(() => {
  rmSync(dir, { recursive: true, force: true });
});

interface Standing {
  readonly gate: string;
  readonly rank_permille: number;
  readonly receipt_key_id: string;
  readonly verdicts: readonly { readonly state: string; readonly finding: string; readonly receipts: readonly number[] }[];
}

/** What a program says, whatever it ends with; its exit status. */
async function said(program: string, ...args: string[]): Promise<{ out: string; status: number }> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: COMMAND_WITHIN_MS, cwd: dir });
    return { out: stdout, status: 0 };
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
    return { out: `${stdout}${stderr}`, status: code };
  }
}

const nearlight = join(BINARIES, "nearlight");
const asked = (...args: string[]): ReturnType<typeof said> => said(nearlight, ...args, "--url", rig.stack.base);
const checkerData = (n: number): string => join(rig.stack.data, "checkers", String(n));

/** The policy of somebody who believes two of the three, by the lines that their operators say. */
function policyOf(logKey: string): string {
  const line = (n: number): string => execFileSync(join(BINARIES, "checker"), ["witness", "--key", "--data", checkerData(n)], { encoding: "utf8" }).trim();
  const witnesses = CHECKERS.map((n) => `witness w${n} ${line(n)}`);
  return [`log ${logKey}`, ...witnesses, "group two-of-three 2 w1 w2 w3", "quorum two-of-three", ""].join("\n");
}

/** What is verified of a receipt without a way out, not even to this machine; nothing while too few witnesses have seen it. */
async function verified(index: number, pinned: readonly string[]): Promise<string | undefined> {
  if ((await asked("receipt", "get", String(index), "receipt.json")).status !== 0) return undefined;
  assert.equal((await asked("receipt", "directory", "directory.json")).status, 0);
  const { out, status } = await said("unshare", "-rn", nearlight, "receipt", "verify", "receipt.json", "--directory", "directory.json", ...pinned);
  if (status === NOT_WITNESSED) return undefined;
  if (status !== 0) throw new Hopeless(out);
  return out;
}

rig.test(
  "a node of `nearlight up` with three checkers is proved, and a stranger verifies its receipts offline and in a browser",
  async () => {
    const { operator } = rig.stack;
    const [node] = await operator.nodes();
    assert.ok(node);
    const standing = async (): Promise<Standing> => (await operator.request<Standing>("GET", `/v1/nodes/${node.id}/standing`)).body;
    const before = await standing();
    assert.notEqual(before.gate, "proven");
    const proven = await until("the node to be proven", async () => (await standing()).gate === "proven" && standing(), {
      within_ms: CHECKED_WITHIN_MS,
      every_ms: 500,
      instead: standing,
    });
    assert.ok(proven.rank_permille > before.rank_permille, `${before.rank_permille} -> ${proven.rank_permille}`);
    const passed = proven.verdicts.find(({ state }) => state === "passed");
    assert.equal(passed?.receipts.length, CHECKERS.length, JSON.stringify(proven.verdicts));
    const shown = await said(nearlight, "node", "status", node.id, "--url", rig.stack.base, "--token", rig.stack.key);
    assert.match(shown.out, /rank [1-9]\d* of 1000, proven/);
    console.log(`# ${shown.out.trim().replaceAll("\n", "\n# ")}`);

    // The policy is a stranger's own, and the directory's key that of the day when the first checker came in.
    const { log_key } = (await operator.request<{ log_key: string }>("GET", "/v1/directory")).body;
    const { directory_key } = JSON.parse(readFileSync(join(checkerData(1), "network.json"), "utf8")) as { directory_key: string };
    const policy = policyOf(log_key);
    writeFileSync(join(dir, "policy"), policy);
    const pinned = ["--authority", directory_key, "--policy", "policy"];
    for (const index of passed?.receipts ?? []) {
      const offline = await until("two witnesses to have seen the receipt", () => verified(index, pinned));
      assert.match(offline, /^VALID/);
      for (const check of ["witnesses", "countersignature", "inclusion"]) assert.match(offline, new RegExp(`ok +${check}`));
    }

    const audit = await asked("receipt", "audit", "--node", proven.receipt_key_id, "--remember", "logs", "--policy", "policy", "--json");
    const found = JSON.parse(audit.out) as { verdict: string };
    assert.equal(found.verdict, "CLEAN", audit.out);

    await inBrowser(passed?.receipts[0] ?? 0, policy);
  },
  CHECKED_WITHIN_MS + 300_000,
);

/** The explorer's page: what the server says of itself first, then the stranger's own policy. */
async function inBrowser(index: number, policy: string): Promise<void> {
  const context = await (await rig.browser()).newContext({ viewport: { width: 1280, height: 900 }, baseURL: rig.stack.base });
  const page = await context.newPage();
  await page.goto(`/receipts/${index}`);
  const cosigned = async (): Promise<number> => {
    await page.waitForSelector('[data-outcome="VALID"]', { timeout: 30_000 });
    const check = page.locator('[data-check="witnesses"][data-passed="true"]');
    return check.locator(".key code").count();
  };
  await until("the page to name two witnesses", async () => (await cosigned()) >= 2);
  await page.locator(".believed summary").click();
  await page.locator("[data-field=policy]").fill(policy);
  await page.locator("[data-action=take-policy]").click();
  await page.waitForSelector('.believed[data-policy="own"]');
  await until("the page to name two witnesses of the stranger's policy", async () => {
    const pinned = await page.locator('[data-check="witnesses"]').innerText();
    return (await cosigned()) >= 2 && pinned.includes("your own policy");
  });
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTEFACTS, "up-checkers-valid.png"), fullPage: true });
  await context.close();
}
