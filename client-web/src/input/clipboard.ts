/**
 * The clipboard both ways. Towards the app: with the paste gesture, before the key that pastes;
 * and, where the player allowed reading, whenever the page gains focus. From the app: written at
 * once where the browser lets us, else offered as a button.
 *
 * Invariant: what came from the app is never sent back as if it were the player's.
 */
import { CLIPBOARD_BYTES_MAX } from "../wire/constants.ts";
import type { Sink } from "./sink.ts";
import { splitText } from "./text.ts";

/** The paste event follows the key in the same task; where none comes the key goes alone. */
const PASTE_WAIT_MS = 40;

export class Clipboard {
  readonly #sink: Sink;
  #known = "";
  #go: (() => void) | null = null;
  #timer: number | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  attach(signal: AbortSignal): void {
    document.addEventListener("paste", (event) => this.#pasted(event), { signal });
    addEventListener("focus", () => void this.#readIfAllowed(), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
  }

  /** Ctrl+V went down: `go` presses it once the text is on its way. */
  beforePaste(go: () => void): void {
    this.#settle();
    this.#go = go;
    this.#timer = setTimeout(() => this.#settle(), PASTE_WAIT_MS);
  }

  /** Text that the app copied. False where the browser wants a gesture first. */
  async copied(text: string): Promise<boolean> {
    this.#known = text;
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false;
    }
  }

  /** Asks for the permission to read and reads; for a button in the settings. */
  async allowReading(): Promise<boolean> {
    try {
      this.#offer(await navigator.clipboard.readText(), performance.now());
      return true;
    } catch {
      return false;
    }
  }

  #pasted(event: ClipboardEvent): void {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    if (event.target instanceof HTMLInputElement) return;
    event.preventDefault();
    this.#known = "";
    this.#offer(text, event.timeStamp);
    this.#settle();
  }

  #settle(): void {
    clearTimeout(this.#timer);
    const go = this.#go;
    this.#go = null;
    go?.();
  }

  async #readIfAllowed(): Promise<void> {
    try {
      const permission = await navigator.permissions.query({ name: "clipboard-read" as PermissionName });
      if (permission.state === "granted") this.#offer(await navigator.clipboard.readText(), performance.now());
    } catch {
      // No such permission in this browser: pasting still works.
    }
  }

  #offer(text: string, atMs: number): void {
    if (text === "" || text === this.#known) return;
    this.#known = text;
    const first = splitText(text, CLIPBOARD_BYTES_MAX)[0];
    if (first !== undefined) this.#sink({ kind: "clipboard", text: first }, atMs);
  }
}
