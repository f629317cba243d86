import raw from "../../core/proof/vectors/sample.json";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Api } from "../src/session/api.ts";
import { makeKey, sampleOf, Witness } from "../src/session/witness.ts";
import { digest } from "../src/stream/stats.ts";
import { Spread, Tally, textOf } from "../src/stream/tally.ts";
import type { Quality } from "../src/wire/quality.ts";
import { howItRanks, howItWent } from "../src/ui/how-it-went.tsx";

/** core/proof's tests read the same file. */
const vector = raw as unknown as { readonly quality: Quality; readonly text: string };

const stream = (framesDecoded: number, width = 1280) =>
  digest({ atMs: 0, entries: [{ type: "inbound-rtp", id: "v", kind: "video", framesDecoded, frameWidth: width, frameHeight: 720 }] }, null);

const quality: Quality = { ...vector.quality };

describe("a sample", () => {
  it("has the text of the vector", () => {
    expect(textOf(vector.quality)).toBe(vector.text);
  });

  it("is signed over that text with a key of this visit, where the browser makes one", async () => {
    const key = await makeKey();
    expect(key).not.toBeNull();
    const said = await sampleOf(quality, key, true);
    const raw = Uint8Array.from(said.key.match(/../g) ?? [], (two) => parseInt(two, 16));
    const signature = Uint8Array.from(said.signature.match(/../g) ?? [], (two) => parseInt(two, 16));
    const public_ = await crypto.subtle.importKey("raw", raw, { name: "Ed25519" }, false, ["verify"]);
    const message = new TextEncoder().encode(`nearlight player sample v1\n${vector.text}`);
    expect(await crypto.subtle.verify({ name: "Ed25519" }, public_, signature, message)).toBe(true);
    expect(await sampleOf(quality, null, false)).toEqual({ sample: vector.text, key: "", signature: "", last: false });
  });

  it("leaves each minute, and once at the end", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const said: { path: string; last: boolean }[] = [];
    const api = new Api(async (path, init) => {
      said.push({ path: String(path), last: (JSON.parse(String(init?.body)) as { last: boolean }).last });
      return new Response(null, { status: 204 });
    });
    let measured: Quality | null = null;
    const over = new AbortController();
    const witness = new Witness(api, "ses_1", () => measured, over.signal, Promise.resolve(null));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(said).toEqual([]);
    measured = quality;
    await vi.advanceTimersByTimeAsync(60_000);
    await witness.say(true);
    await witness.say(true);
    await vi.advanceTimersByTimeAsync(60_000);
    const path = "/v1/sessions/ses_1/quality";
    expect(said).toEqual([
      { path, last: false },
      { path, last: true },
    ]);
    over.abort();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are said after ten seconds for the first time, and then once a minute", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    let said = 0;
    const api = new Api(async () => {
      said += 1;
      return new Response(null, { status: 204 });
    });
    const over = new AbortController();
    new Witness(api, "ses_1", () => quality, over.signal, Promise.resolve(null));
    await vi.advanceTimersByTimeAsync(9_999);
    expect(said).toBe(0);
    await vi.advanceTimersByTimeAsync(1);
    expect(said).toBe(1);
    await vi.advanceTimersByTimeAsync(50_000);
    expect(said).toBe(2);
    over.abort();
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("the tally", () => {
  it("counts frames and seconds over several connections", () => {
    const tally = new Tally();
    tally.second(0, stream(0), "", null);
    expect(tally.quality()).toBeNull();
    tally.second(1_000, stream(10), "x264enc", 3);
    tally.second(2_000, stream(70), "x264enc", 3);
    tally.second(4_000, stream(190), "<x264enc>", 3);
    tally.relink();
    tally.second(90_000, stream(5, 640), "", null);
    tally.second(91_000, stream(65, 640), "", null);
    const found = tally.quality();
    expect(found).toMatchObject({ seconds: 4, frames: 255, fps_milli: 60_000, size: [640, 720], encoder: "x264enc" });
    expect(Math.abs((found?.rtt_us[0] ?? 0) - 3_000)).toBeLessThan(190);
  });

  it("has the rate of the time that it counted, and not of whole seconds", () => {
    const tally = new Tally();
    // The first reading has a second's frames, and eleven and a half follow.
    for (let half = 0; half <= 23; half += 1) tally.second(half * 500, stream(60 + half * 30), "", null);
    expect(tally.quality()).toMatchObject({ seconds: 12, frames: 750, fps_milli: 60_000 });
    const short = new Tally();
    short.second(0, stream(1), "", null);
    short.second(1_400, stream(85), "", null);
    expect(short.quality()).toMatchObject({ seconds: 1, frames: 85, fps_milli: 60_000 });
  });

  it("calls more than 200 ms without a frame a freeze, but not while the page is hidden", () => {
    const tally = new Tally();
    for (const [atMs, hidden] of [[0, false], [200, false], [401, false], [5_000, true], [9_000, false], [9_016, false]] as const) tally.shown(atMs, hidden);
    tally.second(0, stream(1), "", null);
    tally.second(1_000, stream(2), "", null);
    expect(tally.quality()?.freezes).toBe(1);
  });

  it("knows a percentile within a sixteenth", () => {
    for (const ms of [0, 0.007, 0.1, 1, 16.667, 1_000, 4_000_000]) {
      const spread = new Spread();
      spread.addMs(ms);
      expect(Math.abs(spread.percentileUs(50) - ms * 1000)).toBeLessThanOrEqual((ms * 1000) / 16);
    }
    const spread = new Spread();
    expect(spread.percentileUs(50)).toBe(0);
    for (const odd of [NaN, -1, Infinity]) spread.addMs(odd);
    expect(spread.percentileUs(99)).toBe(0);
  });
});

describe("the end screen", () => {
  it("says in plain words what was measured, and leaves out what was not", () => {
    expect(howItWent(vector.quality)).toBe("1 minute at 60 pictures a second, 48 ms from input to picture, 2 ms to the node and back, 1 freeze.");
    const little = { ...quality, seconds: 9, freezes: 0, input_us: [0, 0] as const, rtt_us: [400, 900] as const };
    expect(howItWent(little)).toBe("9 seconds at 60 pictures a second, less than 1 ms to the node and back, no freeze.");
    expect(howItWent({ ...quality, seconds: 3 * 3600 + 120 })).toContain("3 h 2 min at");
  });
  it("says in plain words how the node ranks, and nothing where nobody checks", () => {
    expect(howItRanks({ gate: "proven", rank_permille: 812 })).toBe("The node passes its checks: rank 812 of 1000.");
    expect(howItRanks({ gate: "unproven", rank_permille: 0 })).toContain("No check has passed the node yet");
    expect(howItRanks({ gate: "failing", rank_permille: 40 })).toContain("has failed its last checks");
    expect(howItRanks({ gate: "unchecked", rank_permille: 0 })).toBe("");
  });
});
