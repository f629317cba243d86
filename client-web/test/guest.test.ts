import { afterEach, expect, test, vi } from "vitest";
import { Api } from "../src/session/api.ts";

afterEach(() => vi.unstubAllGlobals());

/** A browser's locks: one holder of a name at a time, in order. */
function locks(): Pick<LockManager, "request"> {
  let last: Promise<unknown> = Promise.resolve();
  const request = (_name: string, ask: () => Promise<unknown>): Promise<unknown> => {
    const mine = last.then(ask);
    last = mine.catch(() => null);
    return mine;
  };
  return { request } as unknown as Pick<LockManager, "request">;
}

/** A broker that makes whoever has no cookie a new guest, and a cookie jar that all tabs share. */
function broker() {
  const jar = { cookie: "" };
  let guests = 0;
  const answer = async (): Promise<Response> => {
    const sent = jar.cookie;
    await Promise.resolve();
    if (!sent) jar.cookie = `guest-${++guests}`;
    return new Response(JSON.stringify({ name: "guest", role: "guest" }));
  };
  return { fetch: answer as typeof fetch, minted: () => guests };
}

test("two tabs that open at once are one guest", async () => {
  const site = broker();
  vi.stubGlobal("navigator", { locks: locks() });
  const results = await Promise.all([new Api(site.fetch).whoami(), new Api(site.fetch).whoami()]);
  expect(results.every((result) => result.ok)).toBe(true);
  expect(site.minted()).toBe(1);
});

test("a browser without locks still becomes a guest", async () => {
  const site = broker();
  vi.stubGlobal("navigator", {});
  expect((await new Api(site.fetch).whoami()).ok).toBe(true);
  expect(site.minted()).toBe(1);
});

test("a browser whose locks are blocked with the site's data becomes a guest, once", async () => {
  const site = broker();
  const request = () => Promise.reject(new DOMException("Access to the Locks API is denied.", "SecurityError"));
  vi.stubGlobal("navigator", { locks: { request } });
  expect((await new Api(site.fetch).whoami()).ok).toBe(true);
  expect(site.minted()).toBe(1);
});
