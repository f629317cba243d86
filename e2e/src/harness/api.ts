/** The HTTP API as a stranger's client uses it: `fetch`, the wire types, and no knowledge of the broker's code. */

import { randomUUID } from "node:crypto";
import type {
  AppList,
  CreateSession,
  NodeList,
  Problem,
  Session,
  SessionList,
  SessionState,
  Ticket,
} from "../../../client-web/src/wire/types.js";
import { Hopeless, until, type Patience } from "./until.js";

export interface Reply<T = unknown> {
  status: number;
  headers: Headers;
  /** Parsed where the answer is JSON, text elsewhere. */
  body: T;
}

export interface RequestOptions {
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  body?: string | Uint8Array;
  headers?: Record<string, string>;
}

const REQUEST_DEADLINE_MS = 30_000;

export class Api {
  constructor(
    readonly base: string,
    /** API key or nothing. */
    private readonly key?: string,
    /** `name=value` of a guest. */
    private readonly cookie?: string,
  ) {}

  /** A new guest: `GET /v1/whoami` mints the cookie. */
  static async guest(base: string): Promise<Api> {
    const reply = await new Api(base).request("GET", "/v1/whoami");
    const cookie = reply.headers.getSetCookie().find((line) => line.startsWith("nearlight_guest="));
    if (!cookie) throw new Error(`whoami minted no guest: ${describe(reply)}`);
    return new Api(base, undefined, cookie.split(";")[0]);
  }

  async request<T = unknown>(method: string, path: string, options: RequestOptions = {}): Promise<Reply<T>> {
    const headers = new Headers(options.headers);
    if (this.key && !headers.has("authorization")) headers.set("authorization", `Bearer ${this.key}`);
    if (this.cookie) headers.set("cookie", this.cookie);
    let body = options.body;
    if (options.json !== undefined) {
      body = JSON.stringify(options.json);
      if (!headers.has("content-type")) headers.set("content-type", "application/json");
    }
    const answer = await fetch(this.base + path, {
      method,
      headers,
      redirect: "manual",
      signal: AbortSignal.timeout(REQUEST_DEADLINE_MS),
      ...(body === undefined ? {} : { body: body as BodyInit }),
    });
    const text = await answer.text();
    const isJson = /[/+]json\b/.test(answer.headers.get("content-type") ?? "");
    return { status: answer.status, headers: answer.headers, body: (isJson ? JSON.parse(text) : text) as T };
  }

  private async expect<T>(status: number, method: string, path: string, options?: RequestOptions): Promise<T> {
    const reply = await this.request<T>(method, path, options);
    if (reply.status !== status) throw new Error(`${method} ${path}: wanted ${status}, got ${describe(reply)}`);
    return reply.body;
  }

  create(request: CreateSession, key: string = randomUUID()): Promise<Session> {
    return this.expect(201, "POST", "/v1/sessions", { json: request, headers: { "idempotency-key": key } });
  }

  session(id: string): Promise<Session> {
    return this.expect(200, "GET", `/v1/sessions/${id}`);
  }

  async sessions(): Promise<Session[]> {
    return (await this.expect<SessionList>(200, "GET", "/v1/sessions")).sessions;
  }

  async end(id: string): Promise<void> {
    await this.expect(202, "DELETE", `/v1/sessions/${id}`);
  }

  ticket(id: string, takeOver = false): Promise<Ticket> {
    return this.expect(201, "POST", `/v1/sessions/${id}/tickets`, { json: { take_over: takeOver } });
  }

  async apps(): Promise<AppList["apps"]> {
    return (await this.expect<AppList>(200, "GET", "/v1/apps")).apps;
  }

  async nodes(): Promise<NodeList["nodes"]> {
    return (await this.expect<NodeList>(200, "GET", "/v1/nodes")).nodes;
  }

  /** Waits until the session is in one of `phases`. An end that was not asked for is an error at once. */
  async reach(id: string, phases: SessionState["phase"][], patience: Patience = {}): Promise<Session> {
    let last: Session | undefined;
    return until(
      `${id} to be ${phases.join(" or ")}`,
      async () => {
        last = await this.session(id);
        if (phases.includes(last.state.phase)) return last;
        if (last.state.phase === "ended") throw new Hopeless(`${id} ended: ${JSON.stringify(last.state)}`);
        return undefined;
      },
      { within_ms: 60_000, instead: () => last?.state, ...patience },
    );
  }

  /** Waits until the session is over, and answers why. */
  async reachEnd(id: string, patience: Patience = {}): Promise<Extract<SessionState, { phase: "ended" }>> {
    const { state } = await this.reach(id, ["ended"], patience);
    if (state.phase !== "ended") throw new Error("unreachable");
    return state;
  }

  /** Creates a session and waits until it shows a picture. */
  async start(request: CreateSession): Promise<Session> {
    const session = await this.create(request);
    return this.reach(session.id, ["ready"]);
  }
}

export function describe(reply: Reply): string {
  return `${reply.status} ${typeof reply.body === "string" ? reply.body.slice(0, 300) : JSON.stringify(reply.body)}`;
}

/** The problem in a refusal. */
export function problem(reply: Reply): Problem {
  const type = reply.headers.get("content-type");
  if (!type?.startsWith("application/problem+json")) throw new Error(`no problem+json but ${type}: ${describe(reply)}`);
  return reply.body as Problem;
}
