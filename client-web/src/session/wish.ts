/**
 * The player's wish for a new session, with the key that makes asking again safe.
 *
 * Owns: the wish whose answer is not known. Invariant: until it is answered the same wish is asked for with the same
 * key and body, however often somebody clicks, so that an answer that was lost costs no second session. Does not know:
 * HTTP, who clicks.
 */
import type { CreateSession, Session } from "../wire/types.ts";
import type { Refusal, Result } from "./refusal.ts";
import { refusalWords, type Words } from "./words.ts";

export type Wish = { readonly body: CreateSession; readonly key: string };

export class Wishes {
  #open: Wish | null = null;

  /** Asks with `create`. `body` is how the session would begin if it is begun now. */
  async ask(body: CreateSession, create: (wish: Wish) => Promise<Result<Session>>): Promise<Result<Session>> {
    const again = this.#open && same(this.#open.body, body) ? this.#open : null;
    const wish = again ?? { body, key: newKey() };
    this.#open = wish;
    const result = await create(wish);
    if (result.ok || isAnswer(result.refusal)) this.#open = null;
    // What came of the first try is over meanwhile: whoever clicks now wants a new one.
    if (again && result.ok && result.value.state.phase === "ended") return this.ask(body, create);
    return result;
  }
}

/** Windows are resized between two clicks, and lines measured: app and saves are what was wished for. */
const same = (one: CreateSession, other: CreateSession): boolean => one.app === other.app && one.saves === other.saves;

/** Whether it is known now what became of the wish: a broker that broke off, or a proxy, says nothing of it. */
const isAnswer = ({ name }: Refusal): boolean => !["offline", "garbled", "internal"].includes(name);

/** What to say of a wish that came to nothing, or may have come to something unheard. */
export function wishWords(refusal: Refusal): Words {
  const words = refusalWords(refusal);
  return isAnswer(refusal) ? words : { ...words, advice: "The app may have been started all the same. Press again: it is not started twice." };
}

/** randomUUID exists in secure contexts only; a plain-http address of the local network is none. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
