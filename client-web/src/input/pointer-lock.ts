/**
 * Pointer lock on the app's wish. Browsers grant it only in a gesture, so a wish is kept until the
 * next click; Escape gives it back to the player without the app ever seeing the key, so the app
 * gets an Escape of its own: its menu opens, as the player expects.
 */

export type PointerLockHooks = {
  /** A wish waits for a click (`true`) or is settled. */
  readonly waiting: (waiting: boolean) => void;
  /** The player pressed Escape to get out. */
  readonly escaped: () => void;
};

export class PointerLock {
  readonly #stage: HTMLElement;
  readonly #hooks: PointerLockHooks;
  #wanted = false;
  #letGo = false;

  constructor(stage: HTMLElement, hooks: PointerLockHooks) {
    this.#stage = stage;
    this.#hooks = hooks;
  }

  attach(signal: AbortSignal): void {
    this.#stage.addEventListener("pointerdown", () => void this.#ask(), { signal, capture: true });
    document.addEventListener("pointerlockchange", () => this.#changed(), { signal });
    document.addEventListener("pointerlockerror", () => this.#hooks.waiting(this.#wanted), { signal });
    signal.addEventListener("abort", () => this.want(false));
  }

  get locked(): boolean {
    return document.pointerLockElement === this.#stage;
  }

  /** The app wants the pointer, or lets it go. */
  want(wanted: boolean): void {
    this.#wanted = wanted;
    if (wanted) void this.#ask();
    else this.free();
    this.#hooks.waiting(wanted && !this.locked);
  }

  /** Gives the pointer to the page's own controls. The app's wish stands: the next click renews it. */
  free(): void {
    if (!this.locked) return;
    this.#letGo = true;
    document.exitPointerLock();
  }

  async #ask(): Promise<void> {
    if (!this.#wanted || this.locked || !("requestPointerLock" in this.#stage)) return;
    // Raw motion without the desktop's acceleration where there is such a thing; else as it is.
    try {
      await this.#stage.requestPointerLock({ unadjustedMovement: true });
    } catch (cause) {
      if (!(cause instanceof DOMException) || cause.name !== "NotSupportedError") return;
      await this.#stage.requestPointerLock().catch(() => undefined);
    }
  }

  #changed(): void {
    const byPlayer = !this.locked && this.#wanted && !this.#letGo && document.hasFocus() && !document.hidden;
    this.#letGo = false;
    this.#hooks.waiting(this.#wanted && !this.locked);
    if (byPlayer) this.#hooks.escaped();
  }
}
