/** What receipts say, as docs/receipts.md specifies it; the verifier has read it strictly. */
import type { Quality } from "../wire/quality.ts";

export type Finding = "pass" | "fail" | "inconclusive";

export type Head = {
  readonly issuer: string;
  readonly issued_at_s: number;
  readonly countersign: "none" | { readonly node: string } | { readonly refused: string };
  readonly assurance: "timing" | "exclusive" | "quote";
  readonly does_not_prove: readonly string[];
  readonly evidence: readonly { readonly sha256: string; readonly bytes: number; readonly kept_until_s: number }[];
};

export type Porc = {
  readonly round: number;
  readonly gpu: string;
  readonly class: string;
  readonly elapsed: { readonly compute_us: number; readonly fill_us: number; readonly read_us: number; readonly render_us: number };
  readonly ratios: { readonly compute_permille: number; readonly memory_permille: number; readonly render_permille: number };
  readonly score_permille: number;
  readonly finding: Finding;
  readonly reason: string;
};

export type Porw = {
  readonly app: string;
  /** Presses that pictures count, of those that were made. */
  readonly markers: readonly [number, number];
  readonly quality: Quality;
  readonly finding: Finding;
  readonly reason: string;
  /** Of the session's marker: signs that agree, that do not, and that were looked for. */
  readonly signs?: readonly [number, number, number];
};

export type PlayedSession = {
  readonly node: string;
  readonly started_at_s: number;
  readonly stopped_at_s: number;
  readonly edge: Quality;
  /** What the pages that played it measured. */
  readonly player: readonly { readonly quality: Quality }[];
  readonly agreement: "agree" | "disagree" | "edge-only";
  readonly differs: readonly string[];
};

export type Judged = {
  readonly receipts: readonly string[];
  readonly dispute: string | null;
  readonly finding: Finding;
  readonly score_permille: number;
  readonly liars: readonly string[];
  readonly step: string;
  readonly reason: string;
};

/** Loosely typed where a newer broker may say more; {@link kindOf} tells which it is. */
export type Statement = {
  readonly predicateType: string;
  readonly subject: readonly { readonly name: string; readonly digest: { readonly sha256: string } }[];
  readonly predicate: { readonly head: Head; readonly body: unknown };
};

/** The kind as lists have it, such as `porc/v1`; `directory/v1` and what is newer have no statement. */
export function kindOf(statement: Statement): string {
  return (statement.predicateType ?? "").replace("https://nearlight.dev/", "");
}

/** The body of a proof of capacity, or null for another kind. */
export function porcOf(statement: Statement): Porc | null {
  return kindOf(statement) === "porc/v1" ? (statement.predicate.body as Porc) : null;
}
