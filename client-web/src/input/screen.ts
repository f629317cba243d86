/**
 * The player's screen as a device: how large the picture's place is in the screen's own pixels and
 * how often the screen shows a new one, told to the node so that its display follows the window.
 *
 * Owns: what was told last. Invariants: sides are even; a window that is being dragged is told once
 * it rests; nothing is told twice to one attachment. Does not know: who chose the limits.
 */
import type { Sink } from "./sink.ts";

export type Size = { readonly width: number; readonly height: number };
export type ScreenLimits = {
  /** The display's height at most, pixels. */
  readonly heightMax: number;
  /** Its rate: at most `max`, or `exact` whatever the screen does. */
  readonly hz: { readonly max: number } | { readonly exact: number };
};

/** Between these shapes games look right; outside them the picture gets bars. */
const ASPECT_MIN = 4 / 3;
const ASPECT_MAX = 64 / 27;
/** Less, and menus can no longer be read. */
const HEIGHT_MIN = 360;
const RATES_HZ = [60, 90, 120, 144] as const;
/** A screen of 59.94 Hz counts as 60. */
const RATE_TOLERANCE = 1.02;
const SETTLE_MS = 300;
const RATE_FRAMES = 24;

/** The display for a place of so many screen pixels. */
export function fitDisplay(place: Size, heightMax: number): Size {
  if (place.width <= 0 || place.height <= 0) return { width: 1280, height: 720 };
  const width = Math.min(place.width, place.height * ASPECT_MAX);
  const height = Math.min(place.height, place.width / ASPECT_MIN);
  const scale = Math.max(HEIGHT_MIN / height, Math.min(1, heightMax / height));
  // Down, never up: at full scale the picture must fit its place pixel by pixel.
  const even = (side: number): number => 2 * Math.floor((side * scale + 0.01) / 2);
  return { width: even(width), height: even(height) };
}

/** The screen's rate by the times of its frames, or null where they are too few. A page that was
 *  held up skips frames, so the shorter intervals are the true ones. */
export function screenRate(framesAtMs: readonly number[]): number | null {
  const intervals = framesAtMs.slice(1).map((at, i) => at - (framesAtMs[i] ?? at)).filter((ms) => ms > 1);
  if (intervals.length < 8) return null;
  const typical = intervals.sort((a, b) => a - b)[Math.floor(intervals.length / 4)] ?? 0;
  return typical > 0 ? 1000 / typical : null;
}

/** The rate to ask of the display. */
export function displayRate(screenHz: number | null, limit: ScreenLimits["hz"]): number {
  if ("exact" in limit) return limit.exact;
  const shown = Math.min(limit.max, (screenHz ?? 60) * RATE_TOLERANCE);
  return RATES_HZ.findLast((hz) => hz <= shown) ?? Math.min(60, limit.max);
}

export class Screen {
  readonly #sink: Sink;
  readonly #limits: () => ScreenLimits;
  #place: Size = { width: 0, height: 0 };
  #screenHz: number | null = null;
  #told = "";
  /** There is, or was, an attachment to tell. */
  #announced = false;
  #timer: number | undefined;

  constructor(sink: Sink, limits: () => ScreenLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** Follows `element` until `signal` says stop. */
  attach(element: HTMLElement, signal: AbortSignal): void {
    const observer = new ResizeObserver(([entry]) => {
      if (!entry) return;
      this.#place = screenPixels(entry);
      this.#soon(signal);
    });
    try {
      // Also tells when the page moves to a screen of another density.
      observer.observe(element, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(element);
    }
    // Full screen may be on another screen, with another rate.
    document.addEventListener("fullscreenchange", () => this.#soon(signal), { signal });
    signal.addEventListener("abort", () => {
      observer.disconnect();
      clearTimeout(this.#timer);
    });
    void this.#measure(signal);
  }

  /** Tells a new attachment, now or once the picture has a place: a page in the background has none. */
  announce(): void {
    this.#announced = true;
    this.#told = "";
    this.tell();
  }

  /** Tells what is new: after a change of limits. */
  tell(): void {
    if (this.#place.width === 0) return;
    const limits = this.#limits();
    const display = { ...fitDisplay(this.#place, limits.heightMax), hz: displayRate(this.#screenHz, limits.hz) };
    const key = JSON.stringify(display);
    if (key === this.#told) return;
    this.#told = key;
    this.#sink({ kind: "display", ...display }, performance.now());
  }

  #soon(signal: AbortSignal): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#measure(signal), SETTLE_MS);
  }

  /** Reads the screen's rate, then tells what changed, if there is somebody to tell. */
  async #measure(signal: AbortSignal): Promise<void> {
    const frames: number[] = [];
    await new Promise<void>((done) => {
      if (document.hidden) return done();
      const look = (atMs: number): void => {
        frames.push(atMs);
        if (frames.length > RATE_FRAMES || signal.aborted) done();
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    this.#screenHz = screenRate(frames) ?? this.#screenHz;
    if (!signal.aborted && this.#announced) this.tell();
  }
}

function screenPixels(entry: ResizeObserverEntry): Size {
  const exact = entry.devicePixelContentBoxSize?.[0];
  const { width, height } = entry.contentRect;
  return {
    width: side(exact?.inlineSize, width * devicePixelRatio),
    height: side(exact?.blockSize, height * devicePixelRatio),
  };
}

/** The browser's own count, where it has one that can be true: emulated screens report another. */
const side = (exact: number | undefined, about: number): number =>
  exact !== undefined && Math.abs(exact - about) < 2 ? exact : Math.round(about);

/** The place that a picture over the whole page would have, in screen pixels. */
export function pagePlace(): Size {
  return { width: Math.round(innerWidth * devicePixelRatio), height: Math.round(innerHeight * devicePixelRatio) };
}
