/** What the API refuses, and how: always with problem+json of a closed set, never with a 5xx. */

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { Api, describe, problem, type Reply } from "../harness/api.js";
import { raw, rawBytes } from "../harness/rawhttp.js";
import { Rig } from "../harness/rig.js";
import type { ProblemName, Session } from "../../../client-web/src/wire/types.js";

const rig = Rig.forThisFile({ name: "refusals-http" });
const NOBODY = "ses_00000000000000000000000000";

function refused(reply: Reply, status: number, name: ProblemName): void {
  assert.equal(reply.status, status, describe(reply));
  const { name: actual, type, instance, detail, status: inBody } = problem(reply);
  assert.equal(actual, name);
  assert.equal(type, `https://nearlight.dev/problems/${name}`);
  assert.equal(inBody, status);
  assert.ok(detail.length > 0 && instance.length > 0, "a detail for the caller, a request id for the log");
}

function json(headers: Record<string, string> = {}): Record<string, string> {
  return { "content-type": "application/json", "idempotency-key": randomUUID(), ...headers };
}

rig.test("without an identity everything but whoami is unauthenticated", async () => {
  const stranger = new Api(rig.stack.base);
  refused(await stranger.request("GET", "/v1/sessions"), 401, "unauthenticated");
  refused(await stranger.request("POST", "/v1/sessions", { body: '{"app":"calibrate"}', headers: json() }), 401, "unauthenticated");
  refused(await stranger.request("DELETE", `/v1/sessions/${NOBODY}`), 401, "unauthenticated");
  refused(await new Api(rig.stack.base, "nlk_wrong").request("GET", "/v1/sessions"), 401, "unauthenticated");
  refused(await new Api(rig.stack.base, undefined, "nearlight_guest=forged").request("GET", "/v1/sessions"), 401, "unauthenticated");
});

rig.test("bad JSON, missing and unknown fields are bad requests", async () => {
  const guest = await Api.guest(rig.stack.base);
  const bodies = ["", "{", "null", "[]", '{"app":}', '{"app":5}', '{"app":"A B"}', '{"app":"calibrate","app2":1}', `{"app":"${"a".repeat(50)}"}`, "[".repeat(20_000)];
  for (const body of bodies) {
    const reply = await guest.request("POST", "/v1/sessions", { body, headers: json() });
    refused(reply, 400, "bad-request");
  }
  const display = { width: 100_000, height: 3, hz: 0 };
  refused(await guest.request("POST", "/v1/sessions", { json: { app: "calibrate", display }, headers: json() }), 400, "bad-request");
  refused(await guest.request("POST", "/v1/sessions", { json: { app: "calibrate", keyboard_layout: "us;reboot" }, headers: json() }), 400, "bad-request");
});

rig.test("a create without an Idempotency-Key, or with one that is used otherwise, is refused", async () => {
  const guest = await Api.guest(rig.stack.base);
  refused(await guest.request("POST", "/v1/sessions", { json: { app: "image-missing" } }), 400, "bad-request");
  const key = randomUUID();
  const first = await guest.create({ app: "image-missing" }, key);
  const again = await guest.create({ app: "image-missing" }, key);
  assert.equal(again.id, first.id, "the same key and body answer the same session");
  refused(await guest.request("POST", "/v1/sessions", { json: { app: "calibrate" }, headers: { "idempotency-key": key } }), 409, "idempotency-conflict");
});

rig.test("a guest who asks for an image or a command is refused", async () => {
  const guest = await Api.guest(rig.stack.base);
  for (const extra of [{ image: "debian:12" }, { launch: { image: "debian:12", command: ["sh"] } }, { command: ["sh"] }, { kind: "job" }]) {
    const reply = await guest.request("POST", "/v1/sessions", { json: { app: "calibrate", ...extra }, headers: json() });
    refused(reply, 400, "bad-request");
  }
  assert.equal((await guest.sessions()).length, 0, "nothing was started");
});

rig.test("oversized bodies are refused", async () => {
  const guest = await Api.guest(rig.stack.base);
  const big = JSON.stringify({ app: "calibrate", keyboard_layout: "x".repeat(70 * 1024) });
  refused(await guest.request("POST", "/v1/sessions", { body: big, headers: json() }), 413, "body-too-large");
  const sdp = await guest.request("POST", `/v1/sessions/${NOBODY}/whep`, {
    body: "v=0\r\n" + "a=x\r\n".repeat(20_000),
    headers: { "content-type": "application/sdp" },
  });
  assert.ok([401, 404, 413].includes(sdp.status), describe(sdp));
});

rig.test("unknown ids, apps, paths and methods are said to be so", async () => {
  const guest = await Api.guest(rig.stack.base);
  refused(await guest.request("GET", `/v1/sessions/${NOBODY}`), 404, "not-found");
  refused(await guest.request("DELETE", `/v1/sessions/${NOBODY}`), 404, "not-found");
  refused(await guest.request("GET", `/v1/sessions/${NOBODY}/events`), 404, "not-found");
  refused(await guest.request("POST", `/v1/sessions/${NOBODY}/tickets`, { json: {} }), 404, "not-found");
  refused(await guest.request("GET", "/v1/there-is-no-such-thing"), 404, "not-found");
  refused(await guest.request("PUT", "/v1/sessions"), 405, "method-not-allowed");
  const reply = await guest.request("POST", "/v1/sessions", { json: { app: "no-such-app" }, headers: json() });
  refused(reply, 404, "not-found");
  for (const odd of ["ses_..%2f..%2fetc", "x", "ses_", "%00", "ses_" + "0".repeat(500)]) {
    const answer = await guest.request("GET", `/v1/sessions/${odd}`);
    assert.ok([400, 404].includes(answer.status), `${odd}: ${describe(answer)}`);
    problem(answer);
  }
});

rig.test("a body of another media type is refused", async () => {
  const guest = await Api.guest(rig.stack.base);
  const reply = await guest.request("POST", "/v1/sessions", { body: '{"app":"calibrate"}', headers: json({ "content-type": "text/plain" }) });
  refused(reply, 415, "unsupported-media-type");
});

rig.test("wrong tickets, malformed SDP and other people's sessions are refused", async () => {
  const owner = await Api.guest(rig.stack.base);
  const session = await startCalibrate(owner);
  const path = `/v1/sessions/${session.id}/whep`;
  const offer = (authorization: string, body: string, type = "application/sdp"): Promise<Reply> =>
    new Api(rig.stack.base).request("POST", path, { body, headers: { "content-type": type, authorization } });

  const { ticket } = await owner.ticket(session.id);
  const [head, claims, signature] = ticket.split(".");
  const flipped = (signature?.startsWith("A") ? "B" : "A") + (signature ?? "").slice(1);
  const none = Buffer.from('{"alg":"none"}').toString("base64url");
  for (const wrong of [`${head}.${claims}.${flipped}`, `${none}.${claims}.`, "x", "", `${head}.e30.${signature}`]) {
    const reply = await offer(`Bearer ${wrong}`, "v=0\r\n");
    assert.equal(reply.status, 401, describe(reply));
    assert.ok(["ticket-invalid", "unauthenticated"].includes(problem(reply).name));
  }
  refused(await offer(`Bearer ${ticket}`, "v=0\r\n", "text/plain"), 415, "unsupported-media-type");
  for (const sdp of ["", "v=0", "\0\0\0", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", "m=video 9 x\r\n".repeat(500), randomBytes(4_000).toString("latin1")]) {
    refused(await offer(`Bearer ${rig.stack.key}`, sdp), 400, "invalid-offer");
  }
  refused(await offer(`Bearer ${rig.stack.key}`, "v=0\r\n" + "a=x\r\n".repeat(20_000)), 413, "body-too-large");

  const other = await Api.guest(rig.stack.base);
  refused(await other.request("GET", `/v1/sessions/${session.id}`), 404, "not-found");
  refused(await other.request("DELETE", `/v1/sessions/${session.id}`), 404, "not-found");
  refused(await other.request("POST", `/v1/sessions/${session.id}/tickets`, { json: {} }), 404, "not-found");
  assert.deepEqual(await other.sessions(), [], "and not listed");
  await owner.end(session.id);
});

rig.test("a ticket is for one session only", async () => {
  const owner = await Api.guest(rig.stack.base);
  const [one, two] = [await startCalibrate(owner), await startCalibrate(owner)];
  const { ticket } = await owner.ticket(one.id);
  const reply = await new Api(rig.stack.base).request("POST", `/v1/sessions/${two.id}/whep`, {
    body: "v=0\r\n",
    headers: { "content-type": "application/sdp", authorization: `Bearer ${ticket}` },
  });
  refused(reply, 401, "ticket-invalid");
});

rig.test("a guest holds two sessions at most", async () => {
  const guest = await Api.guest(rig.stack.base);
  await guest.create({ app: "calibrate" });
  await guest.create({ app: "calibrate" });
  refused(await guest.request("POST", "/v1/sessions", { json: { app: "calibrate" }, headers: json() }), 429, "quota-exceeded");
});

rig.test("a foreign Origin and a rebinding Host are refused", async () => {
  const { base } = rig.stack;
  const guest = await Api.guest(base);
  for (const origin of ["https://evil.example", "http://127.0.0.1:1", "null"]) {
    const reply = await guest.request("POST", "/v1/sessions", { json: { app: "calibrate" }, headers: json({ origin }) });
    refused(reply, 403, "origin-refused");
    assert.equal(reply.headers.get("access-control-allow-origin"), null, "and no page elsewhere may read it");
  }
  for (const host of ["evil.example", "evil.example:80", "localhost.evil.example"]) {
    const reply = await raw(base, { path: "/v1/whoami", headers: { host } });
    assert.ok([400, 403].includes(reply.status), `Host ${host}: ${reply.status}`);
    assert.equal(reply.headers["set-cookie"], undefined, "no guest for a rebound name");
  }
  const own = await guest.request("POST", "/v1/sessions", { json: { app: "image-missing" }, headers: json({ origin: base }) });
  assert.equal(own.status, 201, describe(own));
});

rig.test("bytes that are no HTTP do not hurt the listener", async () => {
  const { base } = rig.stack;
  for (const bytes of [randomBytes(2_000), "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "\r\n".repeat(5_000), "GET /" + "a".repeat(100_000)]) {
    await rawBytes(base, bytes);
  }
  assert.equal((await raw(base, { path: "/healthz", headers: { host: new URL(base).host } })).status, 200);
});

async function startCalibrate(owner: Api): Promise<Session> {
  const session = await owner.start({ app: "calibrate" });
  rig.stack.remember(session.id);
  return session;
}
