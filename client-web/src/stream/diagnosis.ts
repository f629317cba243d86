/**
 * What is at fault when a stream is not good: one of five suspects, or none. Pure; fed once a
 * second with what was measured here and what the node told.
 *
 * Each suspect is graded by its own signs, and the worst one is named. What tells them apart:
 * - `device`: decoding takes as long as a picture lasts, or pictures arrive and are not shown.
 * - `node`: drawing or encoding takes that long, or the node's uplink is shared out.
 * - `line`: packets are lost, queues stand, or there is little capacity.
 * - `wifi`: the round trip jumps while its minimum is low and no queue stands: sent again in the air.
 * - `distance`: the least round trip, which no queue and no repetition is part of.
 *
 * Does not know: words for people (ui/faults.ts), how long it has been so (alarm.ts).
 */
import type { LimitedBy } from "../wire/types.ts";

export type Fault = "device" | "node" | "line" | "wifi" | "distance";
export type Grade = "good" | "fair" | "poor";
export type Diagnosis = { readonly grade: Grade; readonly fault: Fault | null };
/** What the browser is connected by, where it tells. `loopback`: node and browser are one machine. */
export type Medium = "wired" | "wifi" | "cellular" | "loopback";

export type RoundTrips = {
  readonly min_ms: number;
  readonly median_ms: number;
  /** From the least to what nine of ten stay under. */
  readonly jitter_ms: number;
};

/** One second's signs; `null` is "not known". */
export type Signs = {
  readonly trips: RoundTrips | null;
  readonly loss_permille: number | null;
  readonly queue_ms: number | null;
  readonly kbps_target: number | null;
  readonly limited_by: LimitedBy | null;
  /** How long a picture lasts at the stream's rate. */
  readonly period_ms: number;
  /** What the node does to a picture before it is sent: the slower of copying and encoding. */
  readonly encode_ms: number | null;
  readonly decode_ms: number | null;
  /** Share of the pictures that arrived in time and were dropped here. */
  readonly dropped_share: number | null;
  readonly medium: Medium | null;
};

/** From `fair` on and from `poor` on; a value below both is good. */
type Bounds = readonly [fair: number, poor: number];
const DISTANCE_MS: Bounds = [60, 120];
const JITTER_MS: Bounds = [15, 40];
const QUEUE_MS: Bounds = [40, 90];
const LOSS_PERMILLE: Bounds = [10, 40];
/** Shares of a picture's period: past one, pictures are late for good. */
const WORK_SHARE: Bounds = [0.7, 1];
const DROPPED_SHARE: Bounds = [0.03, 0.1];
/** A queue that stands explains jitter; below this there is none. */
const NO_QUEUE_MS = 15;
/** Below these even a small picture shows blocks. */
const KBPS_FAIR = 3_000;
const KBPS_POOR = 1_200;

const RANK: Readonly<Record<Grade, number>> = { good: 0, fair: 1, poor: 2 };

export const grade = (value: number | null, [fair, poor]: Bounds): Grade =>
  value === null || value < fair ? "good" : value < poor ? "fair" : "poor";

export const worst = (...grades: readonly Grade[]): Grade =>
  grades.reduce((worse, one) => (RANK[one] > RANK[worse] ? one : worse), "good");

/** The least, the middle and the spread of some round trips, or null where they are too few. As much
 *  as the page itself is usually late is taken off the spread: it is no sign of the line. */
export function roundTrips(rttsMs: readonly number[], lateMs = 0): RoundTrips | null {
  if (rttsMs.length < 4) return null;
  const sorted = [...rttsMs].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  const min_ms = sorted[0] ?? 0;
  return { min_ms, median_ms: at(0.5), jitter_ms: Math.max(0, at(0.9) - min_ms - lateMs) };
}

export function diagnose(signs: Signs): Diagnosis {
  const grades = suspects(signs);
  const fault = (Object.keys(grades) as Fault[]).reduce((worse, one) => (RANK[grades[one]] > RANK[grades[worse]] ? one : worse), "device");
  const found = grades[fault];
  return found === "good" ? { grade: "good", fault: null } : { grade: found, fault };
}

/** Every suspect's grade. Of equals the first is blamed: what can be mended here stands first. */
function suspects(signs: Signs): Readonly<Record<Fault, Grade>> {
  const work = (ms: number | null): Grade => grade(ms === null ? null : ms / signs.period_ms, WORK_SHARE);
  const shared = signs.limited_by === "node" || signs.limited_by === "uplink" ? "fair" : "good";
  const { line, wifi } = air(signs);
  return {
    device: worst(work(signs.decode_ms), grade(signs.dropped_share, DROPPED_SHARE)),
    node: worst(work(signs.encode_ms), shared, signs.limited_by === "uplink" ? capacity(signs) : "good"),
    wifi,
    line,
    distance: grade(signs.trips?.min_ms ?? null, DISTANCE_MS),
  };
}

/** Quicker than any radio: jitter on such a path is the machine's own, and no sign of anything. */
const OWN_MS = 1.5;
export const isOwn = (leastMs: number, medium: Medium | null): boolean => leastMs < OWN_MS || medium === "loopback";
export const mayBeRadio = (medium: Medium | null): boolean => medium === null || medium === "wifi";

const capacity = ({ kbps_target }: Signs): Grade =>
  kbps_target === null || kbps_target >= KBPS_FAIR ? "good" : kbps_target >= KBPS_POOR ? "fair" : "poor";

/** Jitter and loss are the line's or the radio's: a queue that stands, or a cable, speaks for the line. */
function air(signs: Signs): { readonly line: Grade; readonly wifi: Grade } {
  const least = signs.trips?.min_ms ?? Number.POSITIVE_INFINITY;
  const jitter = grade(isOwn(least, signs.medium) ? null : (signs.trips?.jitter_ms ?? null), JITTER_MS);
  const loss = grade(signs.loss_permille, LOSS_PERMILLE);
  const narrow = signs.limited_by === "capacity" || signs.limited_by === "loss" ? capacity(signs) : "good";
  const line = worst(grade(signs.queue_ms, QUEUE_MS), narrow);
  const queued = (signs.queue_ms ?? 0) > NO_QUEUE_MS || signs.limited_by === "capacity";
  const near = least < DISTANCE_MS[0];
  const radio = mayBeRadio(signs.medium) && near && !queued && jitter !== "good";
  return radio ? { line, wifi: worst(jitter, loss) } : { line: worst(line, jitter, loss), wifi: "good" };
}
