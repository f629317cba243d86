/**
 * The attachment that this tab holds, as far as it remembers: kept in the tab's store, so that the page after a reload
 * can give it up.
 *
 * A duplicated tab inherits the store, and in some browsers the kind of navigation, of a tab that still plays. So the
 * page that made an attachment holds a lock of its name for as long as it lives, and a page that found one in its store
 * gives it up only once it has that lock.
 *
 * Invariants: what another page holds is forgotten, and never given up; a page that goes away gives its own up without
 * waiting for anything. Does not know: tickets, what comes after.
 */
import type { Api } from "./api.ts";
import { passes } from "./outlook.ts";

type Held = { readonly session: string; readonly location: string; readonly ticket: string };
type TabStore = Pick<Storage, "getItem" | "setItem" | "removeItem">;
type Locks = Pick<LockManager, "request">;

const HELD_KEY = "nearlight.attachment";
/** The page before a reload lets go as it goes; another tab does not. */
const LOCK_WAIT_MS = 1_000;

export class HeldAttachment {
  readonly #store: TabStore | null;
  readonly #locks: Locks | undefined;
  #held: Held | null;
  /** Ends our lock; null where what is held was found in the store. */
  #claim: AbortController | null = null;

  /** `store` is null where the browser keeps nothing: a reload may then find itself attached elsewhere. */
  constructor(store: TabStore | null, locks: Locks | undefined = globalThis.navigator?.locks) {
    this.#store = store;
    this.#locks = locks;
    this.#held = parseHeld(store?.getItem(HELD_KEY) ?? null);
  }

  id(session: string): string | null {
    return this.#held?.session === session ? (this.#held.location.split("/").at(-1) ?? null) : null;
  }

  hold(held: Held): void {
    this.#held = held;
    this.#claim?.abort();
    this.#claim = claim(this.#locks, held);
    try {
      this.#store?.setItem(HELD_KEY, JSON.stringify(held));
    } catch {
      // A full store, or one that was closed since: as if there were none.
    }
  }

  /** Forgets it without telling anyone: it is over, or was never ours. */
  forget(): void {
    this.#held = null;
    this.#claim?.abort();
    this.#claim = null;
    try {
      this.#store?.removeItem(HELD_KEY);
    } catch {
      // What cannot be forgotten is given up once more after a reload, which does no harm.
    }
  }

  /**
   * Gives it up on the broker, so that the next ticket needs no take-over; true if there was one. It
   * is forgotten only with the answer: a page that goes away gets none, and asks again when it is back.
   */
  async release(api: Pick<Api, "detach">): Promise<boolean> {
    const held = this.#held;
    if (!held) return false;
    // Also where the answer will not be heard: the next page of this tab must find it free.
    if (this.#claim) this.#claim.abort();
    else if (!(await isFree(this.#locks, held))) {
      if (this.#held === held) this.forget();
      return false;
    }
    const result = await api.detach(held.location, held.ticket);
    if (this.#held === held && (result.ok || !passes(result.refusal))) this.forget();
    return true;
  }
}

const lockOf = ({ location }: Held): string => `nearlight-attachment ${location}`;

/** Holds the lock from now, or as soon as may be, until it is aborted. Without locks there is nothing to hold. */
function claim(locks: Locks | undefined, held: Held): AbortController {
  const over = new AbortController();
  const { signal } = over;
  const ended = new Promise<void>((done) => signal.addEventListener("abort", () => done()));
  locks?.request(lockOf(held), { signal }, () => ended).catch(() => undefined);
  return over;
}

/** Whether no page holds it. Where locks cannot be asked, it counts as free: the tab says that it was its own. */
async function isFree(locks: Locks | undefined, held: Held): Promise<boolean> {
  if (!locks) return true;
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), LOCK_WAIT_MS);
  try {
    await locks.request(lockOf(held), { signal: over.signal }, () => undefined);
    return true;
  } catch {
    return !over.signal.aborted;
  } finally {
    clearTimeout(timer);
  }
}

function parseHeld(text: string | null): Held | null {
  try {
    const held = JSON.parse(text ?? "null") as Held | null;
    return held && typeof held.location === "string" ? held : null;
  } catch {
    return null;
  }
}
