/**
 * What this page says of the session it plays: samples, signed with a key that is made here for this visit
 * and never leaves the browser. A browser without Ed25519 says them unsigned.
 *
 * Owns: the key, the timers, that samples leave in order. Does not know: how anything is measured.
 */
import type { PlayerSaid } from "../wire/types.ts";
import type { Quality } from "../wire/quality.ts";
import { textOf } from "../stream/tally.ts";
import type { Api } from "./api.ts";

const EVERY_MS = 60_000;
/** The first one: a session of less than a minute says how far its node is, too. */
const FIRST_MS = 10_000;
/** What a signature covers begins with this. */
const SIGNED = "nearlight player sample v1\n";

export type SampleKey = { readonly hex: string; readonly sign: (text: string) => Promise<string> };

const hex = (bytes: ArrayBuffer): string => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A key for this visit; null where the browser makes none. */
export async function makeKey(): Promise<SampleKey | null> {
  try {
    const pair = (await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"])) as CryptoKeyPair;
    const key = hex(await crypto.subtle.exportKey("raw", pair.publicKey));
    const sign = async (text: string): Promise<string> =>
      hex(await crypto.subtle.sign({ name: "Ed25519" }, pair.privateKey, new TextEncoder().encode(SIGNED + text)));
    return { hex: key, sign };
  } catch {
    return null;
  }
}

/** A sample as it is sent. */
export async function sampleOf(quality: Quality, key: SampleKey | null, last: boolean): Promise<PlayerSaid> {
  const sample = textOf(quality);
  if (!key) return { sample, key: "", signature: "", last };
  return { sample, key: key.hex, signature: await key.sign(sample), last };
}

export class Witness {
  readonly #api: Api;
  readonly #session: string;
  readonly #quality: () => Quality | null;
  readonly #key: Promise<SampleKey | null>;
  #sent: Promise<unknown> = Promise.resolve();
  #said = false;

  constructor(api: Api, session: string, quality: () => Quality | null, signal: AbortSignal, key = makeKey()) {
    this.#api = api;
    this.#session = session;
    this.#quality = quality;
    this.#key = key;
    const first = setTimeout(() => void this.say(false), FIRST_MS);
    const timer = setInterval(() => void this.say(false), EVERY_MS);
    const hidden = (): void => {
      if (document.hidden) void this.say(false);
    };
    if (typeof document !== "undefined") document.addEventListener("visibilitychange", hidden, { signal });
    signal.addEventListener("abort", () => {
      clearTimeout(first);
      clearInterval(timer);
    });
  }

  /** The key's name, for the ticket; "" if there is none. */
  async keyHex(): Promise<string> {
    return (await this.#key)?.hex ?? "";
  }

  /** Says what was measured so far; once the last was said, nothing more. */
  say(last: boolean): Promise<unknown> {
    const quality = this.#quality();
    if (quality === null || this.#said) return this.#sent;
    this.#said = last;
    this.#sent = this.#sent.then(async () => this.#api.putSample(this.#session, await sampleOf(quality, await this.#key, last)));
    return this.#sent;
  }
}
