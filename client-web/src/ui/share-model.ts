/**
 * The watch links of one session, as signals. The broker keeps only a hash of each, so an address is
 * known where it was made: this tab remembers it.
 */
import { signal } from "@preact/signals";
import type { Api } from "../session/api.ts";
import type { Refusal } from "../session/refusal.ts";
import type { WatchLink } from "../wire/types.ts";

export class ShareModel {
  readonly links = signal<readonly WatchLink[] | null>(null);
  readonly refused = signal<Refusal | null>(null);
  readonly busy = signal(false);
  readonly #api: Api;
  readonly #session: string;

  constructor(api: Api, session: string) {
    this.#api = api;
    this.#session = session;
  }

  async load(): Promise<void> {
    const result = await this.#api.watchLinks(this.#session);
    if (result.ok) this.links.value = result.value.links;
    this.refused.value = result.ok ? null : result.refusal;
  }

  /** Makes a link; answers its whole address, or null where that was refused. */
  async make(expiresS: number): Promise<string | null> {
    this.busy.value = true;
    const result = await this.#api.createWatchLink(this.#session, expiresS);
    this.busy.value = false;
    this.refused.value = result.ok ? null : result.refusal;
    if (!result.ok) return null;
    const address = new URL(result.value.url, location.href).href;
    remember(result.value.id, address);
    await this.load();
    return address;
  }

  async revoke(link: string): Promise<void> {
    const result = await this.#api.revokeWatchLink(this.#session, link);
    this.refused.value = result.ok || result.refusal.name === "not-found" ? null : result.refusal;
    if (this.refused.value === null) this.links.value = (this.links.value ?? []).filter(({ id }) => id !== link);
  }

  /** The address of a link that was made in this tab, or null. */
  address(link: string): string | null {
    try {
      return made.get(link) ?? sessionStorage.getItem(key(link));
    } catch {
      return null;
    }
  }
}

const key = (link: string): string => `nearlight.watch-link.${link}`;

/** The addresses that were made since the page was loaded, for a browser that keeps nothing. */
const made = new Map<string, string>();

function remember(link: string, address: string): void {
  made.set(link, address);
  try {
    sessionStorage.setItem(key(link), address);
  } catch {
    // It is known until the page is left: a new link is a click away.
  }
}
