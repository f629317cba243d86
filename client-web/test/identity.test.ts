/** Who the lobby says you are, against a broker that forgets logins and makes guests of newcomers. */
import { afterEach, expect, test, vi } from "vitest";
import { Api } from "../src/session/api.ts";
import { IdentityModel } from "../src/ui/identity-model.ts";

afterEach(() => vi.unstubAllGlobals());

type Who = "ann" | "guest" | null;

/** The site as a browser sees it: `who` its cookie is, what was asked, how many guests were made. */
function site(who: Who, guests: boolean) {
  const state = { who, asked: [] as string[], guests: 0 };
  const problem = (): Response => new Response(JSON.stringify({ name: "unauthenticated", detail: "", instance: "" }), { status: 401 });
  const fetcher = (input: RequestInfo | URL): Promise<Response> => {
    const path = String(input);
    state.asked.push(path);
    if (path === "/v1/login/options") return Promise.resolve(Response.json({ login_path: "/v1/login", guests }));
    if (path === "/v1/whoami" && state.who === null && guests) {
      state.who = "guest";
      state.guests += 1;
    }
    if (state.who === null) return Promise.resolve(problem());
    if (path === "/v1/logout") state.who = null;
    return Promise.resolve(Response.json(path === "/v1/whoami" ? { name: state.who, role: state.who === "ann" ? "player" : "guest" } : { sessions: [] }));
  };
  const api = new Api(fetcher as typeof fetch);
  const identity = new IdentityModel(api);
  /** A round of the lobby. */
  const round = async (): Promise<void> => {
    if (!(await identity.meet())) return;
    const sessions = await api.sessions();
    if (sessions.ok) await identity.answered();
    else await identity.refused();
  };
  const shown = () => [identity.me.value?.name ?? null, identity.shut.value];
  return { state, identity, round, shown };
}

test("a player whose login is over is shown the way in, and is no guest unasked", async () => {
  const { state, identity, round, shown } = site("ann", true);
  await round();
  expect(shown()).toEqual(["ann", null]);
  state.who = null;
  await round();
  await round();
  expect([shown(), state.guests]).toEqual([[null, "login-over"], 0]);
  expect([identity.loginPath.value, identity.guests.value]).toEqual(["/v1/login", true]);
  // Logged in again in another tab.
  state.who = "ann";
  await round();
  expect(shown()).toEqual(["ann", null]);
  state.who = null;
  await round();
  identity.becomeGuest();
  await round();
  expect([shown(), state.guests]).toEqual([["guest", null], 1]);
});

test("where no guests are taken, a login that is over shows the way in and comes back", async () => {
  const { state, identity, round, shown } = site("ann", false);
  await round();
  state.who = null;
  await round();
  expect([shown(), identity.guests.value]).toEqual([[null, "login-over"], false]);
  state.who = "ann";
  await round();
  expect(shown()).toEqual(["ann", null]);
});

test("who logs out in another tab is no longer shown once the person is back", async () => {
  const { state, identity, round, shown } = site("ann", true);
  await round();
  state.who = "guest";
  identity.doubt();
  await round();
  expect(shown()).toEqual(["guest", null]);
  const asked = state.asked.length;
  await round();
  expect(state.asked.slice(asked), "and is asked for no more often than that").toEqual(["/v1/sessions"]);
});

test("a newcomer where no guests are taken is shown the way in, also by a browser with locks", async () => {
  let held: Promise<unknown> = Promise.resolve();
  const request = (_name: string, ask: () => Promise<unknown>): Promise<unknown> => (held = held.then(ask));
  vi.stubGlobal("navigator", { locks: { request } });
  const { round, shown } = site(null, false);
  await round();
  expect(shown()).toEqual([null, "no-guests"]);
});

test("a guest that the broker forgot is a guest again", async () => {
  const { state, identity, round, shown } = site("guest", true);
  await round();
  state.who = null;
  await round();
  expect([shown(), state.guests, identity.shut.value]).toEqual([["guest", null], 1, null]);
});

test("who logs out is a guest or shut out, at once", async () => {
  for (const [guests, then] of [[true, ["guest", null]], [false, [null, "no-guests"]]] as const) {
    const { identity, round, shown } = site("ann", guests);
    await round();
    expect(await identity.logOut()).toBeNull();
    await round();
    expect(shown()).toEqual(then);
  }
});
