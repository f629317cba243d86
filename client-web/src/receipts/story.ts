/** What a receipt says, in plain words. Nothing here says whether it is true: the report does. */
import { kindOf, type Finding, type Judged, type PlayedSession, type Porc, type Porw, type Statement } from "./statement.ts";
import type { Quality } from "../wire/quality.ts";

export type Line = { readonly term: string; readonly words: string };
export type Story = { readonly title: string; readonly summary: string; readonly lines: readonly Line[] };

export const KIND_WORDS: Readonly<Record<string, string>> = {
  "porc/v1": "Capacity check",
  "porw/v1": "Stream check",
  "session/v1": "Session",
  "verdict/v1": "Verdict",
  "revoke/v1": "Revocation",
  "dispute/v1": "Dispute",
  "directory/v1": "Directory of keys",
  "directory/v2": "Directory of keys, in pages",
  "directory-page/v1": "Page of the directory",
};

const ASSURANCE_WORDS: Readonly<Record<string, string>> = {
  timing: "Timing: answers came in time. Nothing else stands behind it.",
  exclusive: "Exclusive: answers came in time, while the operator's other cards were busy in the same round.",
  quote: "Quote: answers came in time, and a trusted execution environment vouches for the machine.",
};

export const kindWords = (kind: string): string => KIND_WORDS[kind] ?? kind;

/** Unix seconds as a date that is the same for everybody. */
export function when(unixS: number): string {
  return unixS > 0 ? `${new Date(unixS * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC` : "not said";
}

/** Thousandths of the reference as a multiple of it. */
export const ratio = (permille: number): string => `${(permille / 1000).toFixed(2)}×`;

const ms = (us: number): string => (us >= 10_000_000 ? `${(us / 1e6).toFixed(1)} s` : `${(us / 1000).toFixed(us < 10_000 ? 1 : 0)} ms`);
const short = (hex: string): string => `${hex.slice(0, 12)}…`;

function ended(finding: Finding, reason: string): string {
  const words = { pass: "Passed", fail: "Failed", inconclusive: "Nothing can be said" }[finding] ?? finding;
  return reason === "" ? words : `${words}: ${reason}`;
}

function porc(body: Porc): Story {
  const { ratios, elapsed } = body;
  return {
    title: "What a node can do, measured",
    summary: `${ended(body.finding, body.reason)}. It does ${ratio(body.score_permille)} of what its class “${body.class}” asks for, by its weakest part.`,
    lines: [
      { term: "Compute", words: `${ratio(ratios.compute_permille)} of the reference, in ${ms(elapsed.compute_us)}` },
      { term: "Memory", words: `${ratio(ratios.memory_permille)} of the reference: filled in ${ms(elapsed.fill_us)}, read in ${ms(elapsed.read_us)}` },
      { term: "Rendering", words: `${ratio(ratios.render_permille)} of the reference, in ${ms(elapsed.render_us)}` },
      { term: "Which part", words: body.gpu === "cpu" ? "The host's processor" : `The card ${body.gpu}` },
      { term: "Challenge", words: `Drawn from round ${body.round} of a public beacon: nobody could choose it, or compute ahead.` },
    ],
  };
}

/** Zero is "not measured". */
function both(term: string, [half, most]: readonly [number, number], at: string): Line[] {
  return half === 0 && most === 0 ? [] : [{ term, words: `${ms(half)} mostly, ${ms(most)} at worst (${at})` }];
}

function qualityLines(quality: Quality): Line[] {
  const [width, height] = quality.size;
  return [
    { term: "Picture", words: `${width} × ${height}, ${(quality.fps_milli / 1000).toFixed(1)} frames a second over ${quality.seconds} s` },
    ...both("Input to picture", quality.input_us, "99th percentile"),
    ...both("Round trip", quality.rtt_us, "95th percentile"),
    { term: "Freezes", words: quality.freezes === 0 ? "None" : String(quality.freezes) },
    ...(quality.encoder === "" ? [] : [{ term: "Encoder", words: quality.encode_us[0] === 0 ? quality.encoder : `${quality.encoder}, ${ms(quality.encode_us[0])} a picture` }]),
  ];
}

const presses = ([found, made]: Porw["markers"]): Line[] =>
  made === 0 ? [] : [{ term: "Presses", words: `The pictures count ${found} of ${made} that were made.` }];

/** Signs of the session's marker (docs/proof.md). */
const marker = (signs: Porw["signs"]): Line[] =>
  signs === undefined ? [] : [{ term: "Marker", words: `${signs[0]} of ${signs[2]} signs of the session's marker agree, ${signs[1]} do not; by chance half would.` }];

function porw(body: Porw): Story {
  return {
    title: "A real stream, measured by a player who was a checker",
    summary: `${ended(body.finding, body.reason)}. It played ${body.app}.`,
    lines: [
      ...qualityLines(body.quality),
      ...presses(body.markers),
      ...marker(body.signs),
    ],
  };
}

const AGREEMENT_WORDS: Readonly<Record<string, string>> = {
  agree: "The node and the player's side measured the same.",
  disagree: "The node and the player's side measured different things; both are below.",
  "edge-only": "The node alone measured; the player's side said nothing.",
};

function session(body: PlayedSession): Story {
  const seconds = body.stopped_at_s - body.started_at_s;
  const side = (who: string, quality: Quality): Line[] => qualityLines(quality).map(({ term, words }) => ({ term: `${term}, ${who}`, words }));
  const differs = body.differs.length === 0 ? [] : [{ term: "They differ in", words: body.differs.map((one) => one.replace("-", " ")).join(", ") }];
  return {
    title: "A session that was played",
    summary: `It ran for ${Math.max(0, Math.round(seconds / 60))} min, from ${when(body.started_at_s)}. ${AGREEMENT_WORDS[body.agreement] ?? ""}`,
    lines: [
      ...differs,
      ...body.player.flatMap(({ quality }, n) => side(body.player.length === 1 ? "the player says" : `page ${n + 1} says`, quality)),
      ...side("the node says", body.edge),
      { term: "Node", words: short(body.node) },
    ],
  };
}

function verdict(body: Judged): Story {
  const liars = body.liars.length === 0 ? [] : [{ term: "Refuted", words: body.liars.map(short).join(", ") }];
  return {
    title: body.dispute === null ? "What the checks of a round come to" : "How a dispute ended",
    summary: `${ended(body.finding, body.reason)}. ${ratio(body.score_permille)} of the reference counts.`,
    lines: [
      { term: "Weighed", words: `${body.receipts.length} receipts` },
      { term: "Executed again", words: body.step === "" ? "Nothing: all agreed" : body.step },
      ...liars,
    ],
  };
}

function told(kind: string, body: unknown): Story {
  if (kind === "porc/v1") return porc(body as Porc);
  if (kind === "porw/v1") return porw(body as Porw);
  if (kind === "session/v1") return session(body as PlayedSession);
  if (kind === "verdict/v1") return verdict(body as Judged);
  if (kind === "revoke/v1") {
    const { reason, from_s } = body as { reason: string; from_s: number };
    return { title: "Something is void", summary: reason, lines: [{ term: "From", words: when(from_s) }] };
  }
  if (kind === "dispute/v1") {
    const { claim, deadline_s } = body as { claim: string; deadline_s: number };
    return { title: "A receipt is contested", summary: claim, lines: [{ term: "To be decided by", words: when(deadline_s) }] };
  }
  return { title: kindWords(kind), summary: "This page is older than this kind of receipt; its text is below.", lines: [] };
}

function countersigned(head: Statement["predicate"]["head"]): string {
  if (head.countersign === "none") return "This kind asks for no signature of the node";
  if ("node" in head.countersign) return "The node signed it, too";
  return `The node did not sign: ${head.countersign.refused}`;
}

/** A receipt as a person reads it. */
export function story(statement: Statement): Story {
  const { head, body } = statement.predicate;
  const { title, summary, lines } = told(kindOf(statement), body);
  const about = statement.subject[0];
  const evidence = head.evidence.length === 0 ? [] : [{ term: "Evidence", words: `${head.evidence.length} pieces, kept until ${when(Math.min(...head.evidence.map((one) => one.kept_until_s)))} at least` }];
  return {
    title,
    summary,
    lines: [
      ...lines,
      { term: "About", words: about ? `${about.name} (${short(about.digest.sha256)})` : "nothing" },
      { term: "Issued", words: `${when(head.issued_at_s)}, by key ${short(head.issuer)}` },
      { term: "Node's signature", words: countersigned(head) },
      { term: "Assurance", words: ASSURANCE_WORDS[head.assurance] ?? head.assurance },
      ...evidence,
    ],
  };
}
