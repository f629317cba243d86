/** A broker's client: sessions and usage. The types of what goes to and fro are in `wire`, which is generated. */

import createClient, { type Client as Api } from "openapi-fetch";
import { ConfigError, refusal } from "./errors.js";
import { retryingFetch } from "./retry.js";
import { type Progress, Session } from "./session.js";
import type { components, paths } from "./wire.js";

type Schemas = components["schemas"];
export type JobSpec = Schemas["JobSpec"];
export type UsageReport = Schemas["UsageReport"];

/** What to start, and how to wait for it. */
export interface Start {
  /** A job; or else `app`. */
  job?: JobSpec;
  /** An app of the catalogue. */
  app?: string;
  /** A value for each name in the job's `secrets`. */
  secrets?: Record<string, string>;
  /** What it may cost, millionths of the currency's unit; then it ends. */
  budgetMicro?: number;
  /** Whether to wait until it is ready; `true` without it. */
  wait?: boolean;
  /** Called with the session at once and after every change. */
  onProgress?: Progress;
  /** Ends the wait, and the session with it. */
  signal?: AbortSignal;
}

/** Of which usage. Days or instants such as `2026-01-31`; `group` is `day`, `app` or `label.NAME`. */
export interface UsageOf {
  since?: string;
  until?: string;
  group?: string;
  labels?: Record<string, string>;
}

/** The answer of a call, or what the broker says in its place. */
export async function taken<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok || data === undefined) throw refusal(response.url, response.status, error);
  return data;
}

/** A broker. In Node.js `connect` of `nearlight/node` finds it and its key. */
export class Client {
  /** Every route of `/openapi.json`, typed: `client.api.GET("/v1/nodes")`. It retries like all else. */
  readonly api: Api<paths>;
  readonly sessions: Sessions;

  constructor(options: { url: string; token: string }) {
    const url = options.url.replace(/\/+$/, "");
    if (!/^https?:\/\//.test(url)) {
      throw new ConfigError(`\`${url}\` is not the address of a broker; it looks like http://127.0.0.1:8080`);
    }
    const headers = { Authorization: `Bearer ${options.token.trim()}` };
    this.api = createClient<paths>({ baseUrl: url, headers, fetch: retryingFetch });
    this.sessions = new Sessions(this.api);
  }

  /** What ran, for how long, and what it costs (millionths), all pages of it. */
  async usage(of: UsageOf = {}): Promise<UsageReport> {
    const labels = Object.entries(of.labels ?? {}).map(([name, value]) => [`label.${name}`, value]);
    const given = { from: of.since, to: of.until, group: of.group, ...Object.fromEntries(labels) };
    let report: UsageReport | undefined;
    let after: string | null | undefined;
    do {
      const query = { ...given, ...(after != null && { after }) };
      // JSON, as nothing else is asked for.
      const page = (await taken(this.api.GET("/v1/usage", { params: { query } }))) as UsageReport;
      report = {
        ...page,
        entries: [...(report?.entries ?? []), ...(page.entries ?? [])],
        groups: [...(report?.groups ?? []), ...(page.groups ?? [])],
      };
      after = page.next;
    } while (after != null);
    return report;
  }
}

/** The sessions of a broker that this key may see. */
export class Sessions {
  constructor(private readonly api: Api<paths>) {}

  /**
   * Starts a job or an app, and waits until it is ready. What cannot be waited for, because the signal is
   * aborted, is ended: nobody else would.
   */
  async start(what: Start): Promise<Session> {
    const { app, job, secrets, budgetMicro } = what;
    const body = {
      ...(app !== undefined && { app }),
      ...(job !== undefined && { job }),
      ...(secrets !== undefined && { secrets }),
      ...(budgetMicro !== undefined && { budget_micro: budgetMicro }),
    };
    const header = { "idempotency-key": crypto.randomUUID() };
    const created = this.api.POST("/v1/sessions", { params: { header }, body: body as Schemas["CreateSession"] });
    const session = new Session(this.api, await taken(created));
    if (what.wait === false) return session;
    try {
      return await session.wait(what);
    } catch (error) {
      if (session.phase !== "ended") await session.end().catch(() => undefined);
      throw error;
    }
  }

  /** The jobs that the broker has ready, by id: `start({ job: (await sessions.recipes()).embeddings?.job })`. */
  async recipes(): Promise<Record<string, Schemas["Recipe"]>> {
    const { recipes } = await taken(this.api.GET("/v1/recipes"));
    return Object.fromEntries(recipes.map((recipe) => [recipe.id, recipe]));
  }

  /** One session. */
  async get(id: string): Promise<Session> {
    return new Session(this.api, await taken(this.api.GET("/v1/sessions/{id}", { params: { path: { id } } })));
  }

  /** The sessions, newest first: of one kind, or with all these labels. */
  async list(of: { kind?: "app" | "job"; labels?: Record<string, string> } = {}): Promise<Session[]> {
    const label = Object.entries(of.labels ?? {}).map(([name, value]) => `${name}=${value}`);
    const query = { ...(of.kind && { kind: of.kind }), ...(label.length > 0 && { label }) };
    const { sessions } = await taken(this.api.GET("/v1/sessions", { params: { query } }));
    return sessions.map((view) => new Session(this.api, view));
  }
}
