/** Commands in a job, against a real WebSocket server: by the WebSocket of the platform, and by the package `ws`. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { test } from "node:test";
import { Client, CommandError, ConfigError, type Exec, ProblemError, Session, UnreachableError } from "nearlight";
import { WebSocket as Ws, WebSocketServer } from "ws";

type Handler = (socket: Ws) => void;
type Refusal = { status: number; body: object };

const TICKET = { ticket: "abc", path: "/v1/sessions/ses_1/exec", protocol: "nearlight.exec.v1", expires_at: 1 };
const KINDS: [string, Pick<Exec, "webSocket">][] = [
  ["the platform's", {}],
  ["ws", { webSocket: Ws as unknown as NonNullable<Exec["webSocket"]> }],
];

/** A broker that gives tickets, or `refusal`, and is one command for each WebSocket, or refuses it. */
async function broker(handler?: Handler, refusal?: Refusal): Promise<AsyncDisposable & { session: Session; asked: unknown[]; url: string }> {
  const asked: unknown[] = [];
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offers) => [...offers][0] ?? false });
  const server = createServer((request, response) => void (async () => {
      asked.push([request.url, await json(request)]);
      response.writeHead(refusal?.status ?? 201, { "Content-Type": "application/json" });
      response.end(JSON.stringify(refusal?.body ?? TICKET));
    })());
  server.on("upgrade", (request, socket, head) => {
    asked.push([request.url, request.headers["sec-websocket-protocol"]?.replace(/, */g, " "), request.headers.authorization]);
    if (!handler) return void socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    sockets.handleUpgrade(request, socket, head, handler);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { api } = new Client({ url: `${url}/`, token: "nlk_test" });
  const session = new Session(api, { id: "ses_1", title: "a", state: { phase: "ready" } } as unknown as Session["view"]);
  const dispose = (): Promise<void> => new Promise((resolve) => {
      for (const socket of sockets.clients) socket.terminate();
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { session, asked, url, [Symbol.asyncDispose]: dispose };
}

const framed = (kind: number, rest: string | Buffer = ""): Buffer => Buffer.concat([Buffer.from([kind]), Buffer.from(rest as string)]);
const ended = (status: number): Buffer => framed(6, Buffer.from([0, 0, 0, status]));
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Answers input with `answers` of it, then ends. */
const echo = (answers: (piece: Buffer) => Buffer, sizes: number[] = []): Handler => (socket) => {
  socket.send(framed(8));
  socket.on("message", (message: Buffer) => {
    if (message[0] === 0) {
      sizes.push(message.length);
      return socket.send(framed(2, answers(message.subarray(1))));
    }
    assert.deepEqual([...message], [1]);
    for (const last of [framed(0x63, "of a newer broker"), framed(3, "words"), ended(7)]) socket.send(last);
  });
};

for (const [name, by] of KINDS) {
  test(`a command has its input and gives its output and status (${name})`, async () => {
    const sizes: number[] = [];
    await using at = await broker(echo((piece) => piece, sizes));
    const given = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251);
    const ran = await at.session.exec(["cat"], { ...by, stdin: given, replica: 1 });
    assert.equal(ran.status, 7);
    assert.ok(Buffer.from(ran.stdout).equals(given));
    assert.equal(text(ran.stderr), "words");
    assert.ok(Math.max(...sizes) < 64 * 1024);
    assert.deepEqual(at.asked, [
      ["/v1/sessions/ses_1/exec?replica=1", { command: ["cat"], tty: false, stdin: true }],
      ["/v1/sessions/ses_1/exec", "nearlight.exec.v1 nearlight.ticket.abc", undefined],
    ]);
    assert.equal(text((await at.session.exec(["cat"], { ...by, stdin: "né" })).stdout), "né");
  });

  test(`output is given as it comes, and input is taken as it comes (${name})`, async () => {
    await using at = await broker(echo((piece) => Buffer.from(piece.toString().toUpperCase())));
    const answers = new EventTarget();
    const seen: string[] = [];
    async function* asks(): AsyncGenerator<Uint8Array> {
      for (const word of ["one", "two"]) {
        const answered = once(answers, word.toUpperCase());
        yield new TextEncoder().encode(word);
        // The next is only said once the former was answered.
        await answered;
      }
    }
    const onOutput = async (stream: string, bytes: Uint8Array): Promise<void> => {
      await Promise.resolve();
      seen.push(`${stream} ${text(bytes)}`);
      answers.dispatchEvent(new Event(text(bytes)));
    };
    const ran = await at.session.exec(["cat"], { ...by, stdin: asks(), onOutput });
    assert.deepEqual(seen, ["stdout ONE", "stdout TWO", "stderr words"]);
    assert.equal(ran.stdout.length + ran.stderr.length, 0);
  });

  test(`output that nobody takes, a callback that throws and a signal end the command (${name})`, async () => {
    const closed: Promise<unknown>[] = [];
    await using at = await broker((socket) => {
      closed.push(once(socket, "close"));
      const more = (): void => socket.readyState === socket.OPEN ? socket.send(framed(2, Buffer.alloc(60_000)), more) : undefined;
      more();
    });
    const outputBytesMax = 200_000;
    await assert.rejects(at.session.exec(["yes"], { ...by, outputBytesMax }), /more than 200000 bytes.*`onOutput`/);
    const never = new Promise(() => undefined);
    await assert.rejects(at.session.exec(["yes"], { ...by, outputBytesMax, onOutput: () => never }), CommandError);
    const fails = (): void => {
      throw new RangeError("enough");
    };
    await assert.rejects(at.session.exec(["yes"], { ...by, onOutput: fails }), RangeError);
    const stop = new AbortController();
    const onOutput = (): void => stop.abort(new Error("stopped"));
    await assert.rejects(at.session.exec(["yes"], { ...by, onOutput, signal: stop.signal }), /stopped/);
    assert.equal(closed.length, 4);
    await Promise.all(closed);
  });

  test(`nothing is done for a command that is over (${name})`, async () => {
    let closed: Promise<unknown> | undefined;
    await using at = await broker((socket) => {
      closed = once(socket, "close");
      for (const piece of ["one", "two", "three"]) socket.send(framed(2, piece));
    });
    const pieces: string[] = [];
    const stop = new AbortController();
    const onOutput = (_stream: string, bytes: Uint8Array): void => {
      pieces.push(text(bytes));
      stop.abort(new Error("stopped"));
    };
    // Its next piece never comes.
    let left = 0;
    const stdin = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined), return: async () => ({ done: true as const, value: left++ }) }) };
    await assert.rejects(at.session.exec(["cat"], { ...by, stdin, onOutput, signal: stop.signal }), /stopped/);
    await closed;
    assert.deepEqual(pieces, ["one"]);
    assert.equal(left, 1);
  });

  test(`a command that does not read ends by a connection that is dropped (${name})`, async () => {
    const stop = new AbortController();
    let command: Ws | undefined;
    await using at = await broker((socket) => socket.once("message", () => {
        command = socket;
        // A word of the end would wait behind the input that nobody reads.
        socket.pause();
        stop.abort(new Error("stopped"));
      }));
    await assert.rejects(at.session.exec(["sleep"], { ...by, stdin: new Uint8Array(64 << 20), signal: stop.signal }), /stopped/);
    assert.ok(command);
    const closed = once(command, "close");
    command.resume();
    assert.equal((await closed)[0], 1006, "it was dropped, and not closed");
  });

  test(`a command that ends before its input has its status (${name})`, async () => {
    await using at = await broker((socket) => socket.once("message", (message: Buffer) => {
        socket.send(framed(2, message.subarray(1)));
        socket.send(ended(5), () => socket.close());
      }));
    let left: () => void = () => undefined;
    const source = new Promise<void>((resolve) => (left = resolve));
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(9);
      } finally {
        left();
      }
    }
    const ran = await at.session.exec(["head"], { ...by, stdin: endless() });
    assert.deepEqual([ran.status, ran.stdout.length], [5, 9]);
    await source;
  });

  test(`input that fails is no end of input (${name})`, async () => {
    const kinds: (number | undefined)[] = [];
    let closed: Promise<unknown> | undefined;
    await using at = await broker((socket) => {
      closed = once(socket, "close");
      socket.on("message", (message: Buffer) => kinds.push(message[0]));
    });
    async function* asks(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array([1]);
      throw new Error("the disk is gone");
    }
    await assert.rejects(at.session.exec(["cat"], { ...by, stdin: asks() }), /the disk is gone/);
    await closed;
    assert.deepEqual(kinds, [0]);
  });

  test(`a command without a status says why (${name})`, async () => {
    for (const [last, why] of [[framed(7, "no such program"), /no such program/], [framed(2, "some"), /broke off/]] as const) {
      await using at = await broker((socket) => socket.send(last, () => socket.close()));
      await assert.rejects(at.session.exec(["none"], by), (error: unknown) => error instanceof CommandError && why.test(error.message));
    }
  });

  test(`a refusal has the broker's words, and a WebSocket that is refused says so (${name})`, async () => {
    const body = { type: "x", name: "job-not-ready", title: "No", status: 409, detail: "Do this.", instance: "req_1" };
    await using early = await broker(undefined, { status: 409, body });
    await assert.rejects(early.session.exec(["true"], by), (error: unknown) => error instanceof ProblemError && error.problemName === "job-not-ready");
    await using refused = await broker();
    await assert.rejects(refused.session.exec(["true"], by), UnreachableError);
  });
}

test("a terminal has no input that ends", async () => {
  await using at = await broker();
  await assert.rejects(at.session.exec(["cat"], { tty: true, stdin: "a" }), /`tty` and `stdin` exclude each other/);
  assert.deepEqual(at.asked, []);
});

test("without a WebSocket a command says where there is one", async () => {
  await using at = await broker();
  const { WebSocket } = globalThis;
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    await assert.rejects(at.session.exec(["true"]), ConfigError);
  } finally {
    Object.defineProperty(globalThis, "WebSocket", { value: WebSocket, configurable: true, writable: true });
  }
});
