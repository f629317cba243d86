import { describe, expect, it } from "vitest";
import { Collector, type Figures } from "../src/probe/figures.ts";
import { KeptChecks, type Check } from "../src/probe/kept.ts";
import { judge } from "../src/probe/verdict.ts";
import type { Diagnosis, Fault } from "../src/stream/diagnosis.ts";

/** Pings every 50 ms from `fromMs`, each answered after what `rttMs` says, or lost where it says null. */
function ping(collector: Collector, count: number, rttMs: (i: number) => number | null, fromMs = 0, lateMs = 0): void {
  for (let i = 0; i < count; i += 1) {
    const atMs = fromMs + 50 * i;
    collector.pinged(atMs * 1000, atMs, lateMs);
    const rtt = rttMs(i);
    if (rtt !== null) collector.ponged(atMs * 1000, atMs + rtt);
  }
}
const train = (collector: Collector, number: number, count: number, fromMs: number, gapMs: number, missing: readonly number[] = []): void => {
  for (let seq = 0; seq < count; seq += 1) {
    if (!missing.includes(seq)) collector.arrived({ train: number, seq, count }, fromMs + seq * gapMs);
  }
};

describe("a line check", () => {
  it("tells the capacity from how far a train spreads", () => {
    const collector = new Collector();
    train(collector, 0, 96, 0, 4);
    // 1 200 bytes every 0.96 ms are 10 Mbit/s.
    train(collector, 1, 48, 1_000, 0.96);
    expect(collector.figures(3_000).kbps).toBe(10_000);
  });
  it("makes nothing of a few messages, and no miracle of a bunch", () => {
    const few = new Collector();
    train(few, 0, 4, 0, 1);
    expect(few.figures(3_000).kbps).toBeNull();
    const bunch = new Collector();
    train(bunch, 0, 48, 0, 0);
    expect(bunch.figures(3_000).kbps).toBe(200_000);
  });
  it("keeps the pings behind a train apart", () => {
    const collector = new Collector();
    train(collector, 0, 48, 0, 4);
    ping(collector, 60, (i) => (50 * i < 230 ? 90 : 10 + (i % 3)));
    expect(collector.figures(4_000).trips).toEqual({ min_ms: 10, median_ms: 11, jitter_ms: 2 });
  });
  it("counts what is lost, and not what is under way", () => {
    const collector = new Collector();
    ping(collector, 40, (i) => (i % 10 === 0 ? null : 20));
    ping(collector, 5, () => null, 2_500);
    train(collector, 0, 40, 0, 1, [1, 2, 3, 4]);
    expect(collector.figures(3_000)).toMatchObject({ loss_permille: 100, train_loss_permille: 100, pings_sent: 45 });
  });
  it("takes off what the page itself was late", () => {
    const collector = new Collector();
    ping(collector, 40, (i) => 10 + 2 * (i % 10), 0, 15);
    expect(collector.figures(4_000).trips).toEqual({ min_ms: 10, median_ms: 20, jitter_ms: 3 });
  });
  it("knows nothing where nothing came", () => {
    expect(new Collector().figures(3_000)).toEqual({ trips: null, pings_sent: 0, loss_permille: 0, kbps: null, train_loss_permille: null });
  });
});

describe("its verdict", () => {
  const fine: Figures = { trips: { min_ms: 12, median_ms: 13, jitter_ms: 3 }, pings_sent: 56, loss_permille: 0, kbps: 50_000, train_loss_permille: 0 };
  const trips = (min_ms: number, jitter_ms: number) => ({ min_ms, median_ms: min_ms + 1, jitter_ms });
  it.each<[string, Partial<Figures>, Diagnosis["grade"], Fault | null]>([
    ["a good line", {}, "good", null],
    ["a narrow line", { kbps: 6_000 }, "fair", "line"],
    ["a line too narrow", { kbps: 1_500 }, "poor", "line"],
    ["a line that loses", { loss_permille: 80 }, "poor", "line"],
    ["trains that hardly come through", { train_loss_permille: 600 }, "poor", "line"],
    ["Wi-Fi: near, and jumping", { trips: trips(4, 20) }, "fair", "wifi"],
    ["bad Wi-Fi", { trips: trips(4, 60), loss_permille: 40 }, "poor", "wifi"],
    ["one ping of fifty lost", { loss_permille: 20 }, "good", null],
    ["two of them", { loss_permille: 40 }, "fair", "line"],
    ["a narrow line that jumps is a line", { trips: trips(8, 60), kbps: 1_500 }, "poor", "line"],
    ["a node far away", { trips: trips(80, 4) }, "fair", "distance"],
    ["a node very far away", { trips: trips(190, 4) }, "poor", "distance"],
    ["jitter on this very machine", { trips: trips(0.3, 40) }, "good", null],
    ["a node that does not answer though its trains come", { trips: null, loss_permille: 900 }, "poor", "node"],
  ])("names %s", (_, figures, grade, fault) => expect(judge({ ...fine, ...figures }, null)).toEqual({ grade, fault }));
  it("blames no Wi-Fi on a cable", () => expect(judge({ ...fine, trips: trips(4, 60) }, "wired").fault).toBe("line"));
  it("blames nothing for jitter within one machine", () => expect(judge({ ...fine, trips: trips(4, 60) }, "loopback").fault).toBeNull());
});

describe("kept checks", () => {
  const store = (text: string | null = null) => {
    let kept = text;
    return { getItem: () => kept, setItem: (_: string, value: string) => void (kept = value) };
  };
  const check = (atMs: number): Check => ({
    verdict: { grade: "good", fault: null }, atMs,
    figures: { trips: null, pings_sent: 0, loss_permille: 0, kbps: null, train_loss_permille: null },
  });
  it("hold for six hours, over a reload", () => {
    const kept = store();
    new KeptChecks(kept).keep("nod_1", check(1_000));
    const again = new KeptChecks(kept);
    expect(again.of("nod_1", 1_000 + 5 * 3600e3)).toEqual(check(1_000));
    expect(again.of("nod_1", 1_000 + 7 * 3600e3)).toBeNull();
    expect(again.of("nod_1", 0)).toBeNull();
    expect(again.of("nod_2", 1_000)).toBeNull();
  });
  it("are at most sixteen, the newest", () => {
    const checks = new KeptChecks(store());
    for (let i = 0; i < 20; i += 1) checks.keep(`nod_${i}`, check(i));
    expect([3, 4, 19].map((i) => checks.of(`nod_${i}`, 100) !== null)).toEqual([false, true, true]);
  });
  it.each(["not json", "{}", '[["nod_1",{"atMs":1}]]', "[1,null]"])("survive what somebody else wrote: %s", (text) => {
    expect(new KeptChecks(store(text)).of("nod_1", 2)).toBeNull();
  });
  it("last for the page where nothing can be kept", () => {
    const checks = new KeptChecks(null);
    checks.keep("nod_1", check(1));
    expect(checks.of("nod_1", 2)).not.toBeNull();
  });
});
