/**
 * What the player's page is doing about one session: a pure table, state x event -> state and
 * effects. runner.ts is its only driver; vectors/session.json lists every edge and a test proves
 * that the list and this table are the same.
 *
 * ```text
 *  opening --seen--> waiting --ready--> attaching --picture--> playing --reattach--> attaching
 *     |                                  |  ^  |                 | peer lost
 *     | problem                 problem  |  |  +-> elsewhere     v
 *     v                                  |  +---- retry ---- reconnecting
 *  refused <-----------------------------+        playing --taken over--> detached
 *  any of them --session ending / ended--> ending --> ended
 *  waiting, elsewhere, detached, ending --the session is gone--> refused
 * ```
 *
 * Invariants: `ended` and `refused` keep no timer, feed or peer; a take-over happens only when a
 * person asked for it; whoever was attached before gives its own attachment up first (runner).
 * Does not know: time, HTTP, WebRTC, the DOM.
 */
import type { DetachReason, EndReason, SessionState } from "../wire/types.ts";
import type { Refusal } from "./refusal.ts";
import { backoffMs } from "./backoff.ts";
import { attachOutlook, passes } from "./outlook.ts";

export type AttachStep = "ticket" | "offer" | "transport" | "picture";

export type State =
  /** Asking the broker for the session. */
  | { readonly name: "opening"; readonly attempt: number }
  /** It exists and cannot be attached yet: queued, placing, starting. */
  | { readonly name: "waiting"; readonly session: SessionState }
  | { readonly name: "attaching"; readonly attempt: number; readonly step: AttachStep }
  | { readonly name: "playing" }
  /** Waits for the next try. `attempt` counts tries since there was a picture. */
  | { readonly name: "reconnecting"; readonly attempt: number; readonly cause: LossCause }
  /** The owner plays it elsewhere. */
  | { readonly name: "elsewhere" }
  /** The edge ended our attachment for a reason that a retry would only repeat. */
  | { readonly name: "detached"; readonly reason: DetachReason }
  | { readonly name: "ending" }
  | { readonly name: "ended"; readonly reason: EndReason }
  | { readonly name: "refused"; readonly refusal: Refusal };

export type LossCause = "network" | "no-way" | "no-picture" | "node-restarting" | "codec-changed" | "broker" | "refused";

export type Event =
  | { readonly name: "session-seen"; readonly session: SessionState }
  | { readonly name: "open-refused"; readonly refusal: Refusal }
  | { readonly name: "attach-refused"; readonly refusal: Refusal }
  | { readonly name: "end-refused"; readonly refusal: Refusal }
  | { readonly name: "attach-progressed"; readonly step: AttachStep }
  | { readonly name: "picture-shown" }
  | { readonly name: "peer-lost"; readonly cause: LossCause }
  | { readonly name: "detach-noticed"; readonly reason: DetachReason }
  | { readonly name: "end-noticed"; readonly reason: EndReason }
  | { readonly name: "retry-due" }
  | { readonly name: "retry-asked" }
  | { readonly name: "take-over-asked" }
  /** The player chose something that only a new attachment can have. */
  | { readonly name: "reattach-asked" }
  | { readonly name: "end-asked" };

export type Effect =
  /** Ask for the session once; answers session-seen or open-refused. */
  | { readonly name: "open" }
  /** Keep watching it; answers session-seen, and open-refused where its events break off. */
  | { readonly name: "watch" }
  | { readonly name: "attach"; readonly takeOver: boolean }
  | { readonly name: "drop-peer" }
  | { readonly name: "retry-in"; readonly ms: number }
  | { readonly name: "cancel-retry" }
  /** Ask the broker to end the session; answers end-refused, or by what is watched. */
  | { readonly name: "end" }
  /** Nothing more will happen: close the feed. */
  | { readonly name: "unwatch" };

export type Step = { readonly state: State; readonly effects: readonly Effect[] };
type StateOf<N extends State["name"]> = Extract<State, { name: N }>;
type EventOf<N extends Event["name"]> = Extract<Event, { name: N }>;
type Row<S extends State["name"]> = { readonly [E in Event["name"]]?: (state: StateOf<S>, event: EventOf<E>) => Step };

const step = (state: State, ...effects: Effect[]): Step => ({ state, effects });
const attach = (attempt: number, takeOver: boolean): Step =>
  step({ name: "attaching", attempt, step: "ticket" }, { name: "cancel-retry" }, { name: "attach", takeOver });
const reconnect = (attempt: number, cause: LossCause, ms = backoffMs(attempt)): Step =>
  step({ name: "reconnecting", attempt, cause }, { name: "drop-peer" }, { name: "retry-in", ms });
const end = (reason: EndReason): Step =>
  step({ name: "ended", reason }, { name: "cancel-retry" }, { name: "drop-peer" }, { name: "unwatch" });
const ending = (): Step => step({ name: "ending" }, { name: "cancel-retry" }, { name: "drop-peer" });
const endAsked = (): Step => step({ name: "ending" }, { name: "cancel-retry" }, { name: "drop-peer" }, { name: "end" });
const refuse = (refusal: Refusal): Step =>
  step({ name: "refused", refusal }, { name: "cancel-retry" }, { name: "drop-peer" }, { name: "unwatch" });

/** The session's own news where we hold, or want, an attachment: only its end matters. */
function overOrStay<S extends State>(state: S, session: SessionState): Step {
  if (session.phase === "ended") return end(session.reason);
  if (session.phase === "ending") return ending();
  return step(state);
}

/** The session's news before the first attachment. */
function follow(session: SessionState, attempt: number): Step {
  switch (session.phase) {
    case "queued":
    case "placing":
    case "starting":
      return step({ name: "waiting", session });
    case "ready":
    case "playing":
    case "detached":
      return attach(attempt, false);
    case "ending":
      return ending();
    case "ended":
      return end(session.reason);
  }
}

/** What a refusal of our wish to attach means. */
function onAttachRefused(attempt: number, refusal: Refusal): Step {
  const wait = refusal.retryAfterMs ?? backoffMs(attempt);
  const outlook = attachOutlook(refusal);
  switch (outlook) {
    case "elsewhere":
      return step({ name: "elsewhere" }, { name: "drop-peer" });
    case "ask":
      return step({ name: "opening", attempt: attempt + 1 }, { name: "drop-peer" }, { name: "retry-in", ms: wait });
    case "refused":
    case "broker":
      return reconnect(attempt + 1, outlook, wait);
    case "none":
      return refuse(refusal);
  }
}

function onOpenRefused(attempt: number, refusal: Refusal): Step {
  if (!passes(refusal)) return refuse(refusal);
  return step({ name: "opening", attempt: attempt + 1 }, { name: "retry-in", ms: refusal.retryAfterMs ?? backoffMs(attempt) });
}

/** Where all that we know of the session comes from the broker: one that it does not know any more is over for us. */
const goneOrStay = <S extends State>(state: S, { refusal }: { readonly refusal: Refusal }): Step =>
  passes(refusal) ? step(state) : refuse(refusal);
/** The events of a line that was cut may be long in coming: ask. */
const lookAgain = <S extends State>(state: S): Step => step(state, { name: "open" });

function onDetachNoticed(reason: DetachReason): Step {
  switch (reason) {
    case "node-restarting":
      return reconnect(1, reason);
    // The node says it once it encodes something else: there is nothing to wait for.
    case "codec-changed":
      return reconnect(1, reason, 0);
    case "taken-over":
    case "protocol-error":
    case "link-revoked":
      return step({ name: "detached", reason }, { name: "drop-peer" });
  }
}

const TABLE: { readonly [S in State["name"]]: Row<S> } = {
  opening: {
    "session-seen": (state, event) => {
      const next = follow(event.session, state.attempt);
      return { state: next.state, effects: [{ name: "watch" }, ...next.effects] };
    },
    "open-refused": (state, event) => onOpenRefused(state.attempt, event.refusal),
    "retry-due": (state) => step(state, { name: "open" }),
    "retry-asked": () => step({ name: "opening", attempt: 1 }, { name: "cancel-retry" }, { name: "open" }),
  },
  waiting: {
    "session-seen": (_, event) => follow(event.session, 1),
    "open-refused": goneOrStay,
    "retry-asked": lookAgain,
    "end-asked": endAsked,
  },
  attaching: {
    "session-seen": (state, event) => overOrStay(state, event.session),
    "reattach-asked": () => attach(1, false),
    "attach-refused": (state, event) => onAttachRefused(state.attempt, event.refusal),
    "attach-progressed": (state, event) => step({ ...state, step: event.step }),
    "picture-shown": () => step({ name: "playing" }),
    // An attempt that did not connect has waited long enough: the next one often does at once.
    "peer-lost": (state, event) =>
      event.cause === "no-way" ? reconnect(state.attempt + 1, event.cause, 0) : reconnect(state.attempt + 1, event.cause),
    "detach-noticed": (_, event) => onDetachNoticed(event.reason),
    "end-noticed": (_, event) => end(event.reason),
    "end-asked": endAsked,
  },
  playing: {
    "session-seen": (state, event) => overOrStay(state, event.session),
    "reattach-asked": () => attach(1, false),
    "peer-lost": (_, event) => reconnect(1, event.cause),
    "detach-noticed": (_, event) => onDetachNoticed(event.reason),
    "end-noticed": (_, event) => end(event.reason),
    "end-asked": endAsked,
  },
  reconnecting: {
    "session-seen": (state, event) => overOrStay(state, event.session),
    "retry-due": (state) => attach(state.attempt, false),
    "retry-asked": () => attach(1, false),
    "end-asked": endAsked,
  },
  elsewhere: {
    "session-seen": (state, event) => overOrStay(state, event.session),
    "open-refused": goneOrStay,
    "retry-asked": lookAgain,
    "take-over-asked": () => attach(1, true),
    "end-asked": endAsked,
  },
  detached: {
    "session-seen": (state, event) => overOrStay(state, event.session),
    "open-refused": goneOrStay,
    "retry-asked": lookAgain,
    "take-over-asked": () => attach(1, true),
    "end-asked": endAsked,
  },
  ending: {
    "session-seen": (state, event) => (event.session.phase === "ended" ? end(event.session.reason) : step(state)),
    "end-noticed": (_, event) => end(event.reason),
    "open-refused": goneOrStay,
    // The wish to end did not arrive: show why, and let the person try again.
    "end-refused": (_, event) => refuse(event.refusal),
  },
  ended: {},
  refused: {
    "retry-asked": () => step({ name: "opening", attempt: 1 }, { name: "open" }),
  },
};

export type Outcome = { readonly applied: true; readonly step: Step } | { readonly applied: false };

/** One event. Where the table has no such edge the event is late or doubled, and nothing happens. */
export function handle(state: State, event: Event): Outcome {
  const row: Readonly<Record<string, unknown>> = TABLE[state.name];
  const edge = row[event.name] as ((state: State, event: Event) => Step) | undefined;
  return edge ? { applied: true, step: edge(state, event) } : { applied: false };
}

export const START: Step = step({ name: "opening", attempt: 1 }, { name: "open" });

/** Every edge of the table as `state event`, for the test that compares it with the vectors. */
export function edges(): string[] {
  return Object.entries(TABLE).flatMap(([state, row]) => Object.keys(row).map((event) => `${state} ${event}`));
}
