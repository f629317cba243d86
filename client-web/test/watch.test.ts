import { describe, expect, it } from "vitest";
import { Api } from "../src/session/api.ts";
import type { Refusal } from "../src/session/refusal.ts";
import { handleWatch, watchEdges, type WatchEffect, type WatchEvent, type WatchState } from "../src/session/watch.ts";
import { watchPhase } from "../src/ui/phase.ts";

const refusal = (name: Refusal["name"], retryAfterMs: number | null = null): Refusal => ({ name, detail: "", instance: "", retryAfterMs });
const LOOKING: WatchState = { name: "looking", attempt: 2 };
const ATTACHING: WatchState = { name: "attaching", attempt: 2 };
const RECONNECTING: WatchState = { name: "reconnecting", attempt: 3, cause: "network" };
const WAITING: WatchState = { name: "waiting" };
const WATCHING: WatchState = { name: "watching" };

const over = (why: Extract<WatchState, { name: "over" }>["why"], from: Refusal | null = null): WatchState => ({ name: "over", why, refusal: from });
const END: readonly WatchEffect[] = [{ name: "cancel-retry" }, { name: "drop-peer" }];
const LOOK: readonly WatchEffect[] = [{ name: "cancel-retry" }, { name: "look" }];
const again = (ms: number): readonly WatchEffect[] => [{ name: "drop-peer" }, { name: "retry-in", ms }];

const EDGES: readonly (readonly [WatchState, WatchEvent, WatchState, readonly WatchEffect[]])[] = [
  [LOOKING, { name: "looked", live: true }, ATTACHING, [{ name: "attach" }]],
  [LOOKING, { name: "looked", live: false }, WAITING, again(3_000)],
  [LOOKING, { name: "look-refused", refusal: refusal("link-ended") }, over("link-ended", refusal("link-ended")), END],
  [LOOKING, { name: "look-refused", refusal: refusal("not-found") }, over("not-found", refusal("not-found")), END],
  [LOOKING, { name: "look-refused", refusal: refusal("offline") }, { name: "reconnecting", attempt: 3, cause: "broker" }, again(500)],
  [LOOKING, { name: "look-refused", refusal: refusal("too-many-requests", 7_000) }, { name: "reconnecting", attempt: 3, cause: "broker" }, again(7_000)],
  [LOOKING, { name: "retry-asked" }, { name: "looking", attempt: 1 }, LOOK],
  [WAITING, { name: "retry-due" }, { name: "looking", attempt: 1 }, LOOK],
  [WAITING, { name: "retry-asked" }, { name: "looking", attempt: 1 }, LOOK],
  [ATTACHING, { name: "picture-shown" }, WATCHING, []],
  [ATTACHING, { name: "attach-refused", refusal: refusal("session-not-ready") }, WAITING, again(3_000)],
  [ATTACHING, { name: "attach-refused", refusal: refusal("session-ended") }, over("session-ended", refusal("session-ended")), END],
  [ATTACHING, { name: "attach-refused", refusal: refusal("node-unreachable") }, { name: "reconnecting", attempt: 3, cause: "refused" }, again(500)],
  [ATTACHING, { name: "attach-refused", refusal: refusal("invalid-offer") }, over("refused", refusal("invalid-offer")), END],
  [ATTACHING, { name: "peer-lost", cause: "no-picture" }, { name: "reconnecting", attempt: 3, cause: "no-picture" }, again(1_000)],
  [ATTACHING, { name: "detach-noticed", reason: "link-revoked" }, over("link-ended"), END],
  [ATTACHING, { name: "end-noticed" }, over("session-ended"), END],
  [WATCHING, { name: "peer-lost", cause: "network" }, { name: "reconnecting", attempt: 1, cause: "network" }, again(200)],
  [WATCHING, { name: "detach-noticed", reason: "link-revoked" }, over("link-ended"), END],
  [WATCHING, { name: "detach-noticed", reason: "node-restarting" }, { name: "reconnecting", attempt: 1, cause: "node-restarting" }, again(200)],
  [WATCHING, { name: "detach-noticed", reason: "codec-changed" }, { name: "reconnecting", attempt: 1, cause: "codec-changed" }, again(200)],
  [WATCHING, { name: "detach-noticed", reason: "protocol-error" }, over("refused"), END],
  [WATCHING, { name: "end-noticed" }, over("session-ended"), END],
  [RECONNECTING, { name: "retry-due" }, { name: "looking", attempt: 3 }, LOOK],
  [RECONNECTING, { name: "retry-asked" }, { name: "looking", attempt: 1 }, LOOK],
  [over("refused"), { name: "retry-asked" }, { name: "looking", attempt: 1 }, LOOK],
  [over("link-ended"), { name: "retry-asked" }, over("link-ended"), []],
];

describe("the watch machine", () => {
  it("has exactly these edges", () => {
    expect([...new Set(EDGES.map(([state, event]) => `${state.name} ${event.name}`))].sort()).toEqual(watchEdges().sort());
  });
  it.each(EDGES.map(([state, event, next, effects], i) => ({ title: `${i}: ${state.name} ${event.name}`, state, event, next, effects })))(
    "$title",
    ({ state, event, next, effects }) => {
      expect(handleWatch(state, event)).toEqual({ applied: true, step: { state: next, effects } });
    },
  );
  it("ignores what comes late", () => {
    expect(handleWatch(WATCHING, { name: "looked", live: true })).toEqual({ applied: false });
    expect(handleWatch(over("link-ended"), { name: "peer-lost", cause: "network" })).toEqual({ applied: false });
  });
  it("shows a start before there was a picture, and a reconnect after", () => {
    expect([watchPhase(ATTACHING, false), watchPhase(ATTACHING, true), watchPhase(WATCHING, true)]).toEqual(["starting", "reconnecting", "watching"]);
    expect([watchPhase(over("link-ended"), true), watchPhase(over("refused"), true)]).toEqual(["ended", "refused"]);
  });
});

describe("a watcher's calls", () => {
  it("carry no identity, and make nobody a guest", async () => {
    const seen: { path: string; init: RequestInit }[] = [];
    const answers = [
      () => new Response(JSON.stringify({ name: "unauthenticated", detail: "", instance: "" }), { status: 401 }),
      () => new Response("v=0", { status: 201, headers: { Location: "/v1/watch/tok/whep/att_1" } }),
      () => new Response(null, { status: 204 }),
      () => new Response(null, { status: 200 }),
    ];
    const api = new Api(async (input, init) => {
      seen.push({ path: String(input), init: init ?? {} });
      const answer = answers.shift();
      if (!answer) throw new TypeError("network");
      return answer();
    });
    expect((await api.watched("tok")).ok).toBe(false);
    expect(await api.watch("tok", "v=0")).toEqual({ ok: true, value: { sdp: "v=0", location: "/v1/watch/tok/whep/att_1", etag: null } });
    await api.patch("/v1/watch/tok/whep/att_1", null, null, "a=x");
    await api.leave("/v1/watch/tok/whep/att_1");
    expect(seen.map(({ path, init }) => `${init.method} ${path}`)).toEqual([
      "GET /v1/watch/tok", "POST /v1/watch/tok/whep", "PATCH /v1/watch/tok/whep/att_1", "DELETE /v1/watch/tok/whep/att_1",
    ]);
    expect(new Set(seen.map(({ init }) => init.credentials))).toEqual(new Set(["omit"]));
    expect(seen.some(({ init }) => Object.keys(init.headers ?? {}).includes("Authorization"))).toBe(false);
  });
});
