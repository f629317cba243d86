/** The hand-written layer against a real HTTP server. */

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Client, ConfigError, ForeignAnswerError, ProblemError, SessionEndedError, UnreachableError } from "nearlight";
import { connect } from "nearlight/node";
import { type Answer, type Server, serving } from "./server.js";

const NOW = { "Retry-After": "0" };
const JOB = { image: "a:1", secrets: ["T"] };

const view = (phase: string, state: object = {}): object => ({ id: "ses_1", title: "a", state: { phase, ...state } });
const problem = (status: number, name: string, headers: Record<string, string> = {}): Answer => ({
  status,
  headers,
  body: { type: "x", name, title: "No", status, detail: "Do this.", instance: "req_1" },
});
const client = (server: Server): Client => new Client({ url: server.url, token: "nlk_test" });

test("a start is asked again with its key until it is taken", async () => {
  await using server = await serving(
    problem(429, "too-many-requests", NOW),
    problem(503, "node-unreachable", NOW),
    {},
    { status: 201, body: view("placing") },
    { events: [view("placing"), view("starting", { progress: { step: "starting-container" } }), view("ready")] },
  );
  const seen: string[] = [];
  const onProgress = (at: { phase: string }): void => void seen.push(at.phase);
  const session = await client(server).sessions.start({ job: JOB, secrets: { T: "x" }, onProgress });
  assert.equal(session.phase, "ready");
  assert.deepEqual(seen, ["placing", "starting", "ready"]);
  const creates = server.asked.slice(0, 4);
  assert.deepEqual(creates[3]?.body, { job: JOB, secrets: { T: "x" } });
  assert.equal(creates[0]?.headers.authorization, "Bearer nlk_test");
  const keys = new Set(creates.map((asked) => asked.headers["idempotency-key"]));
  assert.ok(keys.size === 1 && !keys.has(undefined));
  assert.equal(server.asked[4]?.path, "/v1/sessions/ses_1/events");
});

test("every start has a key of its own", async () => {
  await using server = await serving({ status: 201, body: view("placing") }, { status: 201, body: view("placing") });
  for (let i = 0; i < 2; i++) await client(server).sessions.start({ app: "freedoom", wait: false });
  assert.equal(new Set(server.asked.map((asked) => asked.headers["idempotency-key"])).size, 2);
});

test("what is not safe to do twice is done once", async () => {
  await using server = await serving({}, problem(429, "quota-exceeded"), problem(429, "too-many-requests", { "Retry-After": "3600" }));
  const create = client(server).api.POST("/v1/tenants", { body: { name: "a" } });
  await assert.rejects(create, UnreachableError);
  for (let i = 0; i < 2; i++) await assert.rejects(client(server).sessions.list(), ProblemError);
  assert.equal(server.asked.length, 3);
});

test("a problem has the broker's words", async () => {
  await using server = await serving(problem(403, "forbidden"), { status: 502, body: "bad gateway" });
  await assert.rejects(client(server).sessions.get("ses_1"), (error: unknown) => {
    assert.ok(error instanceof ProblemError);
    assert.deepEqual([error.message, error.problemName, error.status], ["No: Do this.", "forbidden", 403]);
    return true;
  });
  await assert.rejects(client(server).sessions.get("ses_1"), ForeignAnswerError);
});

test("a stream that breaks off is taken up again", async () => {
  await using server = await serving(
    { status: 200, body: view("queued", { position: 1 }) },
    { events: [view("placing")] },
    {},
    { events: [view("ready")] },
  );
  const session = await client(server).sessions.get("ses_1");
  assert.equal((await session.wait()).phase, "ready");
  assert.equal(server.answers.length, 0);
});

test("a session that ends before it is ready says why", async () => {
  const ended = view("ended", { reason: "image-missing", detail: "There is no such image." });
  await using server = await serving({ status: 201, body: view("placing") }, { events: [ended] });
  await assert.rejects(client(server).sessions.start({ job: JOB }), (error: unknown) => {
    assert.ok(error instanceof SessionEndedError);
    assert.deepEqual([error.message, error.reason], ["There is no such image.", "image-missing"]);
    return true;
  });
  assert.deepEqual(server.asked.map((asked) => asked.method), ["POST", "GET"]);
});

test("who stops waiting ends what was started", async () => {
  await using server = await serving(
    { status: 201, body: view("placing") },
    { events: [view("placing")] },
    { status: 202, body: view("ending", { reason: "player-ended" }) },
  );
  const stop = new AbortController();
  const start = client(server).sessions.start({ job: JOB, signal: stop.signal, onProgress: () => stop.abort() });
  await assert.rejects(start, { name: "AbortError" });
  assert.equal(server.asked.at(-1)?.method, "DELETE");
});

test("an endpoint is an address and a ticket, and the end of a block ends the session", async () => {
  const made = { url: "http://ses-1.localhost/", ticket: "t", expires_at: 1, open_url: "http://once/" };
  await using server = await serving(
    { status: 200, body: view("ready") },
    {},
    { status: 201, body: made },
    { status: 201, body: { ...made, direct_url: "https://ses-1.node/" } },
    { status: 202, body: view("ending", { reason: "player-ended" }) },
  );
  {
    await using session = await client(server).sessions.get("ses_1");
    const { url, ticket, direct_url } = await session.endpoint("web", 60);
    assert.deepEqual([url, ticket, direct_url], [made.url, "t", undefined]);
    const scoped = await session.endpoint(undefined, undefined, { methods: ["GET"], path: "/v1" });
    assert.equal(scoped.direct_url, "https://ses-1.node/");
  }
  assert.deepEqual(server.asked[2]?.body, { port: "web", expires_s: 60 });
  assert.deepEqual(server.asked[3]?.body, { methods: ["GET"], path: "/v1" });
  assert.equal(server.asked.at(-1)?.method, "DELETE");
});

test("lists are filtered, and usage is read to its last page", async () => {
  const page = (seconds: number, next: string | null): Answer => ({
    status: 200,
    body: { currency: "EUR", from_unix_ms: 0, to_unix_ms: 1, entries: [{ seconds }], next },
  });
  await using server = await serving({ status: 200, body: { sessions: [view("ready")] } }, page(1, "a"), page(2, null));
  const found = await client(server).sessions.list({ kind: "job", labels: { customer: "acme", a: "b" } });
  const usage = await client(server).usage({ since: "2026-01-01", labels: { customer: "acme" } });
  assert.deepEqual(found.map((session) => session.id), ["ses_1"]);
  assert.deepEqual(usage.entries?.map((entry) => entry.seconds), [1, 2]);
  assert.deepEqual(
    server.asked.map((asked) => asked.path),
    [
      "/v1/sessions?kind=job&label=customer%3Dacme&label=a%3Db",
      "/v1/usage?from=2026-01-01&label.customer=acme",
      "/v1/usage?from=2026-01-01&label.customer=acme&after=a",
    ],
  );
});

test("a profile's key goes to its URL alone", async () => {
  const home = mkdtempSync(join(tmpdir(), "nearlight-clients-"));
  try {
    await using server = await serving({ status: 200, body: { sessions: [] } }, { status: 200, body: { sessions: [] } });
    const env = { XDG_CONFIG_HOME: home };
    assert.throws(() => connect({}, env), ConfigError);
    mkdirSync(join(home, "nearlight"));
    const profile = `current = "a"\n[profiles.a]\nurl = "${server.url}/"\nkey = "of a"\n`;
    writeFileSync(join(home, "nearlight/profiles.toml"), profile);
    await connect({}, env).sessions.list();
    assert.throws(() => connect({ url: "https://c" }, env), /no API key for https:\/\/c/);
    await connect({}, { ...env, NEARLIGHT_TOKEN: "of c" }).sessions.list();
    assert.deepEqual(server.asked.map((asked) => asked.headers.authorization), ["Bearer of a", "Bearer of c"]);
  } finally {
    rmSync(home, { recursive: true });
  }
});

test("a log goes on where it broke, and says what is lost", async () => {
  const line = (at: string, text: string): string => `id: ${at}\nevent: line\ndata: ${JSON.stringify({ at, stream: "stdout", text })}\n\n`;
  const kind = { "Content-Type": "text/event-stream" };
  await using server = await serving(
    { status: 200, body: view("ready") },
    { status: 200, headers: kind, raw: `: ping\n\n${line("T:1-1", "a")}${line("T:2-1", "b")}` },
    { status: 200, headers: kind, raw: `event: gap\ndata: {}\n\n${line("T:9-1", "c")}event: end\ndata: {}\n\n` },
  );
  const session = await client(server).sessions.get("ses_1");
  const found: string[] = [];
  for await (const of of session.logs({ follow: true, tail: 5 })) found.push(of === "gap" ? of : of.text);
  assert.deepEqual(found, ["a", "b", "gap", "c"]);
  const asked = server.asked.slice(1).map(({ path }) => decodeURIComponent(path));
  assert.deepEqual(asked, ["/v1/sessions/ses_1/logs?follow=true&tail=5", "/v1/sessions/ses_1/logs?follow=true&after=T:2-1"]);
});

test("files are bytes either way", async () => {
  await using server = await serving(
    { status: 200, body: view("ready") },
    { status: 200, headers: { "Content-Type": "application/x-tar" }, raw: "tar" },
    { status: 200, body: { entries: 1, bytes: 3, links_skipped: 0 } },
  );
  const session = await client(server).sessions.get("ses_1");
  assert.equal(await new Response(await session.getFiles("/tmp/a b")).text(), "tar");
  assert.equal((await session.putFiles("/tmp", new Blob(["tar"]))).bytes, 3);
  const put = server.asked[2];
  assert.deepEqual([put?.method, put?.body, put?.headers["content-type"]], ["PUT", "tar", "application/x-tar"]);
});
