/**
 * Gamepads: the browser has no events for them, so their state is polled once a frame and sent
 * where it changed. The edge counts the packets today and will inject them.
 */
import type { Sink } from "./sink.ts";

const SEATS = 4;
const FULL_SCALE = 32_767;

export type PadState = { readonly buttons: number; readonly axes: readonly number[] };

/** The standard mapping as the wire has it: sticks left and right, triggers from their buttons. */
export function padState(pad: Pick<Gamepad, "buttons" | "axes">): PadState {
  const buttons = pad.buttons.slice(0, 32).reduce((bits, button, i) => (button.pressed ? bits | (1 << i) : bits), 0);
  const stick = [0, 1, 2, 3].map((i) => Math.round((pad.axes[i] ?? 0) * FULL_SCALE));
  const triggers = [6, 7].map((i) => Math.round((pad.buttons[i]?.value ?? 0) * FULL_SCALE));
  return { buttons: buttons >>> 0, axes: [...stick, ...triggers] };
}

export function pollGamepads(sink: Sink, signal: AbortSignal): void {
  if (!("getGamepads" in navigator)) return;
  const sent: (string | undefined)[] = [];
  let frame = 0;
  let polling = false;
  const poll = (atMs: number): void => {
    const pads = [...navigator.getGamepads()].filter((pad) => pad !== null).slice(0, SEATS);
    polling = pads.length > 0;
    if (polling) frame = requestAnimationFrame(poll);
    pads.forEach((pad, seat) => {
      const state = padState(pad);
      const key = JSON.stringify(state);
      if (sent[seat] === key) return;
      sent[seat] = key;
      sink({ kind: "gamepad", seat, ...state }, atMs);
    });
  };
  const begin = (): void => {
    if (polling) return;
    polling = true;
    frame = requestAnimationFrame(poll);
  };
  addEventListener("gamepadconnected", begin, { signal });
  begin();
  signal.addEventListener("abort", () => cancelAnimationFrame(frame));
}
