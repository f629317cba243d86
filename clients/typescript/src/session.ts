/** One session: its states as they come, its endpoint, its end. */

import type { Client as Api } from "openapi-fetch";
import { taken } from "./client.js";
import { type Exec, type Ran, run } from "./command.js";
import { NearlightError, ProblemError, refusal, SessionEndedError, UnreachableError } from "./errors.js";
import { lines } from "./lines.js";
import { backoffMs, copyingFetch, pause, RETRIES, sendingFetch } from "./retry.js";
import type { components, paths } from "./wire.js";

type Schemas = components["schemas"];

/** Called with the session at once and after every change. */
export type Progress = (session: Session) => void;

/**
 * A session as it was when it was last asked for: `view` is all that the broker says of it.
 * `await using` ends it.
 */
export class Session implements AsyncDisposable {
  constructor(
    private readonly api: Api<paths>,
    public view: Schemas["Session"],
  ) {}

  /** Its id, `ses_...`. */
  get id(): string {
    return this.view.id;
  }

  /** Where it is in its life. */
  get state(): Schemas["SessionState"] {
    return this.view.state;
  }

  /** The state's name. */
  get phase(): Schemas["SessionState"]["phase"] {
    return this.state.phase;
  }

  /** Asks for it again. */
  async refresh(): Promise<this> {
    this.view = await taken(this.api.GET("/v1/sessions/{id}", this.#path));
    return this;
  }

  /** Returns once it is ready, or over because its work is done; throws `SessionEndedError` if it ends before. */
  async wait(how: { onProgress?: Progress; signal?: AbortSignal } = {}): Promise<this> {
    for (let breaks = 0; !this.#isThere(); breaks++) {
      for await (const view of this.#events(how.signal)) {
        breaks = 0;
        this.view = view;
        how.onProgress?.(this);
        if (this.#isThere()) return this;
      }
      // The broker stopped, or the line broke: the next stream begins with what was missed.
      if (breaks > RETRIES) throw new UnreachableError(`the events of ${this.id} break off; is the broker running?`);
      await pause(backoffMs(breaks), how.signal);
    }
    return this;
  }

  /**
   * Where the job is reached, and what opens it: `new OpenAI({ baseURL: url + "v1", apiKey: ticket })`. `scope` is what the
   * ticket is for, such as `{ methods: ["GET", "HEAD"], path: "/v1" }`. `direct_url`, if there is one, is the job's node's own,
   * and `direct_ticket` opens it and nothing else.
   */
  async endpoint(
    port?: string,
    expiresS?: number,
    scope: { methods?: string[]; path?: string } = {},
  ): Promise<Schemas["Endpoint"]> {
    const body = { ...(port !== undefined && { port }), ...(expiresS !== undefined && { expires_s: expiresS }), ...scope };
    return taken(this.api.POST("/v1/sessions/{id}/endpoint", { ...this.#path, body: body as Schemas["CreateEndpoint"] }));
  }

  /**
   * What the job's program wrote, each line once; with `follow` until the job is over. A connection that breaks is made
   * anew where it broke; `"gap"` stands for lines that are lost.
   */
  async *logs(of: { follow?: boolean; tail?: number; signal?: AbortSignal } = {}): AsyncGenerator<Schemas["LogLine"] | "gap"> {
    let after: string | undefined;
    let opened = false;
    for (let breaks = 0; ; breaks++) {
      const query = { follow: of.follow ?? false, ...(after === undefined ? of.tail !== undefined && { tail: of.tail } : { after }) };
      const params = { params: { ...this.#path.params, query } };
      const open = async (signal: AbortSignal): Promise<ReadableStream<Uint8Array>> => {
        const stream = await taken(this.api.GET("/v1/sessions/{id}/logs", { ...params, parseAs: "stream", signal }));
        opened = true;
        return stream as unknown as ReadableStream<Uint8Array>;
      };
      try {
        let [id, event]: [string | undefined, string] = [undefined, ""];
        for await (const line of lines(open, of.signal)) {
          if (line.startsWith("id: ")) id = line.slice(4);
          else if (line.startsWith("event: ")) event = line.slice(7);
          else if (!line.startsWith("data: ")) continue;
          else if (event === "end") return;
          else if (event === "gap") yield "gap";
          else {
            [after, breaks] = [id, 0];
            yield JSON.parse(line.slice(6)) as Schemas["LogLine"];
          }
        }
      } catch (error) {
        of.signal?.throwIfAborted();
        const name = error instanceof ProblemError ? error.problemName : "";
        if (opened && name === "session-ended") return;
        const passes = ["", "node-unreachable", "job-not-ready", "job-unreachable"].includes(name);
        if (error instanceof SyntaxError || !opened || !passes) throw error;
        // It ends, or goes on elsewhere: that takes its time.
        if (name === "job-not-ready") breaks = Math.min(breaks, 1);
      }
      if (breaks > RETRIES) throw new UnreachableError(`the log of ${this.id} breaks off; is the broker running?`);
      await pause(backoffMs(breaks), of.signal);
    }
  }

  /**
   * Runs a command in the job, as the job's user, to its end: its status, and what it wrote. Node.js has the WebSocket that it
   * needs since 22; before, `webSocket` is given one, such as the package `ws`.
   */
  async exec(command: string[], how: Exec = {}): Promise<Ran> {
    const { tty = false, size, replica, stdin } = how;
    if (tty && stdin !== undefined) throw new TypeError("`tty` and `stdin` exclude each other: a terminal has no end of input, so the command would wait for more");
    const body = { command, tty, stdin: stdin !== undefined, ...(size && { size }) };
    const params = { ...this.#path.params, ...(replica !== undefined && { query: { replica } }) };
    const call = this.api.POST("/v1/sessions/{id}/exec", { params, body, ...(how.signal && { signal: how.signal }) });
    const { data, error, response } = await call;
    if (!data) throw refusal(response.url, response.status, error);
    const base = response.url.slice(0, response.url.lastIndexOf("/v1/"));
    const url = base.replace(/^http/, "ws") + data.path;
    return run(url, [data.protocol, `nearlight.ticket.${data.ticket}`], how);
  }

  /** A file or a directory of the job, as a tar archive. Unpack it with care: it is the job's word. */
  async getFiles(path: string, how: { signal?: AbortSignal } = {}): Promise<ReadableStream<Uint8Array>> {
    const params = { params: { ...this.#path.params, query: { path } }, ...how, fetch: copyingFetch };
    return (await taken(this.api.GET("/v1/sessions/{id}/files", { ...params, parseAs: "stream" }))) as unknown as ReadableStream<Uint8Array>;
  }

  /**
   * Unpacks a tar archive in the job: below `path` if that is a directory, or else as `path`. It is sent once, as it is read:
   * a file is `await openAsBlob(name)` of `node:fs`.
   */
  async putFiles(path: string, archive: Blob, how: { signal?: AbortSignal } = {}): Promise<Schemas["Copied"]> {
    const params = { params: { ...this.#path.params, query: { path } }, ...how, fetch: sendingFetch };
    const headers = { "Content-Type": "application/x-tar" };
    // Bytes as they are, whatever the document's type of them is.
    const body = archive as unknown as never;
    return taken(this.api.PUT("/v1/sessions/{id}/files", { ...params, headers, body, bodySerializer: (bytes) => bytes }));
  }

  /** Ends it. Once is enough; one that is over stays over. */
  async end(): Promise<this> {
    this.view = await taken(this.api.DELETE("/v1/sessions/{id}", this.#path));
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end().catch((error: unknown) => {
      if (!(error instanceof ProblemError && error.problemName === "not-found")) throw error;
    });
  }

  get #path(): { params: { path: { id: string } } } {
    return { params: { path: { id: this.id } } };
  }

  /** Whether waiting is over; throws if it was in vain. */
  #isThere(): boolean {
    const { state } = this;
    if (state.phase === "ended" && state.reason !== "job-done") {
      throw new SessionEndedError(this.id, state.reason, state.detail);
    }
    return ["ready", "playing", "detached", "ended"].includes(state.phase);
  }

  /** The session at once and after every change. A broken stream ends like one that is over. */
  async *#events(signal?: AbortSignal): AsyncGenerator<Schemas["Session"]> {
    const open = (any: AbortSignal): Promise<ReadableStream<Uint8Array> | null> =>
      taken(this.api.GET("/v1/sessions/{id}/events", { ...this.#path, parseAs: "stream", signal: any }));
    try {
      for await (const line of lines(open, signal)) {
        if (line.startsWith("data:")) yield JSON.parse(line.slice(5)) as Schemas["Session"];
      }
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof NearlightError) throw error;
      signal?.throwIfAborted();
    }
  }
}
