/**
 * What the page of a watch link is doing: a pure table, state x event -> state and effects.
 * watch-runner.ts is its only driver; a test lists every edge.
 *
 * ```text
 *  looking --live--> attaching --picture--> watching
 *   |  ^ |              |  ^                   | peer lost, codec changed
 *   |  | +--not live--> waiting                v
 *   |  +-----retry------+--------------- reconnecting
 *   +--link over, session over--> over <--+ from any of them
 * ```
 *
 * Invariants: `over` keeps no timer and no peer; nothing here can be asked of the session but to see
 * and hear it. Does not know: time, HTTP, WebRTC, the DOM.
 */
import type { DetachReason } from "../wire/types.ts";
import type { Refusal } from "./refusal.ts";
import { backoffMs } from "./backoff.ts";
import type { LossCause } from "./machine.ts";

/** Why there is nothing to watch any more. `refused`: for a reason that only the refusal tells. */
export type WatchEnd = "link-ended" | "session-ended" | "not-found" | "refused";

export type WatchState =
  | { readonly name: "looking"; readonly attempt: number }
  /** The link holds, and there is no picture at the moment. */
  | { readonly name: "waiting" }
  | { readonly name: "attaching"; readonly attempt: number }
  | { readonly name: "watching" }
  | { readonly name: "reconnecting"; readonly attempt: number; readonly cause: LossCause }
  | { readonly name: "over"; readonly why: WatchEnd; readonly refusal: Refusal | null };

export type WatchEvent =
  | { readonly name: "looked"; readonly live: boolean }
  | { readonly name: "look-refused"; readonly refusal: Refusal }
  | { readonly name: "attach-refused"; readonly refusal: Refusal }
  | { readonly name: "picture-shown" }
  | { readonly name: "peer-lost"; readonly cause: LossCause }
  | { readonly name: "detach-noticed"; readonly reason: DetachReason }
  | { readonly name: "end-noticed" }
  | { readonly name: "retry-due" }
  | { readonly name: "retry-asked" };

export type WatchEffect =
  /** Ask what the link shows; answers looked or look-refused. */
  | { readonly name: "look" }
  | { readonly name: "attach" }
  | { readonly name: "drop-peer" }
  | { readonly name: "retry-in"; readonly ms: number }
  | { readonly name: "cancel-retry" };

export type WatchStep = { readonly state: WatchState; readonly effects: readonly WatchEffect[] };
type StateOf<N extends WatchState["name"]> = Extract<WatchState, { name: N }>;
type EventOf<N extends WatchEvent["name"]> = Extract<WatchEvent, { name: N }>;
type Row<S extends WatchState["name"]> = { readonly [E in WatchEvent["name"]]?: (state: StateOf<S>, event: EventOf<E>) => WatchStep };

/** How often to look whether there is a picture again. */
const WAITING_MS = 3_000;

const step = (state: WatchState, ...effects: WatchEffect[]): WatchStep => ({ state, effects });
const look = (attempt: number): WatchStep => step({ name: "looking", attempt }, { name: "cancel-retry" }, { name: "look" });
const waiting = (): WatchStep => step({ name: "waiting" }, { name: "drop-peer" }, { name: "retry-in", ms: WAITING_MS });
const over = (why: WatchEnd, refusal: Refusal | null = null): WatchStep =>
  step({ name: "over", why, refusal }, { name: "cancel-retry" }, { name: "drop-peer" });
const reconnect = (attempt: number, cause: LossCause, ms = backoffMs(attempt)): WatchStep =>
  step({ name: "reconnecting", attempt, cause }, { name: "drop-peer" }, { name: "retry-in", ms });

function onRefused(attempt: number, refusal: Refusal): WatchStep {
  const ms = refusal.retryAfterMs ?? backoffMs(attempt);
  switch (refusal.name) {
    case "link-ended":
    case "session-ended":
    case "not-found":
      return over(refusal.name, refusal);
    case "session-not-ready":
      return waiting();
    case "node-unreachable":
      return reconnect(attempt + 1, "refused", ms);
    case "internal":
    case "offline":
    case "too-many-requests":
      return reconnect(attempt + 1, "broker", ms);
    case "attached-elsewhere":
    case "bad-request":
    case "body-too-large":
    case "budget-reached":
    case "evidence-expired":
    case "forbidden":
    case "job-not-ready":
    case "log-unavailable":
    case "receipt-refused":
    case "job-unreachable":
    case "join-token-invalid":
    case "node-revoked":
    case "garbled":
    case "idempotency-conflict":
    case "invalid-offer":
    case "method-not-allowed":
    case "name-taken":
    case "no-webrtc":
    case "origin-refused":
    case "provider-unreachable":
    case "quota-exceeded":
    case "save-elsewhere":
    case "session-lost":
    case "ticket-invalid":
    case "unauthenticated":
    case "unsupported-media-type":
      return over("refused", refusal);
  }
}

function onDetached(reason: DetachReason): WatchStep {
  switch (reason) {
    case "link-revoked":
      return over("link-ended");
    // The same link holds: attach again, with whatever the stream is now.
    case "codec-changed":
    case "node-restarting":
      return reconnect(1, reason);
    case "protocol-error":
    case "taken-over":
      return over("refused");
  }
}

const TABLE: { readonly [S in WatchState["name"]]: Row<S> } = {
  looking: {
    looked: (state, event) => (event.live ? step({ name: "attaching", attempt: state.attempt }, { name: "attach" }) : waiting()),
    "look-refused": (state, event) => onRefused(state.attempt, event.refusal),
    "retry-asked": () => look(1),
  },
  waiting: {
    "retry-due": () => look(1),
    "retry-asked": () => look(1),
  },
  attaching: {
    "attach-refused": (state, event) => onRefused(state.attempt, event.refusal),
    "picture-shown": () => step({ name: "watching" }),
    "peer-lost": (state, event) => reconnect(state.attempt + 1, event.cause),
    "detach-noticed": (_, event) => onDetached(event.reason),
    "end-noticed": () => over("session-ended"),
  },
  watching: {
    "peer-lost": (_, event) => reconnect(1, event.cause),
    "detach-noticed": (_, event) => onDetached(event.reason),
    "end-noticed": () => over("session-ended"),
  },
  reconnecting: {
    "retry-due": (state) => look(state.attempt),
    "retry-asked": () => look(1),
  },
  over: {
    "retry-asked": (state) => (state.why === "refused" ? look(1) : step(state)),
  },
};

export type WatchOutcome = { readonly applied: true; readonly step: WatchStep } | { readonly applied: false };

/** One event. Where the table has no such edge the event is late or doubled, and nothing happens. */
export function handleWatch(state: WatchState, event: WatchEvent): WatchOutcome {
  const row: Readonly<Record<string, unknown>> = TABLE[state.name];
  const edge = row[event.name] as ((state: WatchState, event: WatchEvent) => WatchStep) | undefined;
  return edge ? { applied: true, step: edge(state, event) } : { applied: false };
}

export const WATCH_START: WatchStep = step({ name: "looking", attempt: 1 }, { name: "look" });

/** Every edge of the table as `state event`, for the test that lists them. */
export function watchEdges(): string[] {
  return Object.entries(TABLE).flatMap(([state, row]) => Object.keys(row).map((event) => `${state} ${event}`));
}
