/**
 * Wheel deltas as 1/120 of a notch. Browsers report pixels, lines or pages, each with another size
 * of a notch; the fraction that does not make a whole unit is kept for the next event. Pure state.
 */

/** What of WheelEvent is read. `wheelDelta*` is 120 a notch in every browser that has it. */
export type WheelSample = {
  readonly deltaX: number;
  readonly deltaY: number;
  readonly deltaMode: number;
  readonly wheelDeltaX?: number;
  readonly wheelDeltaY?: number;
};

/** Three lines a notch is what desktops are set to; 100 pixels is Chromium's own notch. */
const UNITS_A_LINE = 40;
const UNITS_A_PIXEL = 1.2;
const UNITS_A_PAGE = 120;

export class WheelScale {
  #restX = 0;
  #restY = 0;

  /** The whole units of this event and what was left before, or null where there are none. */
  turn(sample: WheelSample): { dx: number; dy: number } | null {
    const x = this.#restX + units(sample.deltaX, sample.deltaMode, sample.wheelDeltaX);
    const y = this.#restY + units(sample.deltaY, sample.deltaMode, sample.wheelDeltaY);
    const dx = Math.trunc(x);
    const dy = Math.trunc(y);
    this.#restX = x - dx;
    this.#restY = y - dy;
    return dx === 0 && dy === 0 ? null : { dx, dy };
  }
}

function units(delta: number, mode: number, wheelDelta: number | undefined): number {
  // A real notch is a multiple of 120; trackpads report other numbers, and pixels are truer there.
  if (wheelDelta !== undefined && wheelDelta !== 0 && wheelDelta % 120 === 0) return -wheelDelta;
  if (mode === 1) return delta * UNITS_A_LINE;
  return delta * (mode === 2 ? UNITS_A_PAGE : UNITS_A_PIXEL);
}
