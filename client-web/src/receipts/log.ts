/**
 * The log of receipts as its broker serves it to anybody: no login, no cookie.
 *
 * Owns: addresses and deadlines. Does not know: whether what it is told is true; the verifier says.
 */
import { refusalOf, refuse, type Result } from "../session/refusal.ts";
import type { ReceiptList } from "../wire/types.ts";

const DEADLINE_MS = 15_000;
/** What changes how a receipt stands. */
const CONTESTING = ["dispute/v1", "revoke/v1", "verdict/v1"];
/** More than a verifier looks at. */
const LATER_MAX = 256;
/** Of a list, 200 receipts each: more than anybody contests. */
const PAGES_MAX = 10;

export type Wanted = { readonly about?: string; readonly node?: string; readonly before?: number; readonly limit?: number };

export class Log {
  readonly #fetch: typeof fetch;

  constructor(fetcher: typeof fetch = (input, init) => fetch(input, init)) {
    this.#fetch = fetcher;
  }

  /** Whose keys are whose, and what the log's operator says to believe: the answer as it is. */
  directory(): Promise<Result<string>> {
    return this.#text("/v1/directory");
  }

  /** A receipt with its proof: the answer as it is. */
  receipt(index: number): Promise<Result<string>> {
    return this.#text(`/v1/receipts/${index}`);
  }

  async list(wanted: Wanted): Promise<Result<ReceiptList>> {
    const query = new URLSearchParams(Object.entries(wanted).map(([name, value]) => [name, String(value)]));
    const text = await this.#text(`/v1/receipts?${query}`);
    if (!text.ok) return text;
    try {
      return { ok: true, value: JSON.parse(text.value) as ReceiptList };
    } catch {
      return refuse("garbled", "The answer is not JSON.");
    }
  }

  /** What the log has that may contest a receipt: about it and its issuer; and, if it is disputed, how that ended. */
  async later(leaf: string, issuer: string, subject: string): Promise<Result<string[]>> {
    const places = new Set<number>();
    const about = [leaf, ...(issuer === leaf ? [] : [issuer])];
    for (let wanted = about.shift(); wanted !== undefined; wanted = about.shift()) {
      const found = await this.#contesting(wanted);
      if (!found.ok) return found;
      for (const one of found.value.filter((one) => one.leaf !== leaf && !places.has(one.index))) {
        places.add(one.index);
        // A verdict is about the dispute, or about the node.
        if (wanted === leaf && one.kind === "dispute/v1") about.push(one.leaf, ...(about.includes(subject) ? [] : [subject]));
      }
    }
    const texts: string[] = [];
    for (const place of [...places].sort((a, b) => a - b).slice(0, LATER_MAX)) {
      const text = await this.receipt(place);
      if (!text.ok) return text;
      texts.push(text.value);
    }
    return { ok: true, value: texts };
  }

  async #contesting(about: string): Promise<Result<ReceiptList["receipts"]>> {
    const found: ReceiptList["receipts"] = [];
    let before: number | null = null;
    let pages = 0;
    do {
      const page: Result<ReceiptList> = await this.list({ about, ...(before === null ? {} : { before }) });
      if (!page.ok) return page;
      found.push(...page.value.receipts.filter((one) => CONTESTING.includes(one.kind)));
      before = page.value.next_before;
      pages += 1;
    } while (before !== null && pages < PAGES_MAX && found.length < LATER_MAX);
    return { ok: true, value: found };
  }

  async #text(path: string): Promise<Result<string>> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    try {
      const answer = await this.#fetch(path, { headers: { Accept: "application/json" }, credentials: "omit", cache: "no-store", signal });
      return answer.ok ? { ok: true, value: await answer.text() } : { ok: false, refusal: await refusalOf(answer) };
    } catch {
      return refuse("offline", signal.aborted ? "There was no answer in time." : "There was no answer.");
    }
  }
}
