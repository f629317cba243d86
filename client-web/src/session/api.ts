/**
 * The HTTP API as typed calls. Every call answers a value, never throws: `ok`, or a `Refusal` that
 * is the broker's problem+json, or what we know where there was none (offline, a proxy's error
 * page, a deadline).
 *
 * Owns: URLs, headers, deadlines, the guest identity. Does not know: what a refusal means for a
 * session (machine.ts) or for a person (words.ts).
 */
import type {
  AppList, CreateSession, LoginOptions, NewWatchLink, NodeList, PlayerSaid, RegionList, Session, SessionList, SessionReceipt, Ticket, Watched,
  WatchLinkList, WhoAmI,
} from "../wire/types.ts";
import { askWho, oneTabAtATime } from "./one-tab.ts";
import { refusalOf, refuse, type Result } from "./refusal.ts";

/** Where an accepted offer lives. */
export type Accepted = { readonly sdp: string; readonly location: string; readonly etag: string | null };

const DEADLINE_MS = 10_000;
/** An offer is relayed to the node, which may be busy starting an encoder. */
const OFFER_DEADLINE_MS = 15_000;

type Call = {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE";
  readonly json?: unknown;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
  readonly keepalive?: boolean;
  /** Sends no cookie, takes none, and makes nobody a guest. */
  readonly anonymous?: boolean;
  /** Makes nobody a guest first. */
  readonly asIs?: boolean;
};

export class Api {
  readonly #fetch: typeof fetch;
  #identity: Promise<Result<Response>> | null = null;
  /** The broker knew us as a player: one whose login is over does not become a guest unasked. */
  #player = false;

  constructor(fetcher: typeof fetch = (input, init) => fetch(input, init)) {
    this.#fetch = fetcher;
  }

  /** Who we are to the broker; makes a newcomer a guest. */
  async whoami(): Promise<Result<WhoAmI>> {
    const who = await oneTabAtATime(() => this.#json<WhoAmI>("/v1/whoami", { asIs: true }));
    if (who.ok) this.#player = who.value.role === "player";
    return who;
  }

  /** How one can get in. Asks for no identity. */
  loginOptions(): Promise<Result<LoginOptions>> {
    return this.#json("/v1/login/options", { anonymous: true });
  }

  /** Ends this browser's login. */
  async logOut(): Promise<Result<null>> {
    const result = await this.#done("/v1/logout", { method: "POST", asIs: true });
    if (result.ok) this.#player = false;
    return result;
  }

  apps(): Promise<Result<AppList>> {
    return this.#json("/v1/apps", {});
  }

  nodes(): Promise<Result<NodeList>> {
    return this.#json("/v1/nodes", {});
  }

  regions(): Promise<Result<RegionList>> {
    return this.#json("/v1/regions", {});
  }

  sessions(): Promise<Result<SessionList>> {
    return this.#json("/v1/sessions", {});
  }

  /** Starts an app. `key` makes a repeat of the same wish safe (Idempotency-Key). */
  create(wish: CreateSession, key: string): Promise<Result<Session>> {
    return this.#json("/v1/sessions", { method: "POST", json: wish, headers: { "Idempotency-Key": key } });
  }

  session(id: string): Promise<Result<Session>> {
    return this.#json(`/v1/sessions/${encodeURIComponent(id)}`, {});
  }

  eventsPath(id: string): string {
    return `/v1/sessions/${encodeURIComponent(id)}/events`;
  }

  end(id: string): Promise<Result<null>> {
    return this.#done(`/v1/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  /** `sampleKey` is what this page signs its samples with, if it can. */
  ticket(id: string, takeOver: boolean, sampleKey = ""): Promise<Result<Ticket>> {
    const headers = sampleKey === "" ? {} : { "Nearlight-Sample-Key": sampleKey };
    return this.#json(`/v1/sessions/${encodeURIComponent(id)}/tickets`, { method: "POST", json: { take_over: takeOver }, headers });
  }

  /** Says what was measured so far. Works while the page goes away. */
  putSample(id: string, said: PlayerSaid): Promise<Result<null>> {
    return this.#done(`/v1/sessions/${encodeURIComponent(id)}/quality`, { method: "POST", json: said, keepalive: true });
  }

  /** Where the session's receipt is, once there is one. */
  receipt(id: string): Promise<Result<SessionReceipt>> {
    return this.#json(`/v1/sessions/${encodeURIComponent(id)}/receipt`, {});
  }

  /** Posts the offer of a line check; answers the node's answer. */
  async probe(node: string, sdp: string): Promise<Result<string>> {
    const result = await this.#call(`/v1/nodes/${encodeURIComponent(node)}/probe`, {
      method: "POST",
      body: sdp,
      headers: { "Content-Type": "application/sdp", Accept: "application/sdp" },
      deadlineMs: OFFER_DEADLINE_MS,
    });
    return result.ok ? { ok: true, value: await result.value.text() } : result;
  }

  /** Posts the offer (draft-ietf-wish-whep). The ticket is spent by it. */
  offer(ticket: Ticket, sdp: string): Promise<Result<Accepted>> {
    return this.#offer(ticket.whep_path, sdp, { Authorization: `Bearer ${ticket.ticket}` });
  }

  /** Makes a link for others to watch on. Its address is told only now. */
  createWatchLink(session: string, expiresS: number): Promise<Result<NewWatchLink>> {
    return this.#json(watchLinks(session), { method: "POST", json: { expires_s: expiresS } });
  }

  watchLinks(session: string): Promise<Result<WatchLinkList>> {
    return this.#json(watchLinks(session), {});
  }

  revokeWatchLink(session: string, link: string): Promise<Result<null>> {
    return this.#done(`${watchLinks(session)}/${encodeURIComponent(link)}`, { method: "DELETE" });
  }

  /** What a watch link shows. Asks for no identity. */
  watched(token: string): Promise<Result<Watched>> {
    return this.#json(`/v1/watch/${encodeURIComponent(token)}`, { anonymous: true });
  }

  /** Posts a watcher's offer. */
  watch(token: string, sdp: string): Promise<Result<Accepted>> {
    return this.#offer(`/v1/watch/${encodeURIComponent(token)}/whep`, sdp, null);
  }

  /** A watcher goes. Works while the page goes away. */
  async leave(location: string): Promise<void> {
    await this.#call(location, { method: "DELETE", keepalive: true, deadlineMs: 3_000, anonymous: true });
  }

  async #offer(path: string, sdp: string, right: Readonly<Record<string, string>> | null): Promise<Result<Accepted>> {
    const result = await this.#call(path, {
      method: "POST",
      body: sdp,
      headers: { "Content-Type": "application/sdp", Accept: "application/sdp", ...right },
      deadlineMs: OFFER_DEADLINE_MS,
      anonymous: right === null,
    });
    if (!result.ok) return result;
    const location = result.value.headers.get("Location");
    if (!location) return refuse("garbled", "The answer names no attachment.");
    return {
      ok: true,
      value: { sdp: await result.value.text(), location, etag: result.value.headers.get("ETag") },
    };
  }

  /** Sends trickled candidates. A refusal is no drama: the edge learns our address from our checks. */
  patch(location: string, ticket: string | null, etag: string | null, fragment: string): Promise<Result<null>> {
    return this.#done(location, {
      method: "PATCH",
      body: fragment,
      headers: {
        "Content-Type": "application/trickle-ice-sdpfrag",
        ...(ticket === null ? {} : { Authorization: `Bearer ${ticket}` }),
        ...(etag === null ? {} : { "If-Match": etag }),
      },
      anonymous: ticket === null,
    });
  }

  /** Gives an attachment up, by its ticket or else as the session's owner. Works while the page goes
   *  away; one that is gone already is no failure worth telling. */
  async detach(location: string, ticket: string): Promise<Result<null>> {
    const call: Call = { method: "DELETE", keepalive: true, deadlineMs: 3_000 };
    const result = await this.#done(location, { ...call, headers: { Authorization: `Bearer ${ticket}` } });
    const spent = !result.ok && ["ticket-invalid", "unauthenticated", "forbidden"].includes(result.refusal.name);
    return spent ? this.#done(location, call) : result;
  }

  async #done(path: string, call: Call): Promise<Result<null>> {
    const result = await this.#call(path, call);
    return result.ok ? { ok: true, value: null } : result;
  }

  async #json<T>(path: string, call: Call): Promise<Result<T>> {
    const result = await this.#call(path, call);
    if (!result.ok) return result;
    try {
      return { ok: true, value: (await result.value.json()) as T };
    } catch {
      return refuse("garbled", "The answer is not JSON.");
    }
  }

  /** One request; on `unauthenticated` whoever was no player becomes a guest once and asks again. */
  async #call(path: string, call: Call): Promise<Result<Response>> {
    const first = await this.#once(path, call);
    const becomes = !call.anonymous && !call.asIs && !call.headers?.["Authorization"] && !this.#player;
    if (first.ok || first.refusal.name !== "unauthenticated" || !becomes) return first;
    const guest = await this.#becomeGuest();
    return guest.ok ? this.#once(path, call) : guest;
  }

  #becomeGuest(): Promise<Result<Response>> {
    this.#identity ??= oneTabAtATime(() => askWho(() => this.#once("/v1/whoami", {}))).finally(() => (this.#identity = null));
    return this.#identity;
  }

  async #once(path: string, call: Call): Promise<Result<Response>> {
    const deadline = AbortSignal.timeout(call.deadlineMs ?? DEADLINE_MS);
    const headers: Record<string, string> = { Accept: "application/json", ...call.headers };
    if (call.json !== undefined) headers["Content-Type"] = "application/json";
    try {
      const response = await this.#fetch(path, {
        method: call.method ?? "GET",
        headers,
        body: call.json === undefined ? (call.body ?? null) : JSON.stringify(call.json),
        credentials: call.anonymous ? "omit" : "same-origin",
        cache: "no-store",
        keepalive: call.keepalive ?? false,
        signal: deadline,
      });
      return response.ok ? { ok: true, value: response } : { ok: false, refusal: await refusalOf(response) };
    } catch {
      return refuse("offline", deadline.aborted ? "There was no answer in time." : "There was no answer.");
    }
  }
}

const watchLinks = (session: string): string => `/v1/sessions/${encodeURIComponent(session)}/watch-links`;
