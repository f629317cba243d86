/** A session's events, with a browser's EventSource that the test plays. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { watchSession } from "../src/session/feed.ts";
import type { Refusal, Result } from "../src/session/refusal.ts";
import type { Session } from "../src/wire/types.ts";

/** One EventSource of the page: the test says what the broker answers. */
class Source extends EventTarget {
  static readonly CLOSED = 2;
  static readonly all: Source[] = [];
  readyState = 0;

  constructor() {
    super();
    Source.all.push(this);
  }

  static get last(): Source {
    const last = Source.all.at(-1);
    if (!last) throw new Error("no events were asked for");
    return last;
  }

  /** The broker answered an error status. */
  giveUp(): void {
    this.readyState = Source.CLOSED;
    this.dispatchEvent(new Event("error"));
  }

  tell(session: unknown): void {
    this.dispatchEvent(new MessageEvent("session", { data: JSON.stringify(session) }));
  }

  close(): void {
    this.readyState = Source.CLOSED;
  }
}

const refusal = (name: Refusal["name"], retryAfterMs: number | null = null): Refusal => ({ name, detail: "", instance: "", retryAfterMs });
const queued = { id: "ses_1", state: { phase: "queued", position: 3 } } as unknown as Session;

describe("a session's events", () => {
  let answers: Result<Session>[];
  let asked: number;
  let seen: Session[];
  let refused: string[];
  let over: AbortController;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("EventSource", Source);
    Source.all.length = 0;
    answers = [];
    asked = 0;
    seen = [];
    refused = [];
    over = new AbortController();
    const api = {
      eventsPath: (id: string) => `/v1/sessions/${id}/events`,
      session: (): Promise<Result<Session>> => {
        asked += 1;
        return Promise.resolve(answers.shift() ?? { ok: false, refusal: refusal("offline") });
      },
    };
    const events = { seen: (session: Session) => void seen.push(session), refused: ({ name }: Refusal) => void refused.push(name) };
    watchSession(api, "ses_1", events, over.signal);
  });
  afterEach(() => {
    over.abort();
    vi.unstubAllGlobals();
    vi.useRealTimers();
  });

  it("are left to the browser while it reconnects by itself", async () => {
    Source.last.dispatchEvent(new Event("error"));
    await vi.runAllTimersAsync();
    expect([asked, Source.all.length]).toEqual([0, 1]);
  });

  it("that are refused have the session asked for, which tells that it is gone", async () => {
    answers = [{ ok: false, refusal: refusal("not-found") }];
    Source.last.giveUp();
    await vi.advanceTimersByTimeAsync(200);
    expect(refused).toEqual(["not-found"]);
    // The table has let it go.
    over.abort();
    await vi.runAllTimersAsync();
    expect([asked, Source.all.length]).toEqual([1, 1]);
  });

  it("are opened anew only once the session was seen", async () => {
    answers = [{ ok: false, refusal: refusal("too-many-requests", 4_000) }, { ok: true, value: queued }];
    Source.last.giveUp();
    await vi.advanceTimersByTimeAsync(200);
    expect([refused, Source.all.length]).toEqual([["too-many-requests"], 1]);
    await vi.advanceTimersByTimeAsync(3_999);
    expect(asked).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect([seen, Source.all.length]).toEqual([[queued], 2]);
    Source.last.tell(queued);
    expect(seen).toEqual([queued, queued]);
  });

  it("that break off again and again are asked for less and less often", async () => {
    answers = [1, 2, 3].map(() => ({ ok: true, value: queued }));
    for (const wait of [200, 500, 1_000]) {
      Source.last.giveUp();
      const before = asked;
      await vi.advanceTimersByTimeAsync(wait - 1);
      expect(asked).toBe(before);
      await vi.advanceTimersByTimeAsync(1);
      expect(asked).toBe(before + 1);
    }
  });
});
