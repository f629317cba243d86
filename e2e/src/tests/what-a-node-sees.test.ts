/**
 * What a node can see of a probe of a stream and of real Chromium that plays the same app: offer, candidates, ICE checks,
 * DTLS, SRTCP, kinds of input, and both in time: gaps of feedback, moves, presses, rests. The differences are those that
 * docs/proof.md lists, and no others.
 */

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { AppLog } from "../harness/app-log.js";
import { actsOf, gapsOf, handOf, playByHand, quantile, type Act } from "../harness/hand.js";
import { Signer } from "../harness/receipts.js";
import { Rig } from "../harness/rig.js";
import { ARTEFACTS, BINARIES, ROOT, type EdgeSession } from "../harness/stack.js";
import { HttpTap, type Asked, type Datagram } from "../harness/tap.js";
import { until, window } from "../harness/until.js";
import { facetsOf, rtcpTimesMs, withoutChance, type Facets } from "../harness/wire.js";

const SECONDS = 15;
/** Of each kind. Chance is in what is compared in time, and more plays have less of it. */
const PLAYS = 3;
const PLAYED_WITHIN_MS = 600_000;

/** The app says what it is told, as any app can. */
function apps(): Record<string, string> {
  const shipped = readFileSync(join(ROOT, "configs/apps/calibrate.toml"), "utf8");
  return { "calibrate.toml": shipped.replace('display = "wayland"', 'display = "wayland"\nenv = { WAYLAND_DEBUG = "client" }') };
}

const rig = Rig.forThisFile({ name: "what-a-node-sees", runtime: "sandbox", roots: ["calibrate"], tapped: true, apps });
const data = mkdtempSync(join(tmpdir(), "nearlight-checker-"));

after(() => rmSync(data, { recursive: true, force: true }));

/** What a node saw of one play. */
interface Seen {
  readonly facets: Facets;
  readonly datagrams: readonly Datagram[];
  readonly asked: readonly Asked[];
  readonly acts: readonly Act[];
}

/** What HTTP brings of a player to the node: offer and candidates; the rest ends at the broker. */
async function said(tap: HttpTap): Promise<Facets> {
  const offer = await tap.first("POST", /\/whep$/);
  const patches = tap.asked.filter(({ method }) => method === "PATCH");
  const lines = patches.flatMap(({ body }) => withoutChance(body).split("\r\n"));
  return { offer: withoutChance(offer.body), candidates: [...new Set(lines.filter((line) => line !== ""))].sort().join("\n") };
}

/** All that is compared in time, of all plays of a kind. */
function timesOf(plays: readonly Seen[]): Readonly<Record<string, number>> {
  const at = ({ asked }: Seen, method: string, path: RegExp): number => asked.find((one) => one.method === method && path.test(one.path))?.atMs ?? NaN;
  const after = (from: [string, RegExp], to: [string, RegExp]): number => quantile(plays.map((play) => at(play, ...to) - at(play, ...from)), 0.5);
  const offer: [string, RegExp] = ["POST", /\/whep$/];
  const rtcp = (wanted: "feedback" | "reports"): number[] => plays.flatMap(({ datagrams }) => gapsOf(rtcpTimesMs(datagrams, wanted)));
  return {
    "session-to-offer": after(["POST", /\/v1\/sessions$/], offer),
    "offer-to-candidates": after(offer, ["PATCH", /\/whep\//]),
    "feedback-gap-p50": quantile(rtcp("feedback"), 0.5),
    "feedback-gap-p90": quantile(rtcp("feedback"), 0.9),
    "report-gap-p50": quantile(rtcp("reports"), 0.5),
    "report-gap-p90": quantile(rtcp("reports"), 0.9),
    ...handOf(plays.map(({ acts }) => acts)),
  };
}

/** Kinds of input that a node injected. */
const kinds = (session: EdgeSession): string =>
  Object.entries(session.worker?.injected ?? {})
    .filter(([, count]) => count > 0)
    .map(([name]) => name)
    .sort()
    .join(" ");

async function seen(tap: HttpTap, session: EdgeSession, log: AppLog, datagrams: readonly Datagram[]): Promise<Seen> {
  const facets = { ...(await said(tap)), ...facetsOf(datagrams), "input-kinds": kinds(session) };
  return { facets, datagrams, asked: tap.asked, acts: actsOf(log.take()) };
}

/** Plays with a real browser, from another place of the recording each time. */
async function chromium(play: number): Promise<Seen> {
  const tap = await HttpTap.open(rig.stack.base);
  try {
    rig.stack.tap.take();
    const player = await rig.player(tap.base);
    const { id } = await player.play({ app: "calibrate" });
    const log = AppLog.of(id);
    assert.ok(log, "the sandbox keeps a log of the app");
    await playByHand(player, play * SECONDS * 1000, SECONDS * 1000);
    const session = await rig.stack.edgeSession(id);
    const datagrams = rig.stack.tap.take();
    await player.end(id);
    const played = await seen(tap, session, log, datagrams);
    await player.close();
    return played;
  } finally {
    tap.close();
  }
}

async function probe(play: number): Promise<Seen & { out: string; receipt: string }> {
  const tap = await HttpTap.open(rig.stack.base);
  try {
    rig.stack.tap.take();
    const receipt = join(data, `receipt-${play}.json`);
    const args = ["--data", data, "play", "--broker", tap.base, "--app", "calibrate", "--seconds", String(SECONDS), "--bind", "127.0.0.1", "--out", receipt];
    const playing = promisify(execFile)(join(BINARIES, "checker"), args, { timeout: 150_000 });
    let session: EdgeSession | undefined;
    let log: AppLog | undefined;
    const look = async (): Promise<void> => {
      for (const one of await rig.stack.edgeSessions()) [session, log] = [one, log ?? AppLog.of(one.session)];
    };
    const over = { yes: false };
    const done = playing.finally(() => (over.yes = true));
    while (!over.yes) await Promise.race([done.catch(() => undefined), window(300).then(look)]);
    const { stdout } = await done;
    const datagrams = rig.stack.tap.take();
    if (!session || !log) throw new Error("the node never had the probe's session");
    return { ...(await seen(tap, session, log, datagrams)), out: stdout, receipt };
  } finally {
    tap.close();
  }
}

/** The rows of the table of docs/proof.md that begins with this heading: the name, and the cell after it. */
function rows(heading: string): [string, string][] {
  const text = readFileSync(join(ROOT, "docs/proof.md"), "utf8");
  const [, table = ""] = text.split(`| ${heading} |`);
  return [...(table.split("\n\n")[0] ?? "").matchAll(/^\| `([a-z0-9-]+)` \| ([^|]*) \|/gm)].map(([, name = "", cell = ""]) => [name, cell]);
}

/** Least and most of a cell: `0.5 to 2`, `under 0.2`, `over 5`. */
function band(cell: string): [number, number] {
  const [, within, least, most, under, over] = /^(([\d.]+) to ([\d.]+)|under ([\d.]+)|over ([\d.]+))$/.exec(cell) ?? [];
  assert.ok(within, `docs/proof.md has a band that says nothing: ${cell}`);
  if (under !== undefined) return [0, Number(under)];
  if (over !== undefined) return [Number(over), Infinity];
  assert.ok(Number(most) <= 4 * Number(least), `a band as wide as ${cell} says too little`);
  return [Number(least), Number(most)];
}

/** Of each facet, whether no play of the one kind is like any of the other. */
function differing(real: readonly Seen[], played: readonly Seen[]): string[] {
  const names = Object.keys(real[0]?.facets ?? {});
  for (const { facets } of [...real, ...played]) assert.deepEqual(Object.keys(facets), names);
  const of = (plays: readonly Seen[], name: string): string[] => plays.map(({ facets }) => facets[name] ?? "");
  const differ = names.filter((name) => !of(played, name).some((one) => of(real, name).includes(one)));
  for (const name of differ) console.log(`# ${name}\n#   chromium: ${of(real, name)[0]}\n#   probe:    ${of(played, name)[0]}`);
  return differ.sort();
}

/** Each figure in time of the probe by Chromium's lies in the band that docs/proof.md says, and the document has all of them. */
function heldInTime(real: readonly Seen[], played: readonly Seen[]): void {
  const [ofReal, ofPlayed] = [timesOf(real), timesOf(played)];
  const listed = rows("in time");
  const out: string[] = [];
  for (const [name, value] of Object.entries(ofReal)) {
    const ratio = (ofPlayed[name] ?? NaN) / value;
    console.log(`# ${name.padEnd(20)} chromium ${value.toFixed(2)} probe ${ofPlayed[name]?.toFixed(2)}: ${ratio.toFixed(2)}`);
    const cell = listed.find(([row]) => row === name)?.[1];
    const [least, most] = cell === undefined ? [NaN, NaN] : band(cell);
    if (!(ratio >= least && ratio <= most)) out.push(`${name} is ${ratio.toFixed(2)} times Chromium's, and docs/proof.md says ${cell ?? "nothing"}`);
  }
  assert.deepEqual(out, []);
  assert.deepEqual(listed.map(([name]) => name).sort(), Object.keys(ofReal).sort(), "a row of docs/proof.md that nothing is measured for");
}

rig.test("a probe differs from Chromium in what docs/proof.md lists, and in nothing else", async () => {
  execFileSync(join(BINARIES, "checker"), ["--data", data, "init"]);
  const key = /public ([0-9a-f]{64})/.exec(execFileSync(join(BINARIES, "checker"), ["--data", data, "key"]).toString())?.[1] ?? "";
  await Signer.letInKey(rig.stack, key, "checker", "somebody");
  const [real, played] = [[] as Seen[], [] as Awaited<ReturnType<typeof probe>>[]];
  // In turns: what else the machine does meets both.
  for (let play = 0; play < PLAYS; play++) {
    real.push(await chromium(play));
    played.push(await probe(play));
  }
  const kept = (plays: readonly Seen[]): unknown => plays.map(({ facets, acts }) => ({ facets, acts }));
  writeFileSync(join(ARTEFACTS, "what-a-node-sees.json"), JSON.stringify({ real: kept(real), played: kept(played) }, null, 2));
  for (const { out } of played) {
    console.log(`# ${out.replaceAll("\n", "\n# ")}`);
    assert.match(out, /^pass\n/);
    assert.match(out, /in the log/);
  }
  await verifies(played[0]?.receipt ?? "");
  assert.deepEqual(differing(real, played), rows("what a node sees").map(([name]) => name).sort());
  heldInTime(real, played);
}, PLAYED_WITHIN_MS);

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
