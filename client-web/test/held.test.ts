/** The attachment that a tab holds: over reloads, beside duplicates of the tab, and where nothing is kept. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Api } from "../src/session/api.ts";
import { HeldAttachment } from "../src/session/held.ts";

const MINE = { session: "ses_1", location: "/v1/sessions/ses_1/whep/att_9", ticket: "jwt" };
type Answer = () => Response | Promise<Response>;
const gone: Answer = () => new Response(null, { status: 200 });
const silence: Answer = () => new Promise(() => undefined);

/** Answers what was sent as `METHOD path`, and `*` where it came with a ticket. */
function broker(...answers: Answer[]): { api: Api; seen: string[] } {
  const seen: string[] = [];
  const api = new Api((input, init) => {
    seen.push(`${init?.method ?? "GET"} ${String(input)}${"Authorization" in (init?.headers ?? {}) ? " *" : ""}`);
    return Promise.resolve((answers.shift() ?? silence)());
  });
  return { api, seen };
}

function store(kept = new Map<string, string>()) {
  return {
    kept,
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  };
}

/** A browser's locks over all its tabs. */
function locks(): Pick<LockManager, "request"> {
  const last = new Map<string, Promise<unknown>>();
  const request = (name: string, { signal }: { signal: AbortSignal }, then: () => unknown): Promise<unknown> => {
    const before = last.get(name) ?? Promise.resolve();
    const refused = new Promise<never>((_, fail) => signal.addEventListener("abort", () => fail(new DOMException("aborted", "AbortError"))));
    refused.catch(() => undefined);
    const mine = Promise.race([before, refused]).then(then);
    // One that was given up stands in nobody's way.
    last.set(name, Promise.all([before, mine.catch(() => undefined)]));
    return mine;
  };
  return { request } as unknown as Pick<LockManager, "request">;
}

describe("a held attachment", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it.each([["with locks", locks()], ["without", undefined]])("is remembered over a reload, and given up once, %s", async (_, all) => {
    const tab = store();
    const before = new HeldAttachment(tab, all);
    before.hold(MINE);
    expect([before.id("ses_1"), before.id("ses_2")]).toEqual(["att_9", null]);
    // The page goes, and hears no answer.
    const leaving = broker();
    void before.release(leaving.api);
    expect(leaving.seen).toEqual([`DELETE ${MINE.location} *`]);
    const after = new HeldAttachment(tab, all);
    expect(after.id("ses_1")).toBe("att_9");
    const { api, seen } = broker(gone);
    expect([await after.release(api), await after.release(api)]).toEqual([true, false]);
    expect(seen).toEqual([`DELETE ${MINE.location} *`]);
    expect(new HeldAttachment(tab, all).id("ses_1")).toBeNull();
  });
  it("is not given up by a duplicate of its tab, which forgets it", async () => {
    const all = locks();
    const tab = store();
    const plays = new HeldAttachment(tab, all);
    plays.hold(MINE);
    const copy = store(new Map(tab.kept));
    const duplicate = new HeldAttachment(copy, all);
    const { api, seen } = broker(gone);
    const [released] = await Promise.all([duplicate.release(api), vi.runAllTimersAsync()]);
    expect([released, seen, copy.kept.size, plays.id("ses_1")]).toEqual([false, [], 0, "att_9"]);
  });
  it("that a page lost without a word is free for the next one", async () => {
    const all = locks();
    const tab = store();
    const plays = new HeldAttachment(tab, all);
    plays.hold(MINE);
    const next = new HeldAttachment(store(new Map(tab.kept)), all);
    const { api, seen } = broker(gone);
    const released = next.release(api);
    // The browser lets the locks of a page go with it.
    plays.forget();
    expect([await released, seen.length]).toEqual([true, 1]);
  });
  it("counts as the tab's own where locks are blocked", async () => {
    const tab = store();
    new HeldAttachment(tab, undefined).hold(MINE);
    const request = () => Promise.reject(new DOMException("denied", "SecurityError"));
    const after = new HeldAttachment(tab, { request } as unknown as Pick<LockManager, "request">);
    expect(await after.release(broker(gone).api)).toBe(true);
  });
  it("is given up as the owner where its ticket is spent", async () => {
    const spent: Answer = () => new Response(JSON.stringify({ name: "ticket-invalid" }), { status: 401 });
    const { api, seen } = broker(spent, gone);
    expect(await api.detach(MINE.location, "jwt")).toEqual({ ok: true, value: null });
    expect(seen).toEqual([`DELETE ${MINE.location} *`, `DELETE ${MINE.location}`]);
  });
  it.each([
    ["without a store", null],
    ["with a full one", { getItem: () => null, setItem: () => { throw new DOMException("full", "QuotaExceededError"); }, removeItem: () => { throw new DOMException("closed", "SecurityError"); } }],
  ])("lasts as long as the page %s", async (_, kept) => {
    const held = new HeldAttachment(kept, undefined);
    held.hold(MINE);
    expect(held.id("ses_1")).toBe("att_9");
    expect(await held.release(broker(gone).api)).toBe(true);
    expect(held.id("ses_1")).toBeNull();
  });
});
