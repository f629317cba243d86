import { describe, expect, it } from "vitest";
import { Alarm } from "../src/stream/alarm.ts";
import { usualLateness } from "../src/stream/lateness.ts";
import { diagnose, roundTrips, type Diagnosis, type Fault, type Signs } from "../src/stream/diagnosis.ts";

const FINE: Signs = {
  trips: { min_ms: 12, median_ms: 13, jitter_ms: 4 }, loss_permille: 0, queue_ms: 2, kbps_target: 12_000, limited_by: "nothing",
  period_ms: 1000 / 60, encode_ms: 4, decode_ms: 3, dropped_share: 0, medium: null,
};
const trips = (min_ms: number, jitter_ms: number) => ({ min_ms, median_ms: min_ms + jitter_ms / 4, jitter_ms });

describe("the diagnosis", () => {
  it.each<[string, Partial<Signs>, Diagnosis["grade"], Fault | null]>([
    ["nothing wrong", {}, "good", null],
    ["nothing known", { trips: null, loss_permille: null, queue_ms: null, kbps_target: null, limited_by: null, encode_ms: null, decode_ms: null, dropped_share: null }, "good", null],
    ["a decoder that takes longer than a picture lasts", { decode_ms: 19 }, "poor", "device"],
    ["the same decoder at half the rate", { decode_ms: 19, period_ms: 33 }, "good", null],
    ["pictures that arrive and are not shown", { dropped_share: 0.05 }, "fair", "device"],
    ["an encoder that takes longer than a picture lasts", { encode_ms: 22 }, "poor", "node"],
    ["a node that says so itself", { limited_by: "node" }, "fair", "node"],
    ["an uplink shared by too many", { limited_by: "uplink", kbps_target: 900 }, "poor", "node"],
    ["a queue that stands", { queue_ms: 140, trips: trips(12, 130) }, "poor", "line"],
    ["little capacity", { limited_by: "capacity", kbps_target: 1_000 }, "poor", "line"],
    ["a limit that is high enough", { limited_by: "capacity", kbps_target: 15_000 }, "good", null],
    ["the player's own limit", { limited_by: "player", kbps_target: 2_000 }, "good", null],
    ["losses on a steady line", { loss_permille: 50 }, "poor", "line"],
    ["a round trip that jumps, near by, with no queue", { trips: trips(4, 55) }, "poor", "wifi"],
    ["the same with packets lost", { trips: trips(4, 20), loss_permille: 50 }, "poor", "wifi"],
    ["the same on a cable", { trips: trips(4, 55), medium: "wired" }, "poor", "line"],
    ["jitter on this very machine", { trips: trips(0.4, 55) }, "good", null],
    ["a node on the other side of the world", { trips: trips(180, 5) }, "poor", "distance"],
    ["a node in the next country but one", { trips: trips(70, 5) }, "fair", "distance"],
    ["the worse of two", { trips: trips(70, 5), decode_ms: 40 }, "poor", "device"],
  ])("names %s", (_, signs, grade, fault) => {
    expect(diagnose({ ...FINE, ...signs })).toEqual({ grade, fault });
  });
  it("reads round trips", () => {
    expect(roundTrips([1, 2, 3])).toBeNull();
    expect(roundTrips([9, 5, 30, 6, 7, 8, 5, 6, 7, 6], 10)?.jitter_ms).toBe(15);
    expect(roundTrips([9, 5, 30, 6, 7, 8, 5, 6, 7, 6], 100)?.jitter_ms).toBe(0);
    expect(usualLateness([])).toBe(0);
    expect(usualLateness([0, 0, 1, 1, 1, 2, 2, 2, 3, 40])).toBe(40);
    expect(roundTrips([9, 5, 30, 6, 7, 8, 5, 6, 7, 6])).toEqual({ min_ms: 5, median_ms: 7, jitter_ms: 25 });
  });
});

describe("the alarm", () => {
  const poor = (fault: Fault): Diagnosis => ({ grade: "poor", fault });
  const fair: Diagnosis = { grade: "fair", fault: "line" };
  /** Feeds one diagnosis a second and answers what was named each time. */
  const run = (alarm: Alarm, seconds: readonly Diagnosis[], fromS = 0) => seconds.map((one, i) => alarm.see(one, (fromS + i) * 1000));
  const times = (n: number, one: Diagnosis) => Array.from({ length: n }, () => one);

  it("waits for the fourth bad second in a row", () => {
    expect(run(new Alarm(), times(4, poor("wifi")))).toEqual([null, null, null, "wifi"]);
    expect(run(new Alarm(), [...times(3, poor("wifi")), fair, ...times(3, poor("wifi"))]).every((one) => one === null)).toBe(true);
    expect(run(new Alarm(), [poor("wifi"), poor("line"), poor("wifi"), poor("line"), poor("wifi")]).every((one) => one === null)).toBe(true);
  });
  it("says no word about what is only fair", () => expect(run(new Alarm(), times(9, fair)).at(-1)).toBeNull());
  it("goes once it is better, and by itself", () => {
    const better = new Alarm();
    run(better, times(4, poor("line")));
    expect(run(better, times(5, fair), 4)).toEqual(["line", "line", "line", "line", null]);
    expect(run(new Alarm(), times(30, poor("line"))).filter((one) => one !== null)).toHaveLength(15);
  });
  it("lets the same word rest, and no other", () => {
    const alarm = new Alarm();
    run(alarm, times(30, poor("line")));
    expect(run(alarm, times(8, poor("wifi")), 30).at(-1)).toBe("wifi");
    expect(run(alarm, times(8, fair), 40).at(-1)).toBeNull();
    expect(run(alarm, times(5, poor("line")), 50).at(-1)).toBeNull();
    expect(run(alarm, times(5, poor("line")), 300).at(-1)).toBe("line");
  });
});
