/**
 * A session's server-sent events. EventSource reconnects by itself after a cut; where it gives up (an error status,
 * which it does not tell) the session itself is asked for, and says by its refusal whether there is anything left to
 * watch. Only an answer opens the events again.
 *
 * Owns: the source, the wait between tries. Invariant: nothing is told after `signal`. Does not know: which refusal is
 * the end of it (machine.ts).
 */
import type { Session } from "../wire/types.ts";
import { isRecord } from "../wire/json.ts";
import type { Api } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import type { Refusal } from "./refusal.ts";

export type FeedEvents = {
  readonly seen: (session: Session) => void;
  /** The session was asked for, and refused. It is asked for again until `signal`. */
  readonly refused: (refusal: Refusal) => void;
};

export function watchSession(api: Pick<Api, "session" | "eventsPath">, id: string, events: FeedEvents, signal: AbortSignal): void {
  let source: EventSource | null = null;
  let timer: number | undefined;
  /** Tries since the last event. */
  let failed = 0;

  const askIn = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void ask(), ms);
  };
  const ask = async (): Promise<void> => {
    const result = await api.session(id);
    if (signal.aborted) return;
    if (result.ok) {
      open();
      return events.seen(result.value);
    }
    failed += 1;
    askIn(result.refusal.retryAfterMs ?? backoffMs(failed));
    events.refused(result.refusal);
  };
  const open = (): void => {
    source = new EventSource(api.eventsPath(id));
    source.addEventListener(
      "session",
      (event) => {
        const session = parseSession(event.data);
        if (!session) return;
        failed = 0;
        events.seen(session);
      },
      { signal },
    );
    source.addEventListener(
      "error",
      () => {
        if (source?.readyState !== EventSource.CLOSED) return;
        failed += 1;
        askIn(backoffMs(failed));
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
