/**
 * The one audio element. Browsers play sound only after a gesture: the Play click unlocks it for
 * the whole visit; after a reload the next click or key does.
 */
import { effect, signal } from "@preact/signals";
import { muted, volume } from "./prefs.ts";

const element = document.createElement("audio");
element.id = "stage-audio";
element.hidden = true;
document.body.append(element);

/** There is sound, and the browser wants a gesture first. */
export const soundBlocked = signal(false);

effect(() => {
  element.volume = volume.value;
  element.muted = muted.value;
});

async function play(): Promise<void> {
  try {
    await element.play();
    soundBlocked.value = false;
  } catch (cause) {
    // AbortError: another stream came in between, and has its own try.
    soundBlocked.value = cause instanceof DOMException && cause.name === "NotAllowedError";
  }
}

/** Call inside a click: an element that played once may play again (Safari counts per element). */
export function unlockSound(): void {
  // Gone together with WebRTC in some browsers; the page of the session says so.
  if (!("MediaStream" in globalThis)) return;
  element.srcObject = new MediaStream();
  void element.play().catch(() => undefined);
}

export function playSound(stream: MediaStream, signal: AbortSignal): void {
  element.srcObject = stream;
  void play();
  const retry = (): void => void (soundBlocked.value && play());
  for (const gesture of ["pointerdown", "keydown", "touchend"]) {
    addEventListener(gesture, retry, { signal, capture: true });
  }
  signal.addEventListener("abort", () => {
    if (element.srcObject === stream) element.srcObject = null;
    soundBlocked.value = false;
  });
}
