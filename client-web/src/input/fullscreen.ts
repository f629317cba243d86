/**
 * Fullscreen with the keyboard lock: where a browser has it, Escape, Alt+Tab and the rest go to the
 * app, and holding Escape leaves. Where not, a guard asks before an accidental Ctrl+W.
 */

type LockableKeyboard = { lock?: (keys?: string[]) => Promise<void>; unlock?: () => void };
type NavigatorWithKeyboard = Navigator & { readonly keyboard?: LockableKeyboard };

const keyboard = (): LockableKeyboard | undefined => (navigator as NavigatorWithKeyboard).keyboard;

export const canFullscreen = (): boolean => document.fullscreenEnabled === true;
export const canLockKeyboard = (): boolean => typeof keyboard()?.lock === "function";

export class Fullscreen {
  #locked = false;

  /** `changed` is told each time: whether it is on, and whether the keyboard is ours. */
  attach(changed: (on: boolean, keyboardLocked: boolean) => void, signal: AbortSignal): void {
    const look = (): void => {
      const on = document.fullscreenElement !== null;
      if (!on && this.#locked) {
        this.#locked = false;
        keyboard()?.unlock?.();
      }
      changed(on, this.#locked);
      if (on && canLockKeyboard()) {
        void keyboard()?.lock?.().then(
          () => {
            this.#locked = document.fullscreenElement !== null;
            changed(this.#locked, this.#locked);
          },
          () => undefined,
        );
      }
    };
    document.addEventListener("fullscreenchange", look, { signal });
    signal.addEventListener("abort", () => this.#locked && keyboard()?.unlock?.());
  }

  get keyboardLocked(): boolean {
    return this.#locked;
  }

  async toggle(element: HTMLElement): Promise<void> {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await element.requestFullscreen({ navigationUI: "hide" });
    } catch {
      // Refused: an embedding page, or no gesture. The picture stays as it is.
    }
  }
}

/** Asks before leaving while `risky` says that a browser's shortcut may have been meant for the app. */
export function guardLeaving(risky: () => boolean, signal: AbortSignal): void {
  addEventListener("beforeunload", (event) => risky() && event.preventDefault(), { signal });
}
