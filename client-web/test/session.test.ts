import { describe, expect, it, onTestFinished, vi } from "vitest";
import { Api } from "../src/session/api.ts";
import { beginAttach } from "../src/session/attach.ts";
import { HeldAttachment } from "../src/session/held.ts";
import { checkLine } from "../src/probe/check.ts";
import { bytesWords, durationWords, END_WORDS, pulledShare, refusalWords, startStep, waitWords } from "../src/session/words.ts";
import { phaseOf } from "../src/ui/phase.ts";

type Seen = { readonly path: string; readonly init: RequestInit };

function broker(...answers: readonly (() => Response | Promise<Response>)[]): { api: Api; seen: Seen[] } {
  const seen: Seen[] = [];
  const queue = [...answers];
  const api = new Api(async (input, init) => {
    seen.push({ path: String(input), init: init ?? {} });
    const answer = queue.shift();
    if (!answer) throw new TypeError("network");
    return answer();
  });
  return { api, seen };
}
const json = (body: unknown, status = 200, headers: Record<string, string> = {}) => () => new Response(JSON.stringify(body), { status, headers });
const problem = (name: string, status: number, headers: Record<string, string> = {}) =>
  json({ type: `https://nearlight.dev/problems/${name}`, name, title: "t", status, detail: "d", instance: "req_1" }, status, headers);

describe("the API", () => {
  it("becomes a guest once and asks again", async () => {
    const { api, seen } = broker(problem("unauthenticated", 401), json({ name: "guest", role: "guest" }), json({ sessions: [] }));
    expect(await api.sessions()).toEqual({ ok: true, value: { sessions: [] } });
    expect(seen.map(({ path }) => path)).toEqual(["/v1/sessions", "/v1/whoami", "/v1/sessions"]);
  });
  it("asks again who it is where the broker fails for a moment, and says in the end why not", async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const nobody = problem("unauthenticated", 401);
    const failing = problem("internal", 500);
    const passing = broker(nobody, failing, failing, json({ name: "guest", role: "guest" }), json({ sessions: [] }));
    const [back] = await Promise.all([passing.api.sessions(), vi.runAllTimersAsync()]);
    expect(back).toEqual({ ok: true, value: { sessions: [] } });
    const lasting = broker(nobody, failing, failing, failing);
    const [gone] = await Promise.all([lasting.api.sessions(), vi.runAllTimersAsync()]);
    expect(gone.ok ? "ok" : gone.refusal.name).toBe("internal");
    const shut = broker(nobody, nobody);
    const refused = await shut.api.sessions();
    expect(refused.ok ? "ok" : refused.refusal.name).toBe("unauthenticated");
    expect(shut.seen.length).toBe(2);
  });
  it("hands problems on", async () => {
    const { api } = broker(problem("quota-exceeded", 429, { "Retry-After": "7" }));
    expect(await api.create({ app: "freedoom" }, "key")).toEqual({
      ok: false, refusal: { name: "quota-exceeded", detail: "d", instance: "req_1", retryAfterMs: 7_000 },
    });
  });
  it.each([
    ["no answer", [], "offline"],
    ["a gateway's page", [() => new Response("<html>", { status: 502 })], "offline"],
    ["somebody else's page", [() => new Response("<html>", { status: 404 })], "garbled"],
    ["a login page", [() => new Response("<html>", { status: 200 })], "garbled"],
  ] as const)("names %s", async (_, answers, name) => {
    const result = await broker(...answers).api.apps();
    expect(result.ok ? "ok" : result.refusal.name).toBe(name);
  });
  it("sends an idempotency key, and a ticket as bearer", async () => {
    const answer = () => new Response("v=0", { status: 201, headers: { Location: "/v1/sessions/ses_1/whep/att_1", ETag: '"e"' } });
    const { api, seen } = broker(json({ id: "ses_1" }, 201), answer);
    await api.create({ app: "freedoom", keyboard_layout: "de" }, "key-1");
    const accepted = await api.offer({ ticket: "jwt", expires_at: 0, whep_path: "/v1/sessions/ses_1/whep", ice_servers: [] }, "v=0");
    expect(accepted).toEqual({ ok: true, value: { sdp: "v=0", location: "/v1/sessions/ses_1/whep/att_1", etag: '"e"' } });
    expect(seen[0]?.init.headers).toMatchObject({ "Idempotency-Key": "key-1", "Content-Type": "application/json" });
    expect(seen[1]?.init.headers).toMatchObject({ Authorization: "Bearer jwt", "Content-Type": "application/sdp" });
  });
});

describe("a browser without WebRTC", () => {
  const nothing = (): void => undefined;
  it("is refused in words of its own, and asks the broker for nothing", async () => {
    const { api, seen } = broker();
    const refused = await new Promise<string>((done) => {
      const events = { progressed: nothing, lost: nothing, notice: nothing, mark: nothing, ready: nothing, foreignVersion: nothing };
      const wish = { session: "ses_1", takeOver: false, codec: null, sampleKey: Promise.resolve("") };
      const attempt = beginAttach(api, wish, new HeldAttachment(null), { ...events, refused: ({ name }) => done(name) });
      expect(attempt.link).toBeNull();
    });
    expect([refused, seen]).toEqual(["no-webrtc", []]);
    expect(refusalWords({ name: "no-webrtc", detail: "", instance: "", retryAfterMs: null }).advice).toMatch(/WebRTC/);
  });
  it("has a line check that ends", async () => {
    expect(await checkLine(() => Promise.resolve(null), nothing, new AbortController().signal)).toEqual({ ok: false, why: "impossible" });
  });
});

describe("words", () => {
  it("never shows a code where people read", () => {
    for (const { title, advice } of Object.values(END_WORDS)) expect(`${title} ${advice}`).not.toMatch(/[a-z]-[a-z]+-|_/);
    expect(refusalWords({ name: "not-found", detail: "", instance: "", retryAfterMs: null }).advice).toMatch(/another player/);
  });
  it("says sizes and times as people do", () => {
    expect([bytesWords(900_000), bytesWords(5_200_000), bytesWords(212_000_000), bytesWords(1_500_000_000)]).toEqual(["900 kB", "5.2 MB", "212 MB", "1.50 GB"]);
    expect([durationWords(40), durationWords(240), durationWords(3_900), durationWords(14_398)]).toEqual(["40 s", "4 min", "1 h 5 min", "4 h"]);
    expect([waitWords(180, 720), waitWords(180, 181), waitWords(null, 3_600), waitWords(null, null)]).toEqual([
      "It should be your turn in about 3 min, at most 12 min.",
      "It should be your turn in about 3 min.",
      "It should be your turn within 1 h.",
      "How long is not known yet.",
    ]);
  });
  it("knows the step of a start", () => {
    expect(startStep({ phase: "placing" })).toBe("place");
    expect(startStep({ phase: "starting", progress: { step: "pulling", done_bytes: 1, total_bytes: 4, layers_done: 0, layers: 2 } })).toBe("pulling");
    expect(pulledShare({ step: "pulling", done_bytes: 1, total_bytes: 4, layers_done: 0, layers: 2 })).toBe(0.25);
    expect(pulledShare({ step: "pulling", done_bytes: 1, total_bytes: 0, layers_done: 0, layers: 2 })).toBeNull();
  });
  it("tells a start from a reconnect", () => {
    const attaching = { name: "attaching", attempt: 1, step: "ticket" } as const;
    expect(phaseOf(attaching, false)).toEqual({ phase: "starting", reason: "ticket" });
    expect(phaseOf(attaching, true)).toEqual({ phase: "reconnecting", reason: "ticket" });
  });
});
