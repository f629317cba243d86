/** How long the client waits, by a clock that is turned by hand: nothing here takes the time it speaks of. */

import assert from "node:assert/strict";
import { openAsBlob } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Client, type Session } from "nearlight";
import { type Answer, type Server, serving } from "./server.js";

const MIB = 1024 * 1024;
const TAR = { "Content-Type": "application/x-tar" };
const STREAM = { "Content-Type": "text/event-stream" };
const READY: Answer = { status: 200, body: { id: "ses_1", title: "a", state: { phase: "ready" } } };
const COPIED = { entries: 1, bytes: 3, links_skipped: 0 };

const session = (server: Server): Promise<Session> => new Client({ url: server.url, token: "nlk_test" }).sessions.get("ses_1");

/** A promise, and what fulfils it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

/** Whether the client hangs up: what it does at once is seen within some turns of the loop that both run in. */
async function hangsUp(server: Server): Promise<boolean> {
  let left = false;
  void server.asked.at(-1)?.left.then(() => (left = true));
  for (let turn = 0; turn < 1000 && !left; turn++) await new Promise(setImmediate);
  return left;
}

test("an upload whose answer takes longer than others' is sent once and answered", async (context) => {
  const { opened, open } = gate();
  await using server = await serving(READY, { status: 200, body: COPIED, after: opened });
  const at = await session(server);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const put = at.putFiles("/tmp", new Blob(["tar"]));
  await server.came(2);
  context.mock.timers.tick(250_000);
  assert.equal(await hangsUp(server), false);
  open();
  assert.deepEqual(await put, COPIED);
  assert.equal(server.asked.length, 2);
});

test("a node may look through a tree for minutes before a copy begins", async (context) => {
  const { opened, open } = gate();
  await using server = await serving(READY, { status: 200, headers: TAR, raw: "tar", after: opened });
  const at = await session(server);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const get = at.getFiles("/tmp");
  await server.came(2);
  context.mock.timers.tick(170_000);
  assert.equal(await hangsUp(server), false);
  open();
  assert.equal(await new Response(await get).text(), "tar");
});

test("a copy that nobody waits for any more ends", async () => {
  await using server = await serving(READY, { status: 200, after: new Promise(() => undefined) });
  const stop = new AbortController();
  const put = (await session(server)).putFiles("/tmp", new Blob(["tar"]), { signal: stop.signal });
  await server.came(2);
  stop.abort();
  await assert.rejects(put, { name: "AbortError" });
});

test("an upload of any size is not held in memory", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const held = async (): Promise<number> => {
    // What ends in one turn is free in the next.
    for (let turn = 0; turn < 3; turn++) {
      await new Promise(setImmediate);
      collect();
    }
    return process.memoryUsage().arrayBuffers;
  };
  const dir = await mkdtemp(join(tmpdir(), "nearlight-clients-"));
  const { opened, open } = gate();
  try {
    const file = join(dir, "large");
    await writeFile(file, Buffer.alloc(64 * MIB));
    await using server = await serving(READY, { status: 200, body: COPIED, after: opened });
    const [at, archive] = [await session(server), await openAsBlob(file)];
    const before = await held();
    const put = at.putFiles("/tmp", archive);
    await server.came(2);
    // All of it is sent, and nothing answered yet: what is held now is held for as long as it takes.
    const grown = (await held()) - before;
    open();
    await put;
    assert.equal(server.asked[1]?.body, 64 * MIB);
    assert.ok(grown < 16 * MIB, `${Math.round(grown / MIB)} MiB`);
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("a log that falls silent is taken up again where it was", async (context) => {
  const line = (at: string): string => `id: ${at}\nevent: line\ndata: ${JSON.stringify({ at, stream: "stdout", text: at })}\n\n`;
  await using server = await serving(
    READY,
    { status: 200, headers: STREAM, raw: line("T:1-1"), stays: true },
    { status: 200, headers: STREAM, raw: `${line("T:2-1")}event: end\ndata: {}\n\n` },
  );
  const log = (await session(server)).logs({ follow: true });
  context.mock.timers.enable({ apis: ["setTimeout"] });
  assert.equal(((await log.next()).value as { text: string }).text, "T:1-1");
  const next = log.next();
  await new Promise(setImmediate);
  // What only the request knows is gone.
  (runInNewContext("gc") as () => void)();
  // The node pings every 10 s.
  context.mock.timers.tick(46_000);
  assert.ok(await hangsUp(server), "it still waits");
  // Then it pauses a little, by the same clock.
  while (server.asked.length < 3) {
    context.mock.timers.tick(1);
    await new Promise(setImmediate);
  }
  assert.equal(((await next).value as { text: string }).text, "T:2-1");
  assert.equal(decodeURIComponent(server.asked[2]?.path ?? ""), "/v1/sessions/ses_1/logs?follow=true&after=T:1-1");
  assert.equal((await log.next()).done, true);
});
