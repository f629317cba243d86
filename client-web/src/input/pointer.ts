/**
 * Mouse, pen and finger as pointer events: absolute while the pointer is free, relative while it
 * is locked. A finger is a pointer with its left button, so that phones can click.
 *
 * Invariants: a button that went down here goes up, wherever that happens (pointer capture); a
 * button's packet carries its position and waits for no motion; where no app is in sight the mouse is the page's.
 * Does not know: who locks the pointer (pointer-lock.ts).
 */
import type { Position } from "../wire/codec.ts";
import { pictureBox, toDisplay } from "./geometry.ts";
import type { Sink } from "./sink.ts";
import { WheelScale, type WheelSample } from "./wheel.ts";

/** Gaming mice report 1 000 times a second and more; the seat gains nothing past this. */
const MOTION_PERIOD_MS = 2;
const BUTTON_MAX = 4;
const SUBPIXELS = 256;

export class Pointer {
  readonly #sink: Sink;
  readonly #video: HTMLVideoElement;
  readonly #live: () => boolean;
  readonly #wheel = new WheelScale();
  /** The finger that moves the pointer; a second one is ignored. */
  #finger: number | null = null;
  #held = new Set<number>();
  #motion: { x: number; y: number } | { dx: number; dy: number } | null = null;
  #sentAt = 0;
  #timer: number | undefined;

  /** `live`: whether the pointer is the app's now. */
  constructor(video: HTMLVideoElement, sink: Sink, live: () => boolean) {
    this.#video = video;
    this.#live = live;
    this.#sink = sink;
  }

  attach(stage: HTMLElement, signal: AbortSignal): void {
    // Raw updates come at once, pointermove waits for the next frame of the page.
    const move = "onpointerrawupdate" in stage && isSecureContext ? "pointerrawupdate" : "pointermove";
    const on = <K extends keyof HTMLElementEventMap>(name: K, then: (event: HTMLElementEventMap[K]) => void): void =>
      stage.addEventListener(name, (event) => this.#live() && then(event), { signal, passive: false });
    stage.addEventListener(move, (event) => this.#live() && this.#moved(event as PointerEvent), { signal });
    on("pointerdown", (event) => this.#pressed(event, stage));
    on("pointerup", (event) => this.#released(event));
    on("pointercancel", (event) => this.#released(event));
    on("wheel", (event) => this.#turned(event));
    on("contextmenu", (event) => event.preventDefault());
    on("auxclick", (event) => event.preventDefault());
    // Chorded buttons come as moves in pointer events; mouse events have each of them.
    on("mousedown", (event) => this.#button(event, true));
    on("mouseup", (event) => this.#button(event, false));
    on("touchstart", (event) => event.preventDefault());
    on("dragstart", (event) => event.preventDefault());
    addEventListener("mouseup", (event) => event.target !== stage && this.#live() && this.#button(event, false), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** Forgets held buttons: the release-all packet says it for all of them. */
  forget(): void {
    this.#held.clear();
    this.#finger = null;
    this.#motion = null;
  }

  get #locked(): boolean {
    return document.pointerLockElement !== null;
  }

  #at(event: MouseEvent): Position {
    const { videoWidth, videoHeight } = this.#video;
    const picture = pictureBox(this.#video.getBoundingClientRect(), videoWidth, videoHeight);
    return toDisplay(event.clientX, event.clientY, picture);
  }

  #moved(event: PointerEvent): void {
    if (event.pointerType === "touch" && event.pointerId !== this.#finger) return;
    if (this.#locked) {
      const all = event.getCoalescedEvents();
      const moves = all.length > 0 ? all : [event];
      const before = this.#motion && "dx" in this.#motion ? this.#motion : { dx: 0, dy: 0 };
      const dx = moves.reduce((sum, move) => sum + move.movementX, before.dx);
      const dy = moves.reduce((sum, move) => sum + move.movementY, before.dy);
      this.#motion = { dx, dy };
    } else {
      this.#motion = this.#at(event);
    }
    this.#pace(event.timeStamp);
  }

  /** At most one motion packet in each period; the last one always goes out. */
  #pace(atMs: number): void {
    if (performance.now() - this.#sentAt >= MOTION_PERIOD_MS) this.#flush(atMs);
    else this.#timer ??= setTimeout(() => this.#flush(atMs), MOTION_PERIOD_MS);
  }

  #flush(atMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const motion = this.#motion;
    if (!motion) return;
    this.#motion = null;
    this.#sentAt = performance.now();
    if ("x" in motion) this.#sink({ kind: "pointer-absolute", x: motion.x, y: motion.y }, atMs);
    else if (motion.dx !== 0 || motion.dy !== 0) {
      const dx = Math.round(motion.dx * SUBPIXELS);
      this.#sink({ kind: "pointer-relative", dx, dy: Math.round(motion.dy * SUBPIXELS) }, atMs);
    }
  }

  #pressed(event: PointerEvent, stage: HTMLElement): void {
    if (!this.#locked) stage.setPointerCapture(event.pointerId);
    if (event.pointerType === "mouse" || this.#finger !== null) return;
    this.#finger = event.pointerId;
    this.#motion = this.#at(event);
    this.#flush(event.timeStamp);
    this.#press(0, true, this.#at(event), event.timeStamp);
  }

  #released(event: PointerEvent): void {
    if (event.pointerType === "mouse" || event.pointerId !== this.#finger) return;
    this.#finger = null;
    this.#press(0, false, this.#at(event), event.timeStamp);
  }

  #button(event: MouseEvent, pressed: boolean): void {
    // A touch is followed by made-up mouse events unless its default was prevented; it was.
    if (event.button > BUTTON_MAX || (this.#finger !== null && event.button === 0)) return;
    if (pressed) (event.currentTarget as HTMLElement | null)?.focus?.({ preventScroll: true });
    event.preventDefault();
    this.#flush(event.timeStamp);
    this.#press(event.button, pressed, this.#locked ? null : this.#at(event), event.timeStamp);
  }

  #press(button: number, pressed: boolean, position: Position | null, atMs: number): void {
    if (pressed === this.#held.has(button)) return;
    if (pressed) this.#held.add(button);
    else this.#held.delete(button);
    this.#sink({ kind: "pointer-button", button, pressed, position }, atMs);
  }

  #turned(event: WheelEvent): void {
    event.preventDefault();
    const turn = this.#wheel.turn(event as WheelSample);
    if (turn) this.#sink({ kind: "wheel", ...turn }, event.timeStamp);
  }
}
