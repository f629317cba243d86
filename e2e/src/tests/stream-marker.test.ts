/**
 * The marker that every session carries: a probe finds it in the pictures of an app that counts no presses, through the
 * encoder, the network and a real decoder, and what it signs says so.
 */

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { Signer } from "../harness/receipts.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";

const rig = Rig.forThisFile({ name: "stream-marker", runtime: "sandbox", roots: ["calibrate"] });
const data = mkdtempSync(join(tmpdir(), "nearlight-marker-"));

after(() => rmSync(data, { recursive: true, force: true }));

interface Found {
  readonly app: string;
  readonly markers: readonly [number, number];
  readonly signs?: readonly [number, number, number];
  readonly finding: string;
  readonly reason: string;
}

/** Plays an app as a checker does; what it says of it, and what it signed. */
async function probe(app: string): Promise<{ said: string; found: Found }> {
  const receipt = join(data, `${app}.json`);
  const args = ["--data", data, "play", "--broker", rig.stack.base, "--app", app, "--seconds", "15", "--bind", "127.0.0.1", "--out", receipt];
  // A machine that is too slow itself says so by its exit code, and signs what it found.
  const done = await promisify(execFile)(join(BINARIES, "checker"), args, { timeout: 150_000 }).catch((error: { stdout: string }) => error);
  const { payload } = JSON.parse(readFileSync(receipt, "utf8")) as { payload: string };
  const statement = JSON.parse(Buffer.from(payload, "base64").toString()) as { predicate: { body: Found } };
  return { said: done.stdout, found: statement.predicate.body };
}

rig.test("pictures of an app that counts no presses carry their session's marker, and a probe finds it", async () => {
  execFileSync(join(BINARIES, "checker"), ["--data", data, "init"]);
  const key = /public ([0-9a-f]{64})/.exec(execFileSync(join(BINARIES, "checker"), ["--data", data, "key"]).toString())?.[1] ?? "";
  await Signer.letInKey(rig.stack, key, "checker", "somebody");
  const { said, found } = await probe("bench-paced");
  console.log(`# ${said.replaceAll("\n", "\n# ")}`);
  const [agree, against, looked] = found.signs ?? [0, 0, 0];
  assert.deepEqual(found.markers, [0, 0], "its pictures count no presses");
  assert.equal(found.app, "bench-paced");
  assert.ok(looked >= 256, `${looked} signs were looked for`);
  // A slow machine leaves slots without pictures and has some late; what is there is this session's.
  assert.ok(agree >= 200 && agree >= 4 * against, `${agree} of ${looked} signs agree, ${against} do not`);
  assert.ok(found.finding === "pass" || found.finding === "inconclusive", found.reason);
  assert.match(said, new RegExp(`${agree} of ${looked} signs of the session's marker agree`));
});
