/**
 * How late this page is by itself: a busy machine hands timers and messages over late, and what a
 * ping then says of the line is not true. A timer that knows when it was due tells by how much.
 */

const BEAT_MS = 250;
/** 20 seconds: as long as the pings that are looked at. */
const BEATS = 80;

export class Lateness {
  #late: number[] = [];

  constructor(signal: AbortSignal) {
    let due = performance.now() + BEAT_MS;
    const timer = setInterval(() => {
      const now = performance.now();
      this.#late = [...this.#late, Math.max(0, now - due)].slice(-BEATS);
      due = now + BEAT_MS;
    }, BEAT_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** What nine of ten timers stayed under, milliseconds. */
  usualMs(): number {
    return usualLateness(this.#late);
  }
}

/** What nine of ten stay under, or 0 where there is none. */
export function usualLateness(lateMs: readonly number[]): number {
  const sorted = [...lateMs].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(0.9 * sorted.length))] ?? 0;
}
