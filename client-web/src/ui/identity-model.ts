/**
 * Who the broker takes this browser for, as signals: a guest, a player, or nobody yet.
 *
 * ```text
 *  unknown --meet--> known (guest) --no longer known--> unknown
 *     |                known (player) --no longer known--> shut "login-over" --logged in elsewhere--> known
 *     |                                                        +--the person plays on as a guest--> unknown
 *     +--no guests are taken--> shut "no-guests"
 * ```
 *
 * Invariants: a player becomes a guest only by a person's wish, for a guest has not the player's sessions and saves;
 * `whoami` makes guests of those that are nobody, so a player is asked for only once something else was answered.
 * Does not know: what is shown to whom.
 */
import { signal } from "@preact/signals";
import type { Api } from "../session/api.ts";
import type { Refusal } from "../session/refusal.ts";
import type { WhoAmI } from "../wire/types.ts";

/** Why there is nothing to ask for: the broker takes no guests, or the player's login is over. */
export type Shut = "no-guests" | "login-over";

export class IdentityModel {
  /** Who plays, once the broker has said so. */
  readonly me = signal<WhoAmI | null>(null);
  readonly shut = signal<Shut | null>(null);
  /** Where one logs in, for whom the broker does not know. */
  readonly loginPath = signal<string | null>(null);
  /** Whether one may play as a guest whose login is over. */
  readonly guests = signal(false);
  readonly #api: Pick<Api, "whoami" | "loginOptions" | "logOut">;
  #known = false;
  /** Another tab may have logged in or out. */
  #doubted = false;

  constructor(api: Pick<Api, "whoami" | "loginOptions" | "logOut">) {
    this.#api = api;
  }

  /** Before anything is asked for. False if there is nothing to ask for yet. */
  async meet(): Promise<boolean> {
    // What a former player may see tells whether they have logged in again, and makes nobody a guest.
    if (this.#known || this.shut.value === "login-over") return true;
    const who = await this.#api.whoami();
    if (who.ok) {
      this.#learned(who.value);
      return true;
    }
    return who.refusal.name !== "unauthenticated" || this.#wayIn("no-guests");
  }

  /** The person was away: who is asked for next may be somebody else. */
  doubt(): void {
    this.#doubted = true;
  }

  /** Something of our own was answered, so there is somebody. */
  async answered(): Promise<void> {
    if (!this.#doubted && this.shut.value !== "login-over") return;
    const who = await this.#api.whoami();
    if (who.ok) this.#learned(who.value);
  }

  /** We were refused as nobody. False if there is nothing to ask for until the person acts. */
  async refused(): Promise<boolean> {
    const wasPlayer = this.me.value?.role === "player" || this.shut.value === "login-over";
    return this.#wayIn(wasPlayer ? "login-over" : "no-guests");
  }

  /** The person plays on without their login. */
  becomeGuest(): void {
    this.#forget();
  }

  /** Null if it is done. */
  async logOut(): Promise<Refusal | null> {
    const result = await this.#api.logOut();
    if (!result.ok) return result.refusal;
    this.#forget();
    return null;
  }

  /** The broker says how one gets in. True if it takes us as a guest after all: the trouble is another one then. */
  async #wayIn(why: Shut): Promise<boolean> {
    const options = await this.#api.loginOptions();
    if (!options.ok || (why === "no-guests" && options.value.guests)) return true;
    this.#forget();
    this.loginPath.value = options.value.login_path;
    this.guests.value = options.value.guests;
    this.shut.value = why;
    return false;
  }

  #learned(who: WhoAmI): void {
    this.me.value = who;
    this.shut.value = null;
    this.#known = true;
    this.#doubted = false;
  }

  #forget(): void {
    this.me.value = null;
    this.shut.value = null;
    this.#known = false;
  }
}
