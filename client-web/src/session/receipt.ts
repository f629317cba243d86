/**
 * Waits for the receipt of a session that is over. It is made within a minute; a session that nobody
 * played, and a broker without a log, have none.
 *
 * Does not know: what a receipt says.
 */
import type { SessionReceipt } from "../wire/types.ts";
import type { Api } from "./api.ts";

const FIRST_MS = 1_500;
const EVERY_MS = 3_000;
const TRIES = 24;

export function awaitReceipt(api: Api, session: string, found: (receipt: SessionReceipt) => void, signal: AbortSignal): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ask = async (tries: number): Promise<void> => {
    const result = await api.receipt(session);
    if (signal.aborted) return;
    if (result.ok) return found(result.value);
    const again = ["not-found", "offline", "internal", "too-many-requests", "node-unreachable"].includes(result.refusal.name);
    if (again && tries > 1) timer = setTimeout(() => void ask(tries - 1), result.refusal.retryAfterMs ?? EVERY_MS);
  };
  timer = setTimeout(() => void ask(TRIES), FIRST_MS);
  signal.addEventListener("abort", () => clearTimeout(timer));
}
