/**
 * Text that no key stands for: input methods, dead keys of phones, dictation, emoji. A text field
 * over the stage takes the focus when the player asks to type, which also brings up a phone's
 * keyboard; what it composes goes out as text, its erasing and line breaks as keys.
 *
 * Invariant: the field is always empty but for a composition in progress.
 */
import { KEYS, TEXT_BYTES_MAX } from "../wire/constants.ts";
import type { Sink } from "./sink.ts";

export function attachText(field: HTMLTextAreaElement, sink: Sink, signal: AbortSignal): void {
  const tap = (code: string, atMs: number): void => {
    const evdev = KEYS.get(code);
    if (evdev === undefined) return;
    sink({ kind: "key", code: evdev, pressed: true }, atMs);
    sink({ kind: "key", code: evdev, pressed: false }, atMs);
  };
  const say = (text: string, atMs: number): void => {
    for (const part of splitText(text, TEXT_BYTES_MAX)) sink({ kind: "text", text: part }, atMs);
  };
  field.addEventListener(
    "beforeinput",
    (event) => {
      if (event.isComposing) return;
      switch (event.inputType) {
        case "insertText":
        case "insertReplacementText":
          if (event.data) say(event.data, event.timeStamp);
          break;
        case "insertLineBreak":
        case "insertParagraph":
          tap("Enter", event.timeStamp);
          break;
        case "deleteContentBackward":
        case "deleteWordBackward":
          tap("Backspace", event.timeStamp);
          break;
        case "deleteContentForward":
          tap("Delete", event.timeStamp);
          break;
        default:
          // insertFromPaste and the like: clipboard.ts has it.
          break;
      }
      if (event.cancelable) event.preventDefault();
    },
    { signal },
  );
  field.addEventListener(
    "compositionend",
    (event) => {
      if (event.data) say(event.data, event.timeStamp);
      field.value = "";
    },
    { signal },
  );
  // Android's keyboards erase only what is there, and some events cannot be cancelled.
  field.addEventListener("input", (event) => void (event instanceof InputEvent && !event.isComposing && (field.value = "")), {
    signal,
  });
}

/** `text` in parts of at most `bytesMax` bytes of UTF-8, cut between characters; no NUL in it. */
export function splitText(text: string, bytesMax: number): string[] {
  const parts: string[] = [];
  let part = "";
  let bytes = 0;
  for (const character of text.replaceAll("\0", "")) {
    const size = new TextEncoder().encode(character).length;
    if (bytes + size > bytesMax) {
      parts.push(part);
      part = "";
      bytes = 0;
    }
    part += character;
    bytes += size;
  }
  return part === "" ? parts : [...parts, part];
}
