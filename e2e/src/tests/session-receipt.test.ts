/** A session that a real Chromium played has a receipt: both sides measured, agree within the tolerance, and anyone verifies it offline. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Signer } from "../harness/receipts.js";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS, BINARIES } from "../harness/stack.js";
import { until, window } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "session-receipt", runtime: "sandbox", roots: ["calibrate"] });

/** Long enough for rates, short enough for a test. */
const PLAYED_MS = 12_000;

type Place = { readonly index: number; readonly leaf: string; readonly agreement: string };
type Quality = { readonly seconds: number; readonly frames: number; readonly size: readonly number[]; readonly rtt_us: readonly number[]; readonly encoder: string };
type Played = {
  readonly agreement: string;
  readonly differs: readonly string[];
  readonly edge: Quality;
  readonly player: readonly { readonly quality: Quality; readonly key: string; readonly signature: string }[];
};

function bodyOf(envelope: string): Played {
  const { payload } = JSON.parse(envelope) as { payload: string };
  const statement = JSON.parse(Buffer.from(payload, "base64").toString()) as { predicateType: string; predicate: { body: Played } };
  assert.equal(statement.predicateType, "https://nearlight.dev/session/v1");
  return statement.predicate.body;
}

rig.test("a played session has a receipt that both sides signed, and the end screen leads to it", async () => {
  for (const operator of ["north", "east", "west"]) await new Signer().letIn(rig.stack, "checker", operator);
  const player = await rig.player();
  const { id } = await player.play({ app: "calibrate" });
  const none = await player.api<{ detail: string }>("GET", `/v1/sessions/${id}/receipt`);
  assert.equal(none.status, 404);
  assert.match(none.body.detail, /no receipt yet/);
  await player.page.keyboard.press("KeyA");
  await window(PLAYED_MS);
  await player.end(id);
  await player.phase("ended");
  const link = player.page.locator('[data-action="verify"]');
  await until("the end screen to lead to the receipt", async () => (await link.count()) === 1, { within_ms: 60_000 });
  // Three checkers make ranks count; none of them has passed this node.
  assert.match(await player.page.locator('[data-how="rank"]').innerText(), /^No check has passed the node yet/);
  const words = await player.page.locator('[data-how="words"]').innerText();
  assert.match(words, /^\d+ seconds at \d+ pictures a second, .*freezes?\.$/);
  await player.page.screenshot({ path: join(ARTEFACTS, "session-receipt-end.png") });

  const place = await player.api<Place>("GET", `/v1/sessions/${id}/receipt`);
  assert.equal(place.status, 200);
  assert.equal(await link.getAttribute("href"), `/receipts/${place.body.index}`);
  const receipt = await player.api<{ envelope: string }>("GET", `/v1/receipts/${place.body.index}`);
  const played = bodyOf(receipt.body.envelope);
  assert.deepEqual({ agreement: played.agreement, differs: played.differs }, { agreement: "agree", differs: [] }, JSON.stringify(played));
  assert.equal(played.player.length, 1);
  assert.match(played.player[0]?.key ?? "", /^[0-9a-f]{64}$/, "signed by the page");
  assert.ok((played.player[0]?.quality.seconds ?? 0) >= 8, JSON.stringify(played));
  assert.ok(!receipt.body.envelope.includes(id) && !JSON.stringify(played).includes(id), "the session's id stands nowhere in it");
  console.log(`# node ${JSON.stringify(played.edge)}\n# page ${JSON.stringify(played.player[0]?.quality)}`);

  const dir = mkdtempSync(join(tmpdir(), "nearlight-receipt-"));
  try {
    const directory = await player.api("GET", "/v1/directory");
    writeFileSync(join(dir, "receipt.json"), JSON.stringify(receipt.body));
    writeFileSync(join(dir, "directory.json"), JSON.stringify(directory.body));
    const asked = [join(dir, "receipt.json"), "--directory", join(dir, "directory.json")];
    const said = await promisify(execFile)(join(BINARIES, "nearlight"), ["receipt", "verify", ...asked], { timeout: 60_000 });
    assert.match(said.stdout, /VALID/);
    assert.match(said.stdout, /ok +countersignature +the node of /, "the node's key came into the directory by itself");
  } finally {
    rmSync(dir, { recursive: true });
  }
});
