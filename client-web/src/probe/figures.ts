/**
 * What a line check collects, and what follows from it. Pure; fed with pings, pongs and the
 * messages of trains, read once at the end.
 *
 * The capacity is told from how far the messages of a train spread on their way: the edge sends
 * them close together, and the narrowest part of the path pulls them apart (packet dispersion).
 * A train pushed through a queue delays the pings beside it: those are kept apart, for they tell of
 * the queue and not of the line at rest.
 *
 * Does not know: connections, the time, what is good (verdict.ts).
 */
import { roundTrips, type RoundTrips } from "../stream/diagnosis.ts";
import { usualLateness } from "../stream/lateness.ts";
import { TRAIN_BYTES } from "../wire/codec.ts";

export type Figures = {
  /** Of the line at rest, or null where too few pings came back. */
  readonly trips: RoundTrips | null;
  readonly pings_sent: number;
  /** Pings that should have been answered and were not, per mille. */
  readonly loss_permille: number;
  /** What the path carries at least, kbit/s, or null where no train came through. */
  readonly kbps: number | null;
  /** Messages of trains that did not come, per mille, or null where none came. */
  readonly train_loss_permille: number | null;
};

export type TrainMessage = { readonly train: number; readonly seq: number; readonly count: number };
type Ping = { readonly sentMs: number; readonly backMs: number };
type Train = { readonly count: number; received: number; firstMs: number; lastMs: number };

/** SCTP, DTLS, UDP and IP around a message. */
const OVERHEAD_BYTES = 100;
/** Fewer messages spread by chance. */
const MESSAGES_MIN = 5;
/** The browser hands messages over in bunches: a spread of less is not one. */
const SPREAD_MS_MIN = 1;
/** Beyond this nothing depends on it. */
const KBPS_MAX = 200_000;
/** A ping this near to a train may have waited behind it. */
const BESIDE_MS = 40;
/** A ping younger than this may still be on its way. */
const FLIGHT_MS = 1_000;

export class Collector {
  readonly #sent = new Map<number, number>();
  readonly #answered: Ping[] = [];
  readonly #late: number[] = [];
  readonly #trains = new Map<number, Train>();

  /** A ping was sent; `clientUs` is the time in it, `lateMs` by how much its timer was late. */
  pinged(clientUs: number, nowMs: number, lateMs: number): void {
    this.#sent.set(clientUs, nowMs);
    this.#late.push(Math.max(0, lateMs));
  }

  ponged(clientUs: number, nowMs: number): void {
    const sentMs = this.#sent.get(clientUs);
    if (sentMs === undefined) return;
    this.#sent.delete(clientUs);
    this.#answered.push({ sentMs, backMs: nowMs });
  }

  arrived({ train, count }: TrainMessage, nowMs: number): void {
    const known = this.#trains.get(train);
    if (known) {
      known.received += 1;
      known.lastMs = nowMs;
    } else {
      this.#trains.set(train, { count, received: 1, firstMs: nowMs, lastMs: nowMs });
    }
  }

  figures(nowMs: number): Figures {
    const trains = [...this.#trains.values()];
    const lost = [...this.#sent.values()].filter((sentMs) => nowMs - sentMs > FLIGHT_MS).length;
    const due = lost + this.#answered.length;
    const beside = ({ sentMs, backMs }: Ping): boolean =>
      trains.some(({ firstMs, lastMs }) => backMs >= firstMs - BESIDE_MS && sentMs <= lastMs + BESIDE_MS);
    const rtts = (pings: readonly Ping[]): number[] => pings.map(({ sentMs, backMs }) => backMs - sentMs);
    const atRest = this.#answered.filter((ping) => !beside(ping));
    const late = usualLateness(this.#late);
    const count = trains.reduce((sum, train) => sum + train.count, 0);
    const received = trains.reduce((sum, train) => sum + train.received, 0);
    return {
      trips: roundTrips(rtts(atRest), late) ?? roundTrips(rtts(this.#answered), late),
      pings_sent: this.#sent.size + this.#answered.length,
      loss_permille: due === 0 ? 0 : Math.round((lost / due) * 1000),
      kbps: trains.reduce<number | null>((best, train) => larger(best, carried(train)), null),
      train_loss_permille: count === 0 ? null : Math.round(Math.max(0, 1 - received / count) * 1000),
    };
  }
}

/** What the path carried of one train, kbit/s. */
function carried({ received, firstMs, lastMs }: Train): number | null {
  if (received < MESSAGES_MIN) return null;
  const bits = (received - 1) * (TRAIN_BYTES + OVERHEAD_BYTES) * 8;
  return Math.min(KBPS_MAX, Math.round(bits / Math.max(lastMs - firstMs, SPREAD_MS_MIN)));
}

const larger = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));
