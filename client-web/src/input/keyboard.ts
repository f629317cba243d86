/**
 * The keyboard by place (KeyboardEvent.code), not by letter: the app's own layout makes the letter.
 *
 * Owns: which keys are down. Invariants: a key goes up as often as it went down, also when the
 * page loses focus; auto-repeat is the desktop's and is never sent; where no app is in sight no key is taken from the
 * browser. Our own shortcuts (Ctrl+Alt+S, Ctrl+Alt+M, F11) are taken out before. Does not know: text composition (text.ts).
 */
import { KEYS } from "../wire/constants.ts";
import type { Sink } from "./sink.ts";

export type Shortcut = "stats" | "menu" | "fullscreen";

export type KeyboardHooks = {
  /** Whether the keys are the app's now. */
  readonly live: () => boolean;
  readonly shortcut: (shortcut: Shortcut) => void;
  /** Ctrl+V: true if the paste event should come first; `go` then presses the key. */
  readonly paste: (go: () => void) => void;
};

/** Windows sends ControlLeft with AltRight for AltGr, in the same instant. */
const ALTGR_MS = 5;

export class Keyboard {
  readonly #sink: Sink;
  readonly #hooks: KeyboardHooks;
  readonly #down = new Map<string, number>();

  constructor(sink: Sink, hooks: KeyboardHooks) {
    this.#sink = sink;
    this.#hooks = hooks;
  }

  /** Listens on `target` (the stage, or the text field over it) until `signal` says stop. */
  attach(target: HTMLElement, signal: AbortSignal): void {
    target.addEventListener("keydown", (event) => this.#pressed(event), { signal });
    target.addEventListener("keyup", (event) => this.#released(event), { signal });
  }

  /** Whether a key is held that turns a letter into a browser's command. */
  get modifierHeld(): boolean {
    return ["ControlLeft", "ControlRight", "MetaLeft", "MetaRight"].some((code) => this.#down.has(code));
  }

  /** Forgets every key without a word: the release-all packet says it for all of them. */
  forget(): void {
    this.#down.clear();
  }

  /** One press and release, for keys that the browser swallowed. */
  tap(code: string, atMs: number): void {
    this.#send(code, true, atMs);
    this.#send(code, false, atMs);
  }

  #pressed(event: KeyboardEvent): void {
    // 229 or isComposing: an input method is at work and the key is its, not ours.
    if (event.isComposing || event.keyCode === 229) return;
    const shortcut = shortcutOf(event);
    if (shortcut) {
      event.preventDefault();
      if (!event.repeat) this.#hooks.shortcut(shortcut);
      return;
    }
    if (!KEYS.has(event.code) || !this.#hooks.live()) return;
    const pasting = isPaste(event);
    // The paste event is the browser's default action of the key.
    if (!pasting) event.preventDefault();
    if (event.repeat || this.#down.has(event.code)) return;
    if (event.code === "CapsLock") return this.tap("CapsLock", event.timeStamp);
    if (event.code === "AltRight") this.#undoFakeControl(event);
    this.#down.set(event.code, event.timeStamp);
    const go = (): void => this.#send(event.code, true, event.timeStamp);
    if (pasting) this.#hooks.paste(go);
    else go();
  }

  #released(event: KeyboardEvent): void {
    if (!KEYS.has(event.code) || !this.#hooks.live()) return;
    event.preventDefault();
    // macOS sends only one of the two for caps lock, Windows only this one for print screen.
    if (event.code === "CapsLock") return isApple() ? this.tap("CapsLock", event.timeStamp) : undefined;
    if (event.code === "PrintScreen" && !this.#down.has(event.code)) return this.tap(event.code, event.timeStamp);
    if (!this.#down.delete(event.code)) return;
    this.#send(event.code, false, event.timeStamp);
    // macOS tells of no key's release while Command is down: with it all others go up.
    if (isApple() && (event.code === "MetaLeft" || event.code === "MetaRight")) this.#releaseAll(event.timeStamp);
  }

  #releaseAll(atMs: number): void {
    for (const code of this.#down.keys()) this.#send(code, false, atMs);
    this.#down.clear();
  }

  #undoFakeControl(event: KeyboardEvent): void {
    const since = this.#down.get("ControlLeft");
    if (since === undefined || event.key !== "AltGraph" || event.timeStamp - since > ALTGR_MS) return;
    this.#down.delete("ControlLeft");
    this.#send("ControlLeft", false, event.timeStamp);
  }

  #send(code: string, pressed: boolean, atMs: number): void {
    const evdev = KEYS.get(code);
    if (evdev !== undefined) this.#sink({ kind: "key", code: evdev, pressed }, atMs);
  }
}

type Chord = Pick<KeyboardEvent, "code" | "ctrlKey" | "altKey" | "shiftKey" | "metaKey">;

function shortcutOf(event: Chord): Shortcut | null {
  if (event.code === "F11" && !event.ctrlKey && !event.altKey) return "fullscreen";
  if (!event.ctrlKey || !event.altKey || event.shiftKey) return null;
  if (event.code === "KeyS") return "stats";
  return event.code === "KeyM" ? "menu" : null;
}

function isPaste(event: Chord): boolean {
  if (event.code === "Insert") return event.shiftKey && !event.ctrlKey && !event.altKey;
  return event.code === "KeyV" && (event.ctrlKey || event.metaKey) && !event.altKey;
}

const isApple = (): boolean => /Mac|iPhone|iPad/.test(navigator.platform);
