/**
 * Gamepads: nodes have nothing to give them to yet, and count what comes as a player who is there. So nothing is sent,
 * for a stick that drifts would keep a session that nobody plays; who takes one up is told.
 */

/** Tells once that a gamepad is there: browsers say so at its first button. */
export function noticeGamepad(found: () => void, signal: AbortSignal): void {
  addEventListener("gamepadconnected", found, { signal, once: true });
}
