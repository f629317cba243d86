/**
 * What the pages of receipts share: the log, the verifier, and whom to believe.
 *
 * Whom to believe is the server's directory, and a policy of the visitor's own if one was given; it stays until the
 * page is closed. Does not know: which page is shown.
 */
import { signal } from "@preact/signals";
import type { Log } from "../../receipts/log.ts";
import { kindOf, porcOf, type Statement } from "../../receipts/statement.ts";
import type { Point } from "../../receipts/plot.ts";
import type { Keys, Trust, Verified, Verifier } from "../../receipts/verifier.ts";
import { refusalWords } from "../../session/words.ts";
import type { Refusal } from "../../session/refusal.ts";
import type { ReceiptSummary } from "../../wire/types.ts";

/** A policy of the visitor's own. */
export type OwnPolicy = { readonly text: string; readonly from: string };

/** Something that is fetched and verified. */
export type Loaded<T> = { readonly state: "loading" } | { readonly state: "failed"; readonly why: string } | { readonly state: "here"; readonly value: T };

export const LOADING: Loaded<never> = { state: "loading" };
export const failed = (why: string): Loaded<never> => ({ state: "failed", why });
export const here = <T>(value: T): Loaded<T> => ({ state: "here", value });

/** Receipts of a node that the plot looks at, newest first. */
const PLOTTED_MAX = 60;
/** Fetched at the same time. */
const AT_ONCE = 4;

export function why(refusal: Refusal): string {
  if (refusal.name === "not-found") return refusal.detail === "" ? "There is none." : refusal.detail;
  const { title, advice } = refusalWords(refusal);
  return `${title}. ${advice}`;
}

/** A receipt as the pages show it. */
export type Opened = { readonly verified: Verified; readonly text: string };

export class ReceiptsModel {
  readonly policy = signal<OwnPolicy | null>(null);
  readonly #log: Log;
  readonly #verifier: Verifier;

  constructor(log: Log, verifier: Verifier) {
    this.#log = log;
    this.#verifier = verifier;
  }

  async trust(): Promise<Loaded<Trust>> {
    const directory = await this.#log.directory();
    if (!directory.ok) return failed(why(directory.refusal));
    return here({ directory: directory.value, authority: null, policy: this.policy.value?.text ?? null });
  }

  async keys(): Promise<Loaded<Keys>> {
    const trust = await this.trust();
    if (trust.state !== "here") return trust;
    // What the visitor believes of logs does not change whose keys are whose.
    const keys = await this.#verifier.keys({ ...trust.value, policy: null });
    return keys.ok ? here(keys.value) : failed(keys.why);
  }

  /** A receipt of the log, verified with what the log has against it. */
  async open(index: number): Promise<Loaded<Opened>> {
    const [trust, text] = await Promise.all([this.trust(), this.#log.receipt(index)]);
    if (!text.ok) return failed(why(text.refusal));
    if (trust.state !== "here") return trust;
    return this.#opened(text.value, null, trust.value);
  }

  /** A text that the visitor has: what the API answers, or an envelope with its proof. */
  async check(text: string, proof: string): Promise<Loaded<Opened>> {
    const trust = await this.trust();
    if (trust.state !== "here") return trust;
    return this.#opened(text, proof.trim() === "" ? null : proof, trust.value);
  }

  async #opened(text: string, proof: string | null, trust: Trust): Promise<Loaded<Opened>> {
    const alone = await this.#verifier.verify(text, proof, trust, []);
    if (!alone.ok) return failed(alone.why);
    const { statement, leaf } = alone.value;
    if (alone.value.report.outcome !== "VALID" || statement === null || leaf === null) return here({ verified: alone.value, text });
    const issuer = statement.predicate.head.issuer;
    const subject = statement.subject[0]?.digest.sha256 ?? leaf;
    const later = await this.#log.later(leaf, issuer, subject);
    if (!later.ok) return failed(`Whether it was contested later cannot be told. ${why(later.refusal)}`);
    if (later.value.length === 0) return here({ verified: alone.value, text });
    const verified = await this.#verifier.verify(text, proof, trust, later.value);
    return verified.ok ? here({ verified: verified.value, text }) : failed(verified.why);
  }

  /** Receipts, newest first, and where the next page begins. */
  async list(about: string | null, before: number | null): Promise<Loaded<{ receipts: ReceiptSummary[]; next: number | null }>> {
    const list = await this.#log.list({ ...(about === null ? {} : about.startsWith("nod_") ? { node: about } : { about }), ...(before === null ? {} : { before }) });
    if (!list.ok) return failed(why(list.refusal));
    return here({ receipts: list.value.receipts, next: list.value.next_before });
  }

  /** The ratios of the newest capacity checks among these, each verified here. Calls `each` as they come. */
  async points(receipts: readonly ReceiptSummary[], over: AbortSignal, each: (point: Point) => void): Promise<void> {
    const trust = await this.trust();
    if (trust.state !== "here") return;
    const wanted = receipts.filter((one) => one.kind === "porc/v1").slice(0, PLOTTED_MAX);
    const next = wanted.values();
    const take = async (): Promise<void> => {
      for (const { index } of next) {
        const text = await this.#log.receipt(index);
        if (over.aborted) return;
        if (!text.ok) continue;
        const verified = await this.#verifier.verify(text.value, null, trust.value, []);
        const point = verified.ok ? pointOf(index, verified.value) : null;
        if (point !== null && !over.aborted) each(point);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, take));
  }
}

function pointOf(index: number, { statement, report }: Verified): Point | null {
  const porc = statement && porcOf(statement);
  if (!statement || !porc) return null;
  const { issued_at_s } = statement.predicate.head;
  return { index, at_s: issued_at_s, permille: porc.score_permille, finding: porc.finding, valid: report.outcome === "VALID" };
}

/** Whether an entry is a statement, which a directory is not. */
export function isStatement(statement: Statement | null): statement is Statement {
  return statement !== null && typeof statement.predicateType === "string" && kindOf(statement) !== "";
}
