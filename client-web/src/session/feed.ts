/**
 * A session's server-sent events. EventSource reconnects by itself after a cut; where it gives up
 * (an error status) we open it again with a wait. Why it failed is not ours to find out: the first
 * GET (runner) has told already.
 */
import type { Session } from "../wire/types.ts";
import { isRecord } from "../wire/json.ts";

const REOPEN_MS = 2_000;

export function watchSession(path: string, onSession: (session: Session) => void, signal: AbortSignal): void {
  let source: EventSource | null = null;
  let timer: number | undefined;
  const open = (): void => {
    source = new EventSource(path);
    source.addEventListener(
      "session",
      (event) => {
        const session = parseSession(event.data);
        if (session) onSession(session);
      },
      { signal },
    );
    source.addEventListener(
      "error",
      () => {
        if (source?.readyState !== EventSource.CLOSED) return;
        clearTimeout(timer);
        timer = setTimeout(open, REOPEN_MS);
      },
      { signal },
    );
  };
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source?.close();
  });
  open();
}

function parseSession(data: unknown): Session | null {
  try {
    const value: unknown = JSON.parse(String(data));
    return isRecord(value) && isRecord(value["state"]) ? (value as Session) : null;
  } catch {
    return null;
  }
}
