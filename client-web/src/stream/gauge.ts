/**
 * All that is measured of one attachment, once a second as one record: the browser's counters, the
 * latency ledger, what the node tells of the stream, and what follows from them.
 *
 * Owns: the ledger, the count of presented frames, the alarm. Does not know: how it is drawn.
 */
import type { Mark, Shown } from "../wire/codec.ts";
import type { StreamState } from "../wire/types.ts";
import { Alarm } from "./alarm.ts";
import { diagnose, roundTrips, type Diagnosis, type Fault, type Medium, type RoundTrips } from "./diagnosis.ts";
import { watchFrames } from "./frames.ts";
import { Lateness } from "./lateness.ts";
import { PhaseLock } from "./phase.ts";
import { LatencyLedger, type Answered, type LatencyTable, type Spread } from "./latency.ts";
import { pollStats, type StreamStats } from "./stats.ts";

/** One second. */
export type Measured = {
  readonly stream: StreamStats;
  readonly latency: LatencyTable;
  /** Frames that the browser presented in this second. */
  readonly presented_fps: number;
  /** What the node told last, or null while it told nothing. */
  readonly sender: StreamState | null;
  readonly round_trips: RoundTrips | null;
  readonly diagnosis: Diagnosis;
  /** The fault that is worth a word now. */
  readonly alarm: Fault | null;
};

export type GaugeEvents = {
  readonly measured: (measured: Measured) => void;
  /** A frame was presented. */
  readonly frame: () => void;
  /** An input met its first picture. */
  readonly answered: (answered: Answered) => void;
  /** Frames had better come so many microseconds later. */
  readonly shift: (shiftUs: number) => void;
  /** What the browser's own stages took of frames of the last second. */
  readonly shown: (frames: readonly Shown[]) => void;
};

export class Gauge {
  readonly #ledger: LatencyLedger;
  readonly #alarm = new Alarm();
  readonly #lateness: Lateness;
  #presented = 0;
  #sender: StreamState | null = null;

  /** Measures `peer` and `video` until `signal` says stop. */
  constructor(peer: RTCPeerConnection, video: HTMLVideoElement, events: GaugeEvents, signal: AbortSignal) {
    this.#ledger = new LatencyLedger(events.answered);
    this.#lateness = new Lateness(signal);
    const phase = new PhaseLock(events.shift);
    watchFrames(
      video,
      (frame) => {
        this.#presented += 1;
        if (frame) {
          this.#ledger.presented(frame);
          phase.shown(frame);
        }
        events.frame();
      },
      signal,
    );
    const second = (stream: StreamStats): void => {
      events.measured(this.#second(stream));
      const shown = this.#ledger.takeShown();
      if (shown.length > 0) events.shown(shown);
    };
    pollStats(peer, second, signal);
  }

  marked(mark: Mark): void {
    if (mark.kind === "pong") this.#ledger.pong(mark.clientUs, mark.hostUs, performance.now());
    else if (mark.kind === "frame") this.#ledger.mark(mark);
  }

  told(sender: StreamState): void {
    this.#sender = sender;
  }

  #second(stream: StreamStats): Measured {
    const latency = this.#ledger.table();
    const round_trips = roundTrips(this.#ledger.roundTripsMs(), this.#lateness.usualMs());
    const sender = this.#sender;
    const fps = Math.max(stream.fps ?? 0, Math.min(sender?.fps_max ?? 60, 60), 1);
    const diagnosis = diagnose({
      trips: round_trips,
      loss_permille: sender?.loss_permille ?? stream.loss_permille,
      queue_ms: sender?.queue_ms ?? null,
      kbps_target: sender?.kbps_target ?? null,
      limited_by: sender?.limited_by ?? null,
      period_ms: 1000 / fps,
      // One after the other, but each frame's copy beside the last one's encode.
      encode_ms: slower(latency.stages.capture, latency.stages.encode),
      decode_ms: stream.decode_ms,
      dropped_share: stream.dropped_share,
      medium: medium(),
    });
    const presented_fps = this.#presented;
    this.#presented = 0;
    const alarm = document.hidden ? null : this.#alarm.see(diagnosis, performance.now());
    return { stream, latency, presented_fps, sender, round_trips, diagnosis, alarm };
  }
}

function slower(a: Spread | null, b: Spread | null): number | null {
  return a || b ? Math.max(a?.p50 ?? 0, b?.p50 ?? 0) : null;
}

type NetworkInformation = { readonly type?: string; readonly saveData?: boolean };
const network = (): NetworkInformation | undefined =>
  (navigator as Navigator & { readonly connection?: NetworkInformation }).connection;

/** What the browser is connected by; most tell it on phones only. */
export function medium(): Medium | null {
  if (["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) return "loopback";
  switch (network()?.type) {
    case "ethernet":
      return "wired";
    case "wifi":
      return "wifi";
    case "cellular":
      return "cellular";
    default:
      return null;
  }
}

/** Whether the player pays for what is sent, as far as the browser knows. */
export const metered = (): boolean => medium() === "cellular" || network()?.saveData === true;
