/**
 * All of a player's devices on one stage. Wires the parts of this folder and owns the two rules
 * that span them: whenever the page stops hearing the player, everything is let go; and while
 * something else is over the picture, keys and pointer are the browser's.
 */
import type { Cursor } from "../wire/types.ts";
import { Clipboard } from "./clipboard.ts";
import { cssCursor } from "./cursor.ts";
import { Fullscreen, guardLeaving } from "./fullscreen.ts";
import { noticeGamepad } from "./gamepad.ts";
import { Keyboard, type Shortcut } from "./keyboard.ts";
import { Pointer } from "./pointer.ts";
import { PointerLock } from "./pointer-lock.ts";
import { Screen, type ScreenLimits } from "./screen.ts";
import type { Sink } from "./sink.ts";
import { attachText } from "./text.ts";

export type Stage = {
  /** Takes focus, keys and pointer. */
  readonly surface: HTMLElement;
  readonly video: HTMLVideoElement;
  /** Takes composed text while the player types. */
  readonly field: HTMLTextAreaElement;
};

export type DeskHooks = {
  /** Whether the app is in sight, and what the player does is for it. */
  readonly live: () => boolean;
  readonly shortcut: (shortcut: Shortcut) => void;
  readonly pointerLockWaits: (waiting: boolean) => void;
  /** The player took up a gamepad, which no app can be given. */
  readonly gamepad: () => void;
  readonly fullscreen: (on: boolean, keyboardLocked: boolean) => void;
  readonly screenLimits: () => ScreenLimits;
};

export class Desk {
  readonly fullscreen = new Fullscreen();
  readonly clipboard: Clipboard;
  readonly screen: Screen;
  readonly #stage: Stage;
  readonly #lock: PointerLock;
  readonly #letGo: () => void;

  constructor(stage: Stage, sink: Sink, hooks: DeskHooks, signal: AbortSignal) {
    this.#stage = stage;
    this.clipboard = new Clipboard(sink);
    const keyboard = new Keyboard(sink, {
      live: hooks.live,
      shortcut: hooks.shortcut,
      paste: (go) => this.clipboard.beforePaste(go),
    });
    const pointer = new Pointer(stage.video, sink, hooks.live);
    this.#lock = new PointerLock(stage.surface, {
      waiting: hooks.pointerLockWaits,
      // With the keyboard lock the app has seen the key itself.
      escaped: () => this.fullscreen.keyboardLocked || keyboard.tap("Escape", performance.now()),
    });
    this.screen = new Screen(sink, hooks.screenLimits);
    this.screen.attach(stage.surface, signal);
    keyboard.attach(stage.surface, signal);
    keyboard.attach(stage.field, signal);
    attachText(stage.field, sink, signal);
    pointer.attach(stage.surface, signal);
    this.#lock.attach(signal);
    this.clipboard.attach(signal);
    this.fullscreen.attach(hooks.fullscreen, signal);
    noticeGamepad(hooks.gamepad, signal);
    guardLeaving(() => keyboard.modifierHeld && !this.fullscreen.keyboardLocked, signal);

    const letGo = (this.#letGo = (): void => {
      keyboard.forget();
      pointer.forget();
      sink({ kind: "release-all" }, performance.now());
    });
    addEventListener("blur", letGo, { signal });
    addEventListener("pagehide", letGo, { signal });
    document.addEventListener("visibilitychange", () => document.hidden && letGo(), { signal });
    // Focus moved to a button or field of ours: its keys are not the app's, nor are those held.
    for (const target of [stage.surface, stage.field]) {
      target.addEventListener(
        "focusout",
        (event) => event.relatedTarget !== stage.surface && event.relatedTarget !== stage.field && letGo(),
        { signal },
      );
    }
  }

  setCursor(cursor: Cursor): void {
    this.#stage.surface.style.cursor = cssCursor(cursor);
  }

  wantPointerLock(wanted: boolean): void {
    this.#lock.want(wanted);
  }

  freePointer(): void {
    this.#lock.free();
  }

  /** Back to a plain pointer with nothing held: the app is out of reach. */
  reset(): void {
    this.#letGo();
    this.#lock.want(false);
    this.#stage.surface.style.cursor = "";
  }

  focus(): void {
    this.#stage.surface.focus({ preventScroll: true });
  }

  /** Brings up the text field, and with it a phone's keyboard; or puts it away. */
  type(on: boolean): void {
    if (on) this.#stage.field.focus({ preventScroll: true });
    else this.focus();
  }
}
