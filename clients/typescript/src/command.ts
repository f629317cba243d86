/**
 * A command in a job, over the WebSocket `nearlight.exec.v1`: its input, its output as it comes, its status.
 * Each message is a byte that says what it is, and its bytes.
 *
 * **Invariant.** What came and was not taken yet is bounded: a WebSocket of JavaScript cannot make its other end wait.
 *
 * What it does not know: sessions, and how the ticket was come by.
 */

import { CommandError, ConfigError, UnreachableError } from "./errors.js";
import { pause } from "./retry.js";

/** What a command writes to. A terminal's is all `stdout`. */
export type Stream = "stdout" | "stderr";

/** A command that is over. A signal's status is 128 and its number. */
export interface Ran {
  status: number;
  stdout: Uint8Array;
  stderr: Uint8Array;
}

/** How a command runs. */
export interface Exec {
  /** Its input, or pieces of it as they come. */
  stdin?: string | Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Whether it has a terminal, and of which size. */
  tty?: boolean;
  size?: { cols: number; rows: number };
  /** Of a cluster: in which replica. */
  replica?: number;
  /** Called with bytes as they come, one call after the other; then they are not kept. */
  onOutput?: (stream: Stream, bytes: Uint8Array) => unknown;
  /** More than this, kept or waiting for `onOutput`, ends the command; 16 MiB without it. */
  outputBytesMax?: number;
  /** Ends the command. */
  signal?: AbortSignal;
  /** In place of the global one, which Node.js has since 22. */
  webSocket?: new (url: string, protocols: string[]) => WebSocket;
}

const OUTPUT_BYTES_MAX = 16 << 20;
const OPEN_MS = 30_000;
const INPUT_BYTES = 16 * 1024;
/** As much input may wait to be sent; there is no event for it, so it is looked at. */
const WAITING_BYTES_MAX = 64 * 1024;
const LOOK_MS = 4;

/** Runs the command of the ticket in `protocols` to its end. Whatever is thrown ends it. */
export async function run(url: string, protocols: string[], how: Exec): Promise<Ran> {
  const Socket = how.webSocket ?? (globalThis as { WebSocket?: Exec["webSocket"] }).WebSocket;
  if (!Socket) throw new ConfigError("commands need a WebSocket: Node.js 22, `node --experimental-websocket`, or the option `webSocket`");
  how.signal?.throwIfAborted();
  const over = new AbortController();
  const drop = connectionWith(protocols, over.signal);
  const socket = new Socket(url, protocols);
  socket.binaryType = "arraybuffer";
  try {
    const ran = await new Promise<Ran>((resolve, fail) => {
      // At once, so that nothing that waits is done after it.
      const reject = (why: unknown): void => {
        over.abort();
        fail(why);
      };
      const output = new Output(how, over.signal, resolve, reject);
      const aborted = (): void => reject(how.signal?.reason as Error);
      how.signal?.addEventListener("abort", aborted, { once: true, signal: over.signal });
      let opened = false;
      const late = setTimeout(() => reject(refused(url, "no answer in time")), OPEN_MS);
      const on = { signal: over.signal };
      socket.addEventListener("open", () => {
        opened = true;
        clearTimeout(late);
        if (how.stdin !== undefined) send(socket, how.stdin, over.signal).catch(reject);
      }, on);
      socket.addEventListener("message", ({ data }) => output.take(data), on);
      // What is wrong, a WebSocket tells nobody: the broker says it before, where there are words for it.
      socket.addEventListener("error", () => opened || reject(refused(url, "it is refused, or the broker is away")), on);
      socket.addEventListener("close", () => output.close(opened ? undefined : refused(url, "it is refused")), on);
      over.signal.addEventListener("abort", () => clearTimeout(late), { once: true });
    });
    leave(socket, () => socket.close());
    return ran;
  } catch (error) {
    // A close waits behind the input, which nobody may be reading.
    const { terminate } = socket as { terminate?: () => void };
    leave(socket, () => {
      if (terminate) terminate.call(socket);
      else if (!drop()) socket.close();
    });
    throw error;
  } finally {
    over.abort();
  }
}

type Listener = (sent: { headers: unknown; socket: { destroy: () => void } }) => void;
type Channels = { subscribe: (name: string, listener: Listener) => void; unsubscribe: (name: string, listener: Listener) => void };
const SENDS = "undici:client:sendHeaders";

/**
 * Drops the connection, if it is known, of the WebSocket that asks for `protocols`, which its ticket tells from all others: Node.js's own has no
 * `terminate()`, and waits for its other end for ever. Node.js says which connection it is where it tells what it sends.
 */
function connectionWith(protocols: string[], over: AbortSignal): () => boolean {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const channels = process?.getBuiltinModule?.("node:diagnostics_channel") as Channels | undefined;
  let connection: { destroy: () => void } | undefined;
  const listener: Listener = ({ headers, socket }) => {
    if (protocols.every((protocol) => String(headers).includes(protocol))) connection = socket;
  };
  channels?.subscribe(SENDS, listener);
  over.addEventListener("abort", () => channels?.unsubscribe(SENDS, listener), { once: true });
  return () => {
    connection?.destroy();
    return connection !== undefined;
  };
}

function leave(socket: WebSocket, how: () => void): void {
  // Without a listener an error of the last moment would end some programs.
  socket.addEventListener("error", () => undefined);
  how();
}

const refused = (url: string, why: string): UnreachableError => new UnreachableError(`cannot open the command's WebSocket at ${url}: ${why}`);

/** What came of the command, taken in the order in which it came. */
class Output {
  readonly #kept: Record<Stream, Uint8Array[]> = { stdout: [], stderr: [] };
  readonly #max: number;
  #waiting = 0;
  /** The calls of `onOutput` so far. */
  #taken: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly how: Exec,
    private readonly over: AbortSignal,
    private readonly resolve: (ran: Ran) => void,
    private readonly reject: (why: unknown) => void,
  ) {
    this.#max = how.outputBytesMax ?? OUTPUT_BYTES_MAX;
  }

  take(data: unknown): void {
    if (this.over.aborted || !(data instanceof ArrayBuffer) || data.byteLength === 0) return;
    const kind = new Uint8Array(data)[0];
    const rest = new Uint8Array(data, 1);
    if (kind === 2) this.#wrote("stdout", rest);
    else if (kind === 3) this.#wrote("stderr", rest);
    else if (kind === 6 && rest.length === 4) this.#ended(new DataView(data, 1).getInt32(0));
    else if (kind === 7) this.close(new CommandError(new TextDecoder().decode(rest)));
  }

  /** Nothing more comes; it is too late where the command's end came before. */
  close(why: Error = new CommandError("the way to the command broke off, which ended it")): void {
    this.#taken.then(() => this.reject(why), this.reject);
  }

  #ended(status: number): void {
    const whole = (): Ran => ({ status, stdout: joined(this.#kept.stdout), stderr: joined(this.#kept.stderr) });
    this.#taken.then(() => this.resolve(whole()), this.reject);
  }

  #wrote(stream: Stream, bytes: Uint8Array): void {
    const { onOutput } = this.how;
    this.#waiting += bytes.length;
    if (this.#waiting > this.#max) {
      const how = onOutput ? "take it sooner" : "take it as it comes, with `onOutput`";
      const why = `the command wrote more than ${this.#max} bytes that nobody took, and was ended; ${how}, or raise \`outputBytesMax\``;
      this.reject(new CommandError(why));
    } else if (onOutput) {
      this.#taken = this.#taken.then(() => (this.over.aborted ? undefined : onOutput(stream, bytes))).then(() => (this.#waiting -= bytes.length));
      this.#taken.catch(this.reject);
    } else {
      this.#kept[stream].push(bytes);
    }
  }
}

async function send(socket: WebSocket, stdin: NonNullable<Exec["stdin"]>, over: AbortSignal): Promise<void> {
  const given = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
  const pieces = given instanceof Uint8Array ? [given] : given;
  const source = Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
  for (let next; (next = await nextOf(source, over)) && !next.done; ) {
    const piece = next.value;
    for (let at = 0; at < piece.length && !over.aborted; at += INPUT_BYTES) {
      while (socket.bufferedAmount > WAITING_BYTES_MAX && !over.aborted) await pause(LOOK_MS);
      if (!over.aborted) socket.send(framed(0, piece.subarray(at, at + INPUT_BYTES)));
    }
  }
  if (!over.aborted) return socket.send(framed(1));
  // Nobody waits for what it does now, nor hears of it.
  await Promise.resolve(source.return?.()).catch(() => undefined);
}

type Source = Iterator<Uint8Array> | AsyncIterator<Uint8Array>;

/** The next piece; nothing once it is over, for a source may keep its next one for ever. */
function nextOf(source: Source, over: AbortSignal): Promise<IteratorResult<Uint8Array> | undefined> {
  return new Promise((resolve, reject) => {
    if (over.aborted) return resolve(undefined);
    const stop = (): void => resolve(undefined);
    over.addEventListener("abort", stop, { once: true });
    Promise.resolve(source.next()).then(resolve, reject).finally(() => over.removeEventListener("abort", stop));
  });
}

function framed(kind: number, bytes: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(1 + bytes.length);
  message[0] = kind;
  message.set(bytes, 1);
  return message;
}

function joined(pieces: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
