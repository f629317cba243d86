/** Receipts: what they say in words, the plot, and what is asked of the log. The verifier is tested in verifier/wasm. */
import { expect, test } from "vitest";
import { Log } from "../src/receipts/log.ts";
import { HEIGHT, plot, WIDTH, type Point } from "../src/receipts/plot.ts";
import type { Statement } from "../src/receipts/statement.ts";
import { ratio, story, when } from "../src/receipts/story.ts";
import { Verifier } from "../src/receipts/verifier.ts";

const ID = "ab".repeat(32);

function statement(kind: string, body: unknown, more: Partial<Statement["predicate"]["head"]> = {}): Statement {
  const head = { issuer: ID, issued_at_s: 1_800_000_000, countersign: "none", assurance: "timing", does_not_prove: ["that it is near"], evidence: [], ...more } as const;
  return {
    predicateType: `https://nearlight.dev/${kind}`,
    subject: [{ name: "node:nod_1", digest: { sha256: ID } }],
    predicate: { head, body },
  };
}

const PORC = {
  round: 7, gpu: "cpu", class: "software", score_permille: 913, finding: "pass", reason: "",
  elapsed: { compute_us: 12_000_000, fill_us: 2_000, read_us: 40_000, render_us: 1_000 },
  ratios: { compute_permille: 913, memory_permille: 2000, render_permille: 1000 },
};

test("a capacity check is told in plain words", () => {
  const told = story(statement("porc/v1", PORC, { countersign: { refused: "too busy" } }));
  expect(told.summary).toBe("Passed. It does 0.91× of what its class “software” asks for, by its weakest part.");
  const words = Object.fromEntries(told.lines.map(({ term, words }) => [term, words]));
  expect(words["Compute"]).toBe("0.91× of the reference, in 12.0 s");
  expect(words["Memory"]).toContain("filled in 2.0 ms, read in 40 ms");
  expect(words["Node's signature"]).toBe("The node did not sign: too busy");
  expect(words["Issued"]).toContain("2027-01-15 08:00 UTC");
});

test("what pictures of a probed stream showed is presses that they count, signs of the marker, or nothing", () => {
  const quality = { seconds: 15, frames: 900, fps_milli: 60_000, pace_us: [0, 0], freezes: 0, size: [1280, 720], encode_us: [0, 0], input_us: [0, 0], rtt_us: [0, 0], encoder: "x264enc" };
  const told = (body: object): (string | undefined)[] => {
    const { lines } = story(statement("porw/v1", { app: "doom", quality, finding: "pass", reason: "", ...body }));
    return ["Presses", "Marker"].map((wanted) => lines.find(({ term }) => term === wanted)?.words);
  };
  expect(told({ markers: [20, 20] })).toEqual(["The pictures count 20 of 20 that were made.", undefined]);
  expect(told({ markers: [0, 0], signs: [880, 15, 900] })).toEqual([undefined, "880 of 900 signs of the session's marker agree, 15 do not; by chance half would."]);
  expect(told({ markers: [0, 0] })).toEqual([undefined, undefined]);
});

test("a session is told with what each side measured, and without what neither did", () => {
  const quality = { seconds: 60, frames: 3600, fps_milli: 59_900, pace_us: [0, 0], freezes: 0, size: [1280, 720], encode_us: [0, 0], input_us: [0, 0], rtt_us: [4_000, 9_000], encoder: "" };
  const body = {
    node: ID, started_at_s: 1_800_000_000, stopped_at_s: 1_800_000_120, edge: { ...quality, fps_milli: 30_000 },
    player: [{ quality, key: "", signature: "" }], agreement: "disagree", differs: ["frame-rate"],
  };
  const told = story(statement("session/v1", body));
  expect(told.summary).toContain("It ran for 2 min");
  expect(told.summary).toContain("different things");
  const words = Object.fromEntries(told.lines.map(({ term, words }) => [term, words]));
  expect(words["They differ in"]).toBe("frame rate");
  expect(words["Picture, the player says"]).toContain("59.9 frames");
  expect(words["Picture, the node says"]).toContain("30.0 frames");
  expect(words["Round trip, the node says"]).toBe("4.0 ms mostly, 9.0 ms at worst (95th percentile)");
  expect(words["Input to picture, the node says"]).toBeUndefined();
});

test("every kind has words, and one that is newer says so", () => {
  const verdict = { receipts: [ID], dispute: null, finding: "fail", score_permille: 0, liars: [ID], step: "row 3", reason: "wrong" };
  expect(story(statement("verdict/v1", verdict)).lines[2]?.term).toBe("Refuted");
  expect(story(statement("revoke/v1", { reason: "a stolen key", from_s: 0 })).summary).toBe("a stolen key");
  expect(story(statement("dispute/v1", { claim: "in time", deadline_s: 1 })).title).toBe("A receipt is contested");
  expect(story(statement("comet/v9", {})).summary).toContain("older than this kind");
  expect(when(0)).toBe("not said");
  expect(ratio(1500)).toBe("1.50×");
});

const point = (index: number, at_s: number, permille: number, more: Partial<Point> = {}): Point => ({ index, at_s, permille, finding: "pass", valid: true, ...more });

test("the plot is in order of time, within its plane, and its line goes through what counts", () => {
  const drawn = plot([point(3, 300, 900), point(1, 100, 1200), point(2, 200, 0, { finding: "fail" }), point(4, 400, 99_000, { valid: false })]);
  expect(drawn?.dots.map((dot) => dot.index)).toEqual([1, 2, 3, 4]);
  for (const { x, y } of drawn?.dots ?? []) {
    expect(x).toBeGreaterThan(0);
    expect(x).toBeLessThanOrEqual(WIDTH);
    expect(y).toBeGreaterThan(0);
    expect(y).toBeLessThan(HEIGHT);
  }
  const [first, , third] = drawn?.dots ?? [];
  expect(drawn?.line).toBe(`${first?.x},${first?.y} ${third?.x},${third?.y}`);
  expect(drawn?.grid.map(({ permille }) => permille)).toContain(1000);
  expect(plot([])).toBeNull();
  expect(plot([point(1, 5, 1000)])?.dots[0]?.x).toBeGreaterThan(100);
});

/** A log that answers lists by what they are about, in pages of one. */
function served(about: Readonly<Record<string, readonly { index: number; leaf: string; kind: string }[]>>): { fetch: typeof fetch; asked: string[] } {
  const asked: string[] = [];
  const answer = (path: string): Response => {
    asked.push(path);
    const url = new URL(path, "http://broker");
    if (url.pathname !== "/v1/receipts") return new Response(`text of ${url.pathname}`);
    const all = about[url.searchParams.get("about") ?? ""] ?? [];
    const before = Number(url.searchParams.get("before") ?? Infinity);
    const rest = all.filter((one) => one.index < before).sort((a, b) => b.index - a.index);
    const page = rest.slice(0, 1);
    return Response.json({ receipts: page, next_before: rest.length > 1 ? page[0]?.index : null });
  };
  return { asked, fetch: ((path: string) => Promise.resolve(answer(path))) as typeof fetch };
}

test("everything that may contest a receipt is asked for, on every page", async () => {
  const log = served({
    leaf: [{ index: 9, leaf: "d", kind: "dispute/v1" }, { index: 8, leaf: "r", kind: "revoke/v1" }],
    issuer: [{ index: 3, leaf: "x", kind: "porc/v1" }, { index: 4, leaf: "k", kind: "revoke/v1" }],
    d: [{ index: 11, leaf: "v", kind: "verdict/v1" }],
    node: [{ index: 12, leaf: "w", kind: "verdict/v1" }, { index: 5, leaf: "p", kind: "porc/v1" }],
  });
  const later = await new Log(log.fetch).later("leaf", "issuer", "node");
  expect(later).toEqual({ ok: true, value: [4, 8, 9, 11, 12].map((index) => `text of /v1/receipts/${index}`) });
});

test("who is contested by nobody is not looked up in full", async () => {
  const log = served({ node: [{ index: 5, leaf: "p", kind: "porc/v1" }] });
  expect(await new Log(log.fetch).later("leaf", "issuer", "node")).toEqual({ ok: true, value: [] });
  expect(log.asked.some((path) => path.includes("about=node"))).toBe(false);
});

test("a verifier that cannot be fetched says so, and is asked for again", async () => {
  let tries = 0;
  const verifier = new Verifier(() => {
    tries += 1;
    return Promise.reject(new Error("HTTP 404"));
  });
  const trust = { directory: "{}", authority: null, policy: null };
  const first = await verifier.keys(trust);
  expect(first).toEqual({ ok: false, why: "The verifier does not run in this browser: Error: HTTP 404" });
  await verifier.keys(trust);
  expect(tries).toBe(2);
});
