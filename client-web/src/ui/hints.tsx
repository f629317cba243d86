/** Small things to know while playing: each shows when it helps and goes by itself. */
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { canFullscreen, canLockKeyboard } from "../input/fullscreen.ts";
import { END_WORDS } from "../session/words.ts";
import type { App } from "../wire/types.ts";
import { FAULT_WORDS } from "./faults.ts";
import type { PlayRoom } from "./play-room.ts";
import { statsShown } from "./prefs.ts";
import { soundBlocked } from "./sound.ts";

const TIP_MS = 7_000;

export function Hints({ room, app }: { readonly room: PlayRoom; readonly app: App | undefined }) {
  const tip = useSignal(true);
  const now = useSignal(performance.now());
  useEffect(() => {
    const hide = setTimeout(() => (tip.value = false), TIP_MS);
    const tick = setInterval(() => (now.value = performance.now()), 500);
    return () => {
      clearTimeout(hide);
      clearInterval(tick);
    };
  }, [tip, now]);
  const ending = room.endingSoon.value;
  // The overlay says the same.
  const fault = statsShown.value ? null : (room.measured.value?.alarm ?? null);
  const left = ending ? Math.max(0, Math.ceil((ending.atMs - now.value) / 1000)) : 0;
  return (
    <div class="hints" role="status" aria-live="polite">
      {ending && (
        <p class="hint warn" data-hint="ending-soon">
          <strong>
            {Math.floor(left / 60)}:{String(left % 60).padStart(2, "0")}
          </strong>
          {ending.reason === "idle-timeout" ? "Are you still there? Press any key to keep playing." : `${END_WORDS[ending.reason].title} soon. Save what you want to keep.`}
        </p>
      )}
      {fault && (
        <p class="hint fault" data-hint="fault" data-fault={fault}>
          <strong>{FAULT_WORDS[fault].title}.</strong> {FAULT_WORDS[fault].advice}
        </p>
      )}
      {soundBlocked.value && (
        <p class="hint" data-hint="sound">
          Click, or press a key, for sound
        </p>
      )}
      {room.lockWaits.value && (
        <p class="hint" data-hint="pointer-lock">
          Click to give the app your mouse. <kbd>Esc</kbd> takes it back.
        </p>
      )}
      {tip.value && !ending && !fault && !room.lockWaits.value && !soundBlocked.value && (
        <p class="hint calm" data-hint="tip">
          {tipWords(room.fullscreen.value, app)}
        </p>
      )}
    </div>
  );
}

function tipWords({ on, keyboardLocked }: { on: boolean; keyboardLocked: boolean }, app: App | undefined): string {
  if (matchMedia("(pointer: coarse)").matches) return "Touch is the mouse. The light at the top right opens the menu.";
  if (keyboardLocked) return "All keys go to the app now. Hold Esc to leave full screen.";
  if (on) return "Esc leaves full screen.";
  if (!canFullscreen()) return app?.shelf === "game" ? "Have fun." : "Connected.";
  return canLockKeyboard()
    ? "F11: full screen, and every key for the app. Ctrl+Alt+M: menu, and the mouse back."
    : "F11: full screen. Ctrl+Alt+M: menu. Ctrl+W stays the browser's; it asks before it closes the page.";
}
