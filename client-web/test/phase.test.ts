import { describe, expect, test } from "vitest";
import { PhaseLock, shiftOf, type Shown } from "../src/stream/phase.ts";

const PERIOD = 1000 / 60;

/** Reproducible, about normal, deviation 1. */
function jitters(seed: number): () => number {
  let state = seed;
  const one = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  return () => one() + one() + one() + one() + one() + one() + one() + one() + one() + one() + one() + one() - 6;
}

type Stream = { readonly hz?: number; readonly screenHz?: number; readonly firstMs?: number; readonly jitterMs?: number };

/** A screen that shows the newest frame of a stream at each refresh. */
function screen({ hz = 60, screenHz = 60, firstMs = 0, jitterMs = 0 }: Stream, frames: number, phase = (): number => 0): Shown[] {
  const jitter = jitters(7);
  const ready: number[] = [];
  for (let n = 0; n < frames; n += 1) ready.push(Math.max(ready.at(-1) ?? 0, firstMs + (n * 1000) / hz + jitterMs * jitter() + phase()));
  const shown: Shown[] = [];
  let count = 0;
  for (let n = 1; count < frames; n += 1) {
    const refreshAtMs = (n * 1000) / screenHz;
    const before = count;
    while (count < frames && (ready[count] ?? 0) <= refreshAtMs) count += 1;
    if (count > before) shown.push({ refreshAtMs, readyAtMs: ready[count - 1] ?? 0, count });
  }
  return shown;
}

const ms = (stream: Stream): number | null => {
  const us = shiftOf(screen(stream, 60));
  return us === null ? null : us / 1000;
};

describe("the shift", () => {
  test("brings frames that wait for long closer to their refresh, and none before it", () => {
    // A fifth of a period stays.
    expect(ms({ firstMs: 8 })).toBeCloseTo(PERIOD - 8 - PERIOD / 5, 0);
    expect(ms({ firstMs: PERIOD - PERIOD / 5 })).toBeNull();
  });

  test("goes the shorter way round", () => {
    expect(ms({ firstMs: 1 })).toBeCloseTo(-1 - PERIOD / 5, 0);
    expect(ms({ firstMs: 5.5 })).toBeGreaterThan(7.5);
  });

  test("has frames that meet a refresh come sooner, whichever side they fall on", () => {
    for (const firstMs of [PERIOD - 0.5, 2 * PERIOD - 0.1]) expect(ms({ firstMs })).toBeLessThan(-2);
    expect(ms({ firstMs: PERIOD, jitterMs: 2 })).toBeLessThan(-2);
  });

  test("leaves more room for more jitter, up to half a period", () => {
    const aim = (jitterMs: number): number => PERIOD - 8 - (ms({ firstMs: 8, jitterMs }) ?? 0);
    expect(aim(2)).toBeGreaterThan(aim(0.5) + 1);
    expect(aim(3)).toBeLessThanOrEqual(PERIOD / 2 + 1.5);
  });

  test("is nothing where frames and refreshes have nothing to do with each other", () => {
    expect(ms({ hz: 35 })).toBeNull();
    expect(ms({ screenHz: 144 })).toBeNull();
    expect(ms({ hz: 144, screenHz: 60 })).toBeNull();
    const anyhow = Array.from({ length: 60 }, (_, n) => ({ refreshAtMs: n * PERIOD, readyAtMs: n * PERIOD - ((n * 7) % 60) * (PERIOD / 60), count: n }));
    expect(shiftOf(anyhow)).toBeNull();
    expect(shiftOf([])).toBeNull();
  });
});

test("a screen of another rate is followed, and no refresh goes without a frame", () => {
  // What the node does: it moves by what it is told.
  let shiftMs = 0;
  const lock = new PhaseLock((us) => (shiftMs += us / 1000));
  const seen: number[] = [];
  let count = 0;
  for (let n = 1; n < 4_000; n += 1) {
    const refreshAtMs = (n * 1000) / 59.94;
    const before = count;
    while (count * PERIOD + 20 + shiftMs <= refreshAtMs) count += 1;
    if (count === before) continue;
    seen.push(n);
    lock.shown({ refreshAtMs, readyAtMs: (count - 1) * PERIOD + 20 + shiftMs, count });
  }
  const settled = seen.filter((n) => n > 300);
  const empty = settled.slice(1).filter((n, i) => n - (settled[i] ?? n) > 1).length;
  expect(empty).toBeLessThan(2);
  // 4,000 refreshes drift by four periods.
  expect(shiftMs).toBeGreaterThan(45);
});
