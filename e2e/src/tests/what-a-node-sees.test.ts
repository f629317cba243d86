/**
 * What a node can see of a probe of a stream and of real Chromium that plays the same app: offer, candidates, ICE checks,
 * DTLS, SRTCP, kinds of input. The differences are those that docs/proof.md lists, and no others.
 */

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { Player } from "../harness/player.js";
import { Signer } from "../harness/receipts.js";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS, BINARIES, ROOT, type EdgeSession } from "../harness/stack.js";
import { HttpTap, type Asked } from "../harness/tap.js";
import { until, window } from "../harness/until.js";
import { facetsOf, gapsMs, withoutChance, type Facets } from "../harness/wire.js";

const SECONDS = 15;
const rig = Rig.forThisFile({ name: "what-a-node-sees", runtime: "sandbox", roots: ["calibrate"], tapped: true });
const data = mkdtempSync(join(tmpdir(), "nearlight-checker-"));

after(() => rmSync(data, { recursive: true, force: true }));

/** What both are compared in. */
interface Seen {
  readonly facets: Facets;
  /** Told, and not compared: they are of one machine, and of chance. */
  readonly times: unknown;
}

/** What HTTP brings of a player to the node: offer and candidates; the rest ends at the broker. */
async function said(tap: HttpTap): Promise<Facets> {
  const offer = await tap.first("POST", /\/whep$/);
  const patches = tap.asked.filter(({ method }) => method === "PATCH");
  const lines = patches.flatMap(({ body }) => withoutChance(body).split("\r\n"));
  return { offer: withoutChance(offer.body), candidates: [...new Set(lines.filter((line) => line !== ""))].sort().join("\n") };
}

function times(tap: HttpTap, datagrams: Parameters<typeof gapsMs>[0], session: EdgeSession): unknown {
  const at = (method: string, path: RegExp): number => tap.asked.find((one: Asked) => one.method === method && path.test(one.path))?.atMs ?? NaN;
  const created = at("POST", /\/v1\/sessions$/);
  const offered = at("POST", /\/whep$/);
  return {
    create_to_offer_ms: Math.round(offered - created),
    offer_to_candidates_ms: Math.round(at("PATCH", /\/whep\//) - offered),
    requests_to_the_node: tap.asked.filter(({ path }) => path.includes("/whep")).map(({ method }) => method).join(" "),
    gaps_ms: gapsMs(datagrams),
    input_packets: session.transport?.input_packets,
    injected: session.worker?.injected,
  };
}

/** Kinds of input that a node injected. */
const kinds = (session: EdgeSession): string =>
  Object.entries(session.worker?.injected ?? {})
    .filter(([, count]) => count > 0)
    .map(([name]) => name)
    .sort()
    .join(" ");

const sleepUntil = (atMs: number): Promise<void> => new Promise((done) => setTimeout(done, Math.max(0, atMs - performance.now())));

/** Plays the recording with a real browser's mouse and keyboard. */
async function playByHand(player: Player): Promise<void> {
  const keys = new Map([[17, "KeyW"], [30, "KeyA"], [31, "KeyS"], [32, "KeyD"], [57, "Space"]]);
  const recording = readFileSync(join(ROOT, "player/recorded/hand-1.txt"), "utf8").split("\n").slice(1);
  const { mouse, keyboard } = player.page;
  const begun = performance.now();
  for (const line of recording) {
    const [at = "", kind = "", a = "", b = ""] = line.split(" ");
    if (kind === "" || Number(at) > SECONDS * 1000) break;
    // What cannot be kept up with is left out, as a slow mouse would.
    if (kind === "move" && performance.now() > begun + Number(at) + 30) continue;
    await sleepUntil(begun + Number(at));
    if (kind === "move") await mouse.move((Number(a) / 65_535) * 1279, (Number(b) / 65_535) * 719);
    else if (kind === "wheel") await mouse.wheel(Number(a), Number(b));
    else if (kind === "button") await (b === "1" ? mouse.down() : mouse.up());
    else await (b === "1" ? keyboard.down(keys.get(Number(a)) ?? "KeyA") : keyboard.up(keys.get(Number(a)) ?? "KeyA"));
  }
}

async function chromium(): Promise<Seen> {
  const tap = await HttpTap.open(rig.stack.base);
  try {
    rig.stack.tap.take();
    const player = await rig.player(tap.base);
    const { id } = await player.play({ app: "calibrate" });
    await playByHand(player);
    const session = await rig.stack.edgeSession(id);
    const datagrams = rig.stack.tap.take();
    await player.end(id);
    return { facets: { ...(await said(tap)), ...facetsOf(datagrams), "input-kinds": kinds(session) }, times: times(tap, datagrams, session) };
  } finally {
    tap.close();
  }
}

async function probe(): Promise<Seen & { out: string; receipt: string }> {
  const tap = await HttpTap.open(rig.stack.base);
  try {
    rig.stack.tap.take();
    const receipt = join(data, "receipt.json");
    const args = ["--data", data, "play", "--broker", tap.base, "--app", "calibrate", "--seconds", String(SECONDS), "--bind", "127.0.0.1", "--out", receipt];
    const playing = promisify(execFile)(join(BINARIES, "checker"), args, { timeout: 150_000 });
    let session: EdgeSession | undefined;
    const look = async (): Promise<void> => {
      for (const one of await rig.stack.edgeSessions()) session = one;
    };
    const over = { yes: false };
    const done = playing.finally(() => (over.yes = true));
    while (!over.yes) await Promise.race([done.catch(() => undefined), window(300).then(look)]);
    const { stdout } = await done;
    const datagrams = rig.stack.tap.take();
    if (!session) throw new Error("the node never had the probe's session");
    const facets = { ...(await said(tap)), ...facetsOf(datagrams), "input-kinds": kinds(session) };
    return { facets, times: times(tap, datagrams, session), out: stdout, receipt };
  } finally {
    tap.close();
  }
}

/** The names in the first column of the table of docs/proof.md that begins with this heading. */
function listed(): string[] {
  const text = readFileSync(join(ROOT, "docs/proof.md"), "utf8");
  const [, table = ""] = text.split("| what a node sees |");
  return [...(table.split("\n\n")[0] ?? "").matchAll(/^\| `([a-z-]+)`/gm)].map(([, name]) => name ?? "").sort();
}

rig.test("a probe differs from Chromium in what docs/proof.md lists, and in nothing else", async () => {
  execFileSync(join(BINARIES, "checker"), ["--data", data, "init"]);
  const key = /public ([0-9a-f]{64})/.exec(execFileSync(join(BINARIES, "checker"), ["--data", data, "key"]).toString())?.[1] ?? "";
  await Signer.letInKey(rig.stack, key, "checker", "somebody");
  const real = await chromium();
  const played = await probe();
  writeFileSync(join(ARTEFACTS, "what-a-node-sees.json"), JSON.stringify({ real, played }, null, 2));
  console.log(`# chromium ${JSON.stringify(real.times)}\n# probe ${JSON.stringify(played.times)}\n# ${played.out.replaceAll("\n", "\n# ")}`);
  const names = Object.keys(real.facets);
  assert.deepEqual(Object.keys(played.facets), names);
  const differ = names.filter((name) => real.facets[name] !== played.facets[name]).sort();
  for (const name of differ) console.log(`# ${name}\n#   chromium: ${real.facets[name]}\n#   probe:    ${played.facets[name]}`);
  assert.match(played.out, /^pass\n/);
  assert.match(played.out, /in the log/);
  await verifies(played.receipt);
  assert.deepEqual(differ, listed());
});

/** The receipt verifies offline, by a program that knows nothing of this broker but two files. */
async function verifies(file: string): Promise<void> {
  const { payload } = JSON.parse(readFileSync(file, "utf8")) as { payload: string };
  const statement = JSON.parse(Buffer.from(payload, "base64").toString()) as {
    predicateType: string;
    subject: { digest: { sha256: string } }[];
    predicate: { body: { session: string; markers: [number, number]; finding: string } };
  };
  assert.equal(statement.predicateType, "https://nearlight.dev/porw/v1");
  const { session, markers, finding } = statement.predicate.body;
  assert.equal(finding, "pass");
  assert.ok(markers[1] >= 5 && markers[0] * 10 >= markers[1] * 9, `pictures count ${markers[0]} of ${markers[1]} presses`);
  const { operator } = rig.stack;
  type Rows = { receipts: { index: number; kind: string; about: string }[] };
  const about = async (id: string): Promise<Rows["receipts"]> => (await operator.request<Rows>("GET", `/v1/receipts?about=${id}`)).body.receipts;
  // The node signed that it served this session: both receipts name one commitment.
  const [served] = await about(session);
  assert.equal(served?.kind, "session/v1");
  const node = statement.subject[0]?.digest.sha256 ?? "";
  const mine = (await about(node)).find(({ kind }) => kind === "porw/v1");
  assert.ok(mine, "the log has it under the node's key");
  const receipt = join(data, "shown.json");
  const shown = await until("the log to show it", async () => {
    const answer = await operator.request("GET", `/v1/receipts/${mine.index}`);
    return answer.status === 200 && answer.body;
  });
  writeFileSync(receipt, JSON.stringify(shown));
  writeFileSync(join(data, "directory.json"), JSON.stringify((await operator.request("GET", "/v1/directory")).body));
  const asked = ["receipt", "verify", receipt, "--directory", join(data, "directory.json")];
  const verified = await promisify(execFile)(join(BINARIES, "nearlight"), asked, { timeout: 60_000 });
  assert.match(verified.stdout, /VALID/);
}
