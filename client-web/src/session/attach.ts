/**
 * One try to attach: give our own old attachment up, get a ticket, post the offer, connect.
 *
 * Owns: the try. Invariant: an attachment of another tab is ended only by a ticket with `take_over`, which a
 * person asked for. Does not know: what comes after a failure (machine.ts).
 */
import type { Notice } from "../wire/types.ts";
import type { Mark } from "../wire/codec.ts";
import { Link, type LinkEvents } from "../stream/link.ts";
import type { Api } from "./api.ts";
import type { HeldAttachment } from "./held.ts";
import type { Refusal } from "./refusal.ts";
import type { AttachStep } from "./machine.ts";

/** The broker learns from the node that our old attachment is gone; that takes a moment. */
const RELEASE_TRIES = 10;
const RELEASE_WAIT_MS = 200;

export type AttachEvents = {
  readonly progressed: (step: AttachStep) => void;
  readonly refused: (refusal: Refusal) => void;
  readonly lost: () => void;
  readonly notice: (notice: Notice) => void;
  readonly mark: (mark: Mark) => void;
  readonly ready: () => void;
  readonly foreignVersion: () => void;
};

/** `link` is null where the browser has none to give: the refusal follows. */
export type Attempt = { readonly link: Link | null; readonly close: () => void };

/** Of a browser without WebRTC, or with a policy against it. */
export const NO_WEBRTC: Refusal = { name: "no-webrtc", detail: "", instance: "", retryAfterMs: null };

/** The transport of an attempt, or null where the browser makes no connections. */
export function makeLink(events: LinkEvents): Link | null {
  try {
    return new Link(events);
  } catch {
    return null;
  }
}

export type AttachWish = {
  readonly session: string;
  /** Whether a person asked to end another attachment. */
  readonly takeOver: boolean;
  /** The codec that the player wants, if a certain one. */
  readonly codec: string | null;
  /** What the page signs its samples with; "" if it cannot. */
  readonly sampleKey: Promise<string>;
};

/** Begins; everything that follows comes through `events`, nothing after `close`. */
export function beginAttach(api: Api, { session, takeOver, codec, sampleKey }: AttachWish, held: HeldAttachment, events: AttachEvents): Attempt {
  let over = false;
  const live = <A extends unknown[]>(then: (...args: A) => void) => (...args: A): void => {
    if (!over) then(...args);
  };
  const fragments: string[] = [];
  let send: ((fragment: string) => void) | null = null;
  const close = (): void => void (over = true);
  const link = makeLink({
    connected: live(() => events.progressed("picture")),
    lost: live(events.lost),
    notice: live(events.notice),
    mark: live(events.mark),
    ready: live(events.ready),
    foreignVersion: live(events.foreignVersion),
    candidates: live((fragment) => (send ? send(fragment) : void fragments.push(fragment))),
  });
  if (link === null) {
    queueMicrotask(() => live(events.refused)(NO_WEBRTC));
    return { link, close };
  }

  /** Ours was given up a moment ago: "attached elsewhere" may still mean us. */
  const ticketFor = async (tries: number): ReturnType<Api["ticket"]> => {
    const ticket = await api.ticket(session, takeOver, await sampleKey);
    if (ticket.ok || ticket.refusal.name !== "attached-elsewhere" || tries === 0 || over) return ticket;
    await new Promise((done) => setTimeout(done, RELEASE_WAIT_MS));
    return ticketFor(tries - 1);
  };

  const run = async (): Promise<void> => {
    const [released, sdp] = await Promise.all([held.release(api), link.offer(codec)]);
    const ticket = await ticketFor(released ? RELEASE_TRIES : 0);
    if (over) return;
    if (!ticket.ok) return events.refused(ticket.refusal);
    await link.gather(sdp, ticket.value.ice_servers ?? []);
    if (over) return;
    events.progressed("offer");
    const accepted = await api.offer(ticket.value, sdp);
    if (!accepted.ok) return live(events.refused)(accepted.refusal);
    const { location, etag } = accepted.value;
    if (over) return void api.detach(location, ticket.value.ticket);
    held.hold({ session, location, ticket: ticket.value.ticket });
    events.progressed("transport");
    await link.accept(accepted.value.sdp);
    send = (fragment) => void api.patch(location, ticket.value.ticket, etag, fragment);
    fragments.forEach(send);
  };

  run().catch((cause: unknown) => {
    const detail = cause instanceof Error ? cause.message : String(cause);
    live(events.refused)({ name: "invalid-offer", detail, instance: "", retryAfterMs: null });
  });
  return {
    link,
    close: () => {
      close();
      link.close();
    },
  };
}
