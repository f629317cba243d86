/** The pages of receipts in a real Chromium: a stranger looks a node up, and the browser itself verifies. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { append, Signer } from "../harness/receipts.js";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS, BINARIES } from "../harness/stack.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "receipts", runtime: "sandbox" });
const HOUR_S = 3600;

/** A node with some history, measured by a checker. */
async function measured(): Promise<{ node: Signer; checker: Signer; places: { index: number; leaf: string }[] }> {
  const [node, checker] = [new Signer(), new Signer()];
  await checker.letIn(rig.stack, "checker", "north");
  await node.letIn(rig.stack, "node", "south");
  const now = Math.floor(Date.now() / 1000);
  const about = { name: "node:nod_e2e", sha256: node.id };
  const places = [];
  for (const [n, permille] of [940, 910, 1020, 430, 980].entries()) {
    places.push(await append(rig.stack, checker.capacity(about, now - (6 - n) * HOUR_S, 100 + n, permille)));
  }
  return { node, checker, places };
}

/** A page of somebody whom the broker does not know. */
async function stranger(path: string, size = { width: 1280, height: 900 }): Promise<Page> {
  const context = await (await rig.browser()).newContext({ viewport: size, baseURL: rig.stack.base });
  const page = await context.newPage();
  const failures: string[] = [];
  page.on("pageerror", (error) => failures.push(error.message));
  await page.goto(path);
  await page.waitForSelector('html[data-phase="receipts"]');
  assert.deepEqual(failures, []);
  return page;
}

async function outcome(page: Page): Promise<string> {
  const found = await page.waitForSelector("[data-outcome]", { timeout: 30_000 });
  return (await found.getAttribute("data-outcome")) ?? "";
}

const check = async (page: Page, name: string): Promise<string | null> => page.locator(`[data-check="${name}"]`).getAttribute("data-passed");

async function shot(page: Page, name: string): Promise<void> {
  mkdirSync(ARTEFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTEFACTS, `receipts-${name}.png`), fullPage: true });
}

/** How much wider than its window the page is. */
const overflow = (page: Page): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

rig.test("a stranger looks a node up, and the browser verifies a receipt of it", async () => {
  const { node, places } = await measured();
  const page = await stranger("/receipts");
  await page.locator("[data-field=node]").fill(node.id.slice(0, 20));
  await page.waitForSelector(`a.receipt-row[href="/nodes/${node.id}/receipts"]`);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/nodes/${node.id}/receipts`);
  await page.waitForSelector('[data-points="5"]', { timeout: 30_000 });
  assert.equal(await page.locator('circle[data-finding="fail"]').count(), 1);
  assert.equal(await page.locator('circle[data-valid="false"]').count(), 0);
  await shot(page, "node");
  await page.locator(`a.receipt-row[href="/receipts/${places[4]?.index}"]`).click();
  assert.equal(await outcome(page), "VALID");
  for (const name of ["form", "issuer-key", "issuer-signature", "checkpoint", "inclusion", "witnesses", "time", "standing"]) {
    assert.equal(await check(page, name), "true", name);
  }
  assert.match(await page.locator(".cautions").innerText(), /policy came from the log's operator/);
  assert.equal(await page.locator(".believed").getAttribute("data-policy"), "server");
  assert.match(await page.locator(".limits").innerText(), /no machine nearby/);
  await shot(page, "valid");
  await page.context().close();
});

rig.test("a flipped byte in a receipt that one pastes is found, and which check found it is shown", async () => {
  const { places } = await measured();
  const index = places[0]?.index ?? 0;
  const dir = mkdtempSync(join(tmpdir(), "nearlight-receipt-"));
  try {
    const file = join(dir, "receipt.json");
    const nearlight = (...args: string[]): string =>
      execFileSync(join(BINARIES, "nearlight"), ["receipt", ...args, "--url", rig.stack.base], { encoding: "utf8", timeout: 60_000 });
    nearlight("get", String(index), file);
    const page = await stranger("/receipts");
    await page.locator("[data-field=receipt-file]").setInputFiles(file);
    await page.locator("[data-action=check-receipt]").click();
    assert.equal(await outcome(page), "VALID");
    const shown = JSON.parse(readFileSync(file, "utf8")) as { envelope: string };
    const signature = shown.envelope.indexOf('"sig":"') + 10;
    const other = shown.envelope[signature] === "A" ? "B" : "A";
    const flipped = { ...shown, envelope: shown.envelope.slice(0, signature) + other + shown.envelope.slice(signature + 1) };
    await page.locator("[data-field=receipt]").fill(JSON.stringify(flipped));
    await page.locator("[data-action=check-receipt]").click();
    await page.waitForSelector('[data-outcome="FORGED"]');
    assert.equal(await check(page, "issuer-signature"), "false");
    await shot(page, "forged");
    await page.locator("[data-field=receipt]").fill("not a receipt");
    await page.locator("[data-action=check-receipt]").click();
    assert.match(await page.locator('[data-opening="failed"]').innerText(), /\.tlog-proof/);
    await page.context().close();

    // The same without a browser, by the same crate.
    nearlight("directory", join(dir, "directory.json"));
    const said = nearlight("verify", file, "--directory", join(dir, "directory.json"));
    assert.match(said, /^VALID/);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

rig.test("a receipt that is contested is shown so, and a policy of one's own is taken", async () => {
  const { node, places } = await measured();
  const place = places[3] ?? { index: 0, leaf: "" };
  const now = Math.floor(Date.now() / 1000);
  const claim = { claim: "the clock of the checker was wrong", deadline_s: now + 86_400 };
  await append(rig.stack, node.envelope("dispute/v1", { name: "receipt", sha256: place.leaf }, now, claim));
  const page = await stranger(`/receipts/${place.index}`);
  assert.equal(await outcome(page), "DISPUTED");
  const { log_key } = (await (await fetch(`${rig.stack.base}/v1/directory`)).json()) as { log_key: string };
  await page.locator(".believed summary").click();
  await page.locator("[data-field=policy]").fill(`log ${log_key}\nquorum none`);
  await page.locator("[data-action=take-policy]").click();
  await until("the policy to be the visitor's own", async () => (await page.locator(".believed").getAttribute("data-policy")) === "own");
  await until("the warning of the operator's policy to go", async () => {
    const cautions = await page.locator(".cautions li").allInnerTexts();
    return cautions.length > 0 && !cautions.some((words) => words.includes("policy came from"));
  });
  assert.match(await page.locator('[data-check="checkpoint"]').innerText(), /your own policy, from what you pasted/);
  // Another log's policy: the receipt is in no log that the visitor believes.
  await page.locator("[data-field=policy]").fill("log other.example+e8a6ea8d+ARf7A8mXG4VCUOPvrbvTHGVWSHJdoWMZJ8MpPjnYPkyq\nquorum none");
  await page.locator("[data-action=take-policy]").click();
  await page.waitForSelector('[data-outcome], [data-opening="failed"]');
  await until("it not to count any more", async () => (await page.locator('[data-outcome="DISPUTED"]').count()) === 0);
  await page.context().close();
});

rig.test("a stranger audits the log, and what is remembered of it has to go on", async () => {
  const { node } = await measured();
  const dir = mkdtempSync(join(tmpdir(), "nearlight-audit-"));
  const audit = (): { verdict: string; log: { size: number; remembered: number | null }; receipts: unknown[] } => {
    const args = ["receipt", "audit", "--node", node.id, "--remember", dir, "--json", "--url", rig.stack.base];
    return JSON.parse(execFileSync(join(BINARIES, "nearlight"), args, { encoding: "utf8", timeout: 60_000, cwd: dir })) as ReturnType<typeof audit>;
  };
  try {
    const first = audit();
    assert.equal(first.verdict, "CLEAN");
    assert.equal(first.receipts.length, 5);
    assert.equal(first.log.remembered, null);
    await measured();
    const second = audit();
    assert.equal(second.verdict, "CLEAN");
    assert.equal(second.log.remembered, first.log.size);
    assert.ok(second.log.size > first.log.size);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

rig.test("the pages work on a telephone, and by keyboard", async () => {
  const { node, places } = await measured();
  const narrow = { width: 360, height: 740 };
  for (const [name, path, ready] of [
    ["index", "/receipts", "[data-receipts]"],
    ["node", `/nodes/${node.id}/receipts`, '[data-points="5"]'],
    ["receipt", `/receipts/${places[0]?.index}`, "[data-outcome]"],
  ] as const) {
    const page = await stranger(path, narrow);
    await page.waitForSelector(ready, { timeout: 30_000 });
    assert.equal(await overflow(page), 0, `${path} is wider than a telephone`);
    await shot(page, `narrow-${name}`);
    await page.context().close();
  }
  const page = await stranger(`/nodes/${node.id}/receipts`);
  await page.waitForSelector('[data-points="5"]', { timeout: 30_000 });
  await page.locator("svg.plot a").first().focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/receipts/${places[0]?.index}`);
  assert.equal(await outcome(page), "VALID");
  await page.context().close();
});
