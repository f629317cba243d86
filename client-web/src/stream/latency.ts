/**
 * Where a frame's time goes, stage by stage, from the edge's marks, the browser's frame callback
 * and a clock offset learned from pings. Pure: fed with values, read as a table.
 *
 * Stages, the same names as in metrics and loadtest: `input` browser to node; `render` input to
 * commit; `capture` the copy out of the app's buffer; `encode`; `pace` access unit to last
 * packet; `network` to the browser; `decode`; `present` jitter buffer and compositor.
 *
 * Does not know: WebRTC, the DOM, the time.
 */
import type { Mark, Shown } from "../wire/codec.ts";
import { SHOWN_FRAMES_MAX, STAGES } from "../wire/constants.ts";

export type Stage = (typeof STAGES)[number];

/** One presented frame, times in ms of the browser's performance clock. */
export type Presented = {
  readonly rtpTimestamp: number;
  readonly presentAtMs: number;
  readonly receivedAtMs: number | null;
  readonly decodeMs: number | null;
};

export type Spread = { readonly p50: number; readonly p95: number };
export type LatencyTable = {
  readonly stages: Readonly<Record<Stage, Spread | null>>;
  /** App's commit to light. */
  readonly frame_ms: Spread | null;
  /** Player's input to the first picture that contains it. */
  readonly input_to_picture_ms: Spread | null;
  readonly rtt_ms: number | null;
  readonly clock_offset_ms: number | null;
};

/** One input and the first picture that contains it. The stages add up to `presentAtMs` less the
 *  input's time, give or take the clock error: a stage that it would make negative is 0. */
export type Answered = {
  /** The input event's time, microseconds of the browser's performance clock. */
  readonly inputUs: number;
  readonly rtpTimestamp: number;
  readonly presentAtMs: number;
  readonly stages: Readonly<Record<Stage, number | null>>;
  /** Half of the quickest ping: the node's clock is not known better. */
  readonly clockErrorMs: number;
};

/** Four seconds at 60 fps: long enough for a p95, short enough to follow a change. */
const WINDOW = 240;
/** Marks and presentations that wait for their counterpart. */
const PENDING_MAX = 120;
/** Pings that vote on the clock offset; the quickest one wins. */
const PINGS_MAX = 20;
const FRAME_WINDOW_MS_MAX = 5_000;

type FrameMark = Extract<Mark, { kind: "frame" }>;
type Ping = { readonly rttMs: number; readonly offsetMs: number };

export class LatencyLedger {
  readonly #series = new Map<Stage | "frame" | "input-to-picture", number[]>();
  readonly #marks = new Map<number, FrameMark>();
  readonly #presented = new Map<number, Presented>();
  #pings: Ping[] = [];
  #lastInputUs = 0;
  #shown: Shown[] = [];
  readonly #answered: (answered: Answered) => void;

  constructor(answered: (answered: Answered) => void = () => undefined) {
    this.#answered = answered;
  }

  /** A ping came back at `nowMs`. */
  pong(clientUs: number, hostUs: number, nowMs: number): void {
    const sentMs = clientUs / 1000;
    const rttMs = nowMs - sentMs;
    if (rttMs < 0 || rttMs > 10_000) return;
    this.#pings = [...this.#pings, { rttMs, offsetMs: hostUs / 1000 - (sentMs + rttMs / 2) }].slice(-PINGS_MAX);
  }

  mark(mark: FrameMark): void {
    const presented = this.#presented.get(mark.rtpTimestamp);
    if (presented) {
      this.#presented.delete(mark.rtpTimestamp);
      this.#record(mark, presented);
    } else {
      remember(this.#marks, mark.rtpTimestamp, mark);
    }
  }

  presented(frame: Presented): void {
    const mark = this.#marks.get(frame.rtpTimestamp);
    if (mark) {
      this.#marks.delete(frame.rtpTimestamp);
      this.#record(mark, frame);
    } else {
      remember(this.#presented, frame.rtpTimestamp, frame);
    }
  }

  table(): LatencyTable {
    const best = this.#best();
    const stages = Object.fromEntries(STAGES.map((stage) => [stage, this.#spread(stage)]));
    return {
      stages: stages as Record<Stage, Spread | null>,
      frame_ms: this.#spread("frame"),
      input_to_picture_ms: this.#spread("input-to-picture"),
      rtt_ms: this.#pings.at(-1)?.rttMs ?? null,
      clock_offset_ms: best?.offsetMs ?? null,
    };
  }

  /** The browser's own stages of the newest frames since the last call, for the node. */
  takeShown(): readonly Shown[] {
    const shown = this.#shown.slice(-SHOWN_FRAMES_MAX);
    this.#shown = [];
    return shown;
  }

  /** The round trips of the last pings, oldest first. */
  roundTripsMs(): readonly number[] {
    return this.#pings.map(({ rttMs }) => rttMs);
  }

  /** The quickest ping has the least queueing in it, so its midpoint is the truest. */
  #best(): Ping | null {
    return this.#pings.reduce<Ping | null>(
      (best, ping) => (best === null || ping.rttMs < best.rttMs ? ping : best),
      null,
    );
  }

  #record(mark: FrameMark, frame: Presented): void {
    const stages: Record<Stage, number | null> = {
      input: null,
      render: null,
      capture: (mark.capturedUs - mark.commitUs) / 1000,
      encode: (mark.encodedUs - mark.capturedUs) / 1000,
      pace: (mark.sentUs - mark.encodedUs) / 1000,
      network: null,
      decode: frame.decodeMs,
      present: null,
    };
    const clock = this.#best();
    if (clock) this.#recordAcross(mark, frame, stages, clock);
    for (const stage of STAGES) {
      const ms = stages[stage];
      if (ms !== null) this.#add(stage, ms);
    }
    if (stages.decode === null || stages.present === null) return;
    if (this.#shown.length >= WINDOW) this.#shown.shift();
    this.#shown.push({ decodeMs: stages.decode, presentMs: stages.present });
  }

  /** What spans both clocks: the stages between node and browser, and the totals. */
  #recordAcross(mark: FrameMark, frame: Presented, stages: Record<Stage, number | null>, clock: Ping): void {
    const here = (hostUs: number): number => hostUs / 1000 - clock.offsetMs;
    const total = frame.presentAtMs - here(mark.commitUs);
    if (total < 0 || total > FRAME_WINDOW_MS_MAX) return;
    this.#add("frame", total);
    if (frame.receivedAtMs !== null) {
      // A busy machine writes down late what it did, and the browser tells when one packet of the frame
      // came: no frame is there before its last packet left, none is decoded before it is there.
      const sent = Math.min(here(mark.sentUs), frame.presentAtMs);
      const received = Math.min(Math.max(frame.receivedAtMs, sent), frame.presentAtMs);
      stages.pace = Math.max(0, sent - here(mark.encodedUs));
      stages.network = received - sent;
      if (frame.decodeMs !== null) {
        const left = frame.presentAtMs - received;
        stages.decode = Math.min(frame.decodeMs, left);
        stages.present = left - stages.decode;
      }
    }
    // Only the first frame that contains an input tells how long that input took.
    if (mark.inputUs === 0 || mark.inputUs <= this.#lastInputUs) return;
    this.#lastInputUs = mark.inputUs;
    const pressedMs = mark.inputUs / 1000;
    const answer = frame.presentAtMs - pressedMs;
    if (answer < 0 || answer > FRAME_WINDOW_MS_MAX) return;
    this.#add("input-to-picture", answer);
    stages.input = Math.max(0, here(mark.inputHostUs) - pressedMs);
    stages.render = Math.max(0, (mark.commitUs - mark.inputHostUs) / 1000);
    this.#answered({
      inputUs: mark.inputUs,
      rtpTimestamp: mark.rtpTimestamp,
      presentAtMs: frame.presentAtMs,
      stages,
      clockErrorMs: clock.rttMs / 2,
    });
  }

  #add(name: Stage | "frame" | "input-to-picture", ms: number): void {
    const series = this.#series.get(name) ?? [];
    series.push(ms);
    if (series.length > WINDOW) series.shift();
    this.#series.set(name, series);
  }

  #spread(name: Stage | "frame" | "input-to-picture"): Spread | null {
    const series = this.#series.get(name);
    if (!series || series.length === 0) return null;
    const sorted = [...series].sort((a, b) => a - b);
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    return { p50: round(at(0.5)), p95: round(at(0.95)) };
  }
}

/** Hundredths of a millisecond: more would be noise. */
const round = (ms: number): number => Math.round(ms * 100) / 100;

function remember<T>(map: Map<number, T>, key: number, value: T): void {
  map.set(key, value);
  if (map.size <= PENDING_MAX) return;
  const oldest = map.keys().next();
  if (!oldest.done) map.delete(oldest.value);
}
