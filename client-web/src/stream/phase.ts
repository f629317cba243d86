/**
 * Keeps frames away from the screen's refreshes: measures how long each frame waits for the refresh that
 * shows it, and tells the node how much later or sooner it had better make them.
 *
 * A frame that comes close to a refresh is shown by it or by the next one, as jitter has it; then two
 * frames meet in one refresh, and the eye sees one of them and a picture that stands still. A frame that
 * comes right after one waits a whole period for nothing. So frames are to come a little before the
 * refresh: as little as their jitter allows.
 *
 * Waits are an angle, not a number: just before a refresh and just after it are neighbours. Hence the
 * circular mean and deviation (Mardia and Jupp, Directional Statistics, 2000, chapter 2).
 *
 * Owns: the frames of the last second. Invariants: says nothing unless one frame comes for each refresh
 * and their waits agree; says nothing new before the last word can have shown. Does not know: the DOM,
 * the wire, what delays frames.
 */

/** One frame that was shown, times in ms of the browser's performance clock. */
export type Shown = {
  /** The refresh that showed it. */
  readonly refreshAtMs: number;
  /** When it was ready to be shown. */
  readonly readyAtMs: number;
  /** Frames that were ready by then, this one included: more than were shown where two met. */
  readonly count: number;
};

/** A second at 60 Hz: jitter averages out, and a screen of 59.94 Hz drifts by a millisecond. */
const WINDOW = 60;
/** While a shift is on its way and carried out, frames tell of neither phase. */
const SETTLE = 30;
/** Frames per refresh, beyond which the two clocks have nothing to do with each other. */
const ONE_EACH = 0.03;
/** Below this mean resultant length the waits are all over the period. */
const AGREEMENT_MIN = 0.3;
/** The wait to aim at: the jitter's reach, and what the browser needs to take a frame up. */
const DEVIATIONS = 2.5;
const MARGIN_MS = 1;
/** Its bounds, shares of the period. */
const AIM_MIN = 0.2;
const AIM_MAX = 0.5;
/** A shift by less than this share of a period is not worth a word. */
const GRAIN = 0.08;

export class PhaseLock {
  readonly #shift: (shiftUs: number) => void;
  #frames: Shown[] = [];
  #skip = 0;

  /** `shift` is told how many microseconds later frames had better come; negative is sooner. */
  constructor(shift: (shiftUs: number) => void) {
    this.#shift = shift;
  }

  shown(frame: Shown): void {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return;
    }
    this.#frames.push(frame);
    if (this.#frames.length < WINDOW) return;
    const shiftUs = shiftOf(this.#frames);
    this.#frames = [];
    if (shiftUs === null) return;
    this.#skip = SETTLE;
    this.#shift(shiftUs);
  }
}

/** How much later the frames of a window had better come, or null for: as they are. */
export function shiftOf(frames: readonly Shown[]): number | null {
  const [first, last] = [frames[0], frames.at(-1)];
  if (!first || !last) return null;
  const gaps = frames.slice(1).map(({ refreshAtMs }, i) => refreshAtMs - (frames[i]?.refreshAtMs ?? refreshAtMs));
  // A refresh that showed nothing new makes a gap longer, nothing makes one shorter.
  const period = gaps.sort((a, b) => a - b)[Math.floor(gaps.length / 4)] ?? 0;
  const spanMs = last.refreshAtMs - first.refreshAtMs;
  if (period <= 0 || spanMs <= 0) return null;
  const each = ((last.count - first.count) * period) / spanMs;
  if (Math.abs(each - 1) > ONE_EACH) return null;

  const angles = frames.map(({ refreshAtMs, readyAtMs }) => (2 * Math.PI * (refreshAtMs - readyAtMs)) / period);
  const mean = (part: (angle: number) => number): number => angles.reduce((sum, angle) => sum + part(angle), 0) / angles.length;
  const [cos, sin] = [mean(Math.cos), mean(Math.sin)];
  const agreement = Math.hypot(cos, sin);
  if (agreement < AGREEMENT_MIN) return null;
  const wait = (Math.atan2(sin, cos) / (2 * Math.PI)) * period;
  const deviation = (Math.sqrt(-2 * Math.log(Math.min(1, agreement))) / (2 * Math.PI)) * period;
  const aim = Math.min(AIM_MAX * period, Math.max(AIM_MIN * period, DEVIATIONS * deviation + MARGIN_MS));
  // The shorter way round.
  const late = wait - aim;
  const shift = late - period * Math.round(late / period);
  return Math.abs(shift) < GRAIN * period ? null : Math.round(shift * 1000);
}
