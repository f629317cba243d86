/**
 * Whether a line is good for playing, and which part of it is at fault. Pure. The suspects are
 * those of the stream's diagnosis, without this device: nothing is decoded in a check.
 */
import { grade, isOwn, mayBeRadio, worst, type Diagnosis, type Fault, type Grade, type Medium } from "../stream/diagnosis.ts";
import type { Figures } from "./figures.ts";

/** From `fair` on and from `poor` on; a player feels these in every click. */
const DISTANCE_MS = [45, 110] as const;
const JITTER_MS = [12, 35] as const;
/** One ping of fifty is 20 per mille, and no sign yet. */
const LOSS_PERMILLE = [30, 80] as const;
/** A train may overrun a short queue; only much of it lost is a sign. */
const TRAIN_LOSS_PERMILLE = [150, 400] as const;
/** 720p at 60 pictures a second looks right from 10 Mbit/s on, and tolerable from 3. */
const KBPS_GOOD = 10_000;
const KBPS_FAIR = 3_000;
/** Half of the pings unanswered where the trains came through: the node has no time for us. */
const SILENT_PERMILLE = 500;

const RANK: Readonly<Record<Grade, number>> = { good: 0, fair: 1, poor: 2 };

export function judge(figures: Figures, medium: Medium | null): Diagnosis {
  const grades = suspects(figures, medium);
  const [fault, found] = grades.reduce((worse, one) => (RANK[one[1]] > RANK[worse[1]] ? one : worse));
  return found === "good" ? { grade: "good", fault: null } : { grade: found, fault };
}

function suspects({ trips, loss_permille, kbps, train_loss_permille }: Figures, medium: Medium | null): readonly (readonly [Fault, Grade])[] {
  const capacity: Grade = kbps === null || kbps >= KBPS_GOOD ? "good" : kbps >= KBPS_FAIR ? "fair" : "poor";
  const silent = loss_permille >= SILENT_PERMILLE && (train_loss_permille ?? 1000) < TRAIN_LOSS_PERMILLE[0];
  const loss = silent ? "good" : grade(loss_permille, LOSS_PERMILLE);
  const least = trips?.min_ms ?? Number.POSITIVE_INFINITY;
  const jitter = isOwn(least, medium) ? "good" : grade(trips?.jitter_ms ?? null, JITTER_MS);
  const near = least < DISTANCE_MS[0];
  const radio = mayBeRadio(medium) && near && jitter !== "good" && capacity !== "poor";
  const steady = worst(jitter, loss);
  return [
    ["node", silent ? "poor" : "good"],
    ["wifi", radio ? steady : "good"],
    ["line", worst(capacity, grade(train_loss_permille, TRAIN_LOSS_PERMILLE), radio ? "good" : steady)],
    ["distance", grade(trips?.min_ms ?? null, DISTANCE_MS)],
  ];
}
