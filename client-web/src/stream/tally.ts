/**
 * What one page measured of a session so far, for its receipt: over all attachments, in whole numbers.
 * docs/receipts.md says what each of them is, and has the one text in which they are signed.
 *
 * Pure: fed with values. Bounded, whatever comes: times are counted in buckets, eight an octave.
 * Does not know: WebRTC, keys, the broker.
 */
import type { Quality } from "../wire/quality.ts";
import type { StreamStats } from "./stats.ts";

const FREEZE_MS = 200;
const STEPS = 8;
const BUCKETS = STEPS * 30;
const US_MAX = 0xffff_ffff;
/** What no encoder's name has. */
const ODD = /[^A-Za-z0-9 ._+/-]/g;
const ENCODER_CHARS_MAX = 64;

/** Durations, counted: a percentile is within a sixteenth of what it was. */
export class Spread {
  readonly #counts = new Float64Array(BUCKETS);
  #total = 0;

  addMs(ms: number): void {
    if (!Number.isFinite(ms) || ms < 0) return;
    const index = bucket(Math.min(Math.round(ms * 1000), US_MAX));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#total += 1;
  }

  percentileUs(percent: number): number {
    const wanted = Math.max(1, Math.ceil((this.#total * percent) / 100));
    let seen = 0;
    for (let index = 0; index < BUCKETS; index += 1) {
      seen += this.#counts[index] ?? 0;
      if (seen >= wanted) return middle(index);
    }
    return 0;
  }
}

function bucket(us: number): number {
  if (us < STEPS) return us;
  const octave = 31 - Math.clz32(us);
  const step = Math.floor(us / 2 ** (octave - 3)) % STEPS;
  return (octave - 2) * STEPS + step;
}

function middle(index: number): number {
  if (index < STEPS) return index;
  const width = 2 ** (Math.floor(index / STEPS) - 1);
  return (STEPS + (index % STEPS)) * width + Math.floor(width / 2);
}

export class Tally {
  #elapsedMs = 0;
  #frames = 0;
  /** Those of the time that is counted: the first ones of a connection came before it. */
  #timedFrames = 0;
  #freezes = 0;
  #size: readonly [number, number] = [0, 0];
  #encoder = "";
  #lastFrameMs: number | null = null;
  #before: { readonly atMs: number; readonly decoded: number } | null = null;
  readonly #pace = new Spread();
  readonly #input = new Spread();
  readonly #rtt = new Spread();

  /** A connection begins, or is gone: its counters start from nothing. */
  relink(): void {
    this.#before = null;
    this.#lastFrameMs = null;
  }

  /** A frame was presented. */
  shown(atMs: number, hidden: boolean): void {
    const last = this.#lastFrameMs;
    this.#lastFrameMs = hidden ? null : atMs;
    if (last === null || hidden) return;
    this.#pace.addMs(atMs - last);
    if (atMs - last > FREEZE_MS) this.#freezes += 1;
  }

  /** An input met its first picture. */
  answered(ms: number): void {
    this.#input.addMs(ms);
  }

  /** The browser's counters, once a second or less often. Time counts from the first picture on. */
  second(atMs: number, stream: StreamStats, encoder: string, rttMs: number | null): void {
    const before = this.#before;
    if (before === null && stream.frames_decoded === 0) return;
    this.#before = { atMs, decoded: stream.frames_decoded };
    if (before === null) this.#frames += stream.frames_decoded;
    else {
      this.#elapsedMs += Math.max(0, atMs - before.atMs);
      const fresh = Math.max(0, stream.frames_decoded - before.decoded);
      this.#frames += fresh;
      this.#timedFrames += fresh;
    }
    if (stream.width && stream.height) this.#size = [stream.width, stream.height];
    if (encoder !== "") this.#encoder = encoder.replace(ODD, "").slice(0, ENCODER_CHARS_MAX);
    if (rttMs !== null) this.#rtt.addMs(rttMs);
  }

  /** What there is so far; null if that is less than a second. */
  quality(): Quality | null {
    const seconds = Math.round(this.#elapsedMs / 1000);
    if (seconds === 0 || this.#frames === 0) return null;
    return {
      seconds,
      frames: this.#frames,
      // By the exact time: whole seconds would make a short session faster or slower than it was.
      fps_milli: Math.floor((this.#timedFrames * 1_000_000) / this.#elapsedMs),
      pace_us: [this.#pace.percentileUs(50), this.#pace.percentileUs(99)],
      freezes: this.#freezes,
      size: this.#size,
      // The node's own word: its column has it.
      encode_us: [0, 0],
      input_us: [this.#input.percentileUs(50), this.#input.percentileUs(99)],
      rtt_us: [this.#rtt.percentileUs(50), this.#rtt.percentileUs(95)],
      encoder: this.#encoder,
    };
  }
}

/** The one text of a sample: RFC 8785, which for these is JSON with its names in order. */
export function textOf(quality: Quality): string {
  const sorted = Object.entries(quality).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(Object.fromEntries(sorted));
}
