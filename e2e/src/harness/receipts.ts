/** A checker as a stranger would write one: keys, statements and envelopes by Node's own cryptography (docs/receipts.md). */

import { createHash, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { describe } from "./api.js";
import type { Stack } from "./stack.js";
import { until } from "./until.js";

type Json = string | number | null | readonly Json[] | { readonly [name: string]: Json };

/** RFC 8785 for what receipts have: plain strings, integers, and names that sort as bytes do. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value as Readonly<Record<string, Json>>).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
}

const NONE = "00".repeat(32);
const TYPE = "application/vnd.in-toto+json";

export class Signer {
  readonly #key: KeyObject;
  /** The public key, hex. */
  readonly key: string;
  /** Its id. */
  readonly id: string;

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    this.#key = privateKey;
    const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
    this.key = raw.toString("hex");
    this.id = createHash("sha256").update(raw).digest("hex");
  }

  /** Has the operator put this key into the directory. */
  letIn(stack: Stack, role: string, operator: string): Promise<void> {
    return Signer.letInKey(stack, this.key, role, operator);
  }

  /** As `letIn`, for a key that is somebody else's. */
  static async letInKey(stack: Stack, key: string, role: string, operator: string): Promise<void> {
    const window = { role, operator, licence: null, from_s: 0, until_s: 4_000_000_000 };
    const answer = await stack.operator.request("PUT", `/v1/directory/keys/${key}`, { json: window });
    if (answer.status !== 204) throw new Error(`the directory does not take the key: ${describe(answer)}`);
  }

  /** An envelope with a statement that this key signs. */
  envelope(kind: string, subject: { name: string; sha256: string }, issuedAtS: number, body: Json): string {
    const head = {
      issuer: this.id,
      issued_at_s: issuedAtS,
      countersign: "none",
      assurance: "timing",
      does_not_prove: ["that no machine nearby answered in the node's place within the deadlines"],
      evidence: [],
    };
    const payload = Buffer.from(
      canonical({
        _type: "https://in-toto.io/Statement/v1",
        subject: [{ name: subject.name, digest: { sha256: subject.sha256 } }],
        predicateType: `https://nearlight.dev/${kind}`,
        predicate: { head, body },
      }),
    );
    const covered = Buffer.concat([Buffer.from(`DSSEv1 ${TYPE.length} ${TYPE} ${payload.length} `), payload]);
    const signature = sign(null, covered, this.#key).toString("base64");
    return canonical({ payload: payload.toString("base64"), payloadType: TYPE, signatures: [{ keyid: this.id, sig: signature }] });
  }

  /** What this key, a checker's, says of a node's capacity. */
  capacity(node: { name: string; sha256: string }, issuedAtS: number, round: number, permille: number): string {
    const passes = permille >= 500;
    return this.envelope("porc/v1", node, issuedAtS, {
      round, beacon: NONE, gpu: "cpu", class: "software", table: NONE, probe: `probe-${round}`, checkers: NONE,
      nonce: NONE, read_secret: NONE, open_secret: NONE,
      sizes: { rows: 1024, blocks: 2048, lanes: 256, reads: 20_000, frames: 6, tiles: 200, steps: 96 },
      matrix_root: NONE, fill_root: NONE, read_root: NONE, frame_root: NONE,
      elapsed: { compute_us: 13_100_000, fill_us: 1_900_000, read_us: 1_700_000, render_us: 21_400_000 },
      ratios: { compute_permille: permille, memory_permille: permille + 90, render_permille: permille + 40 },
      score_permille: permille,
      finding: passes ? "pass" : "fail",
      reason: passes ? "" : "the score is less than the class asks for",
    });
  }
}

/** Hands an envelope in. Its place in the log, and its leaf. */
export async function append(stack: Stack, envelope: string): Promise<{ index: number; leaf: string }> {
  const headers = { "content-type": "application/vnd.dsse.envelope.v1+json" };
  // The log opens a moment after the broker.
  return until("the log to take a receipt", async () => {
    const answer = await stack.operator.request<{ index: number; leaf: string }>("POST", "/v1/receipts", { body: envelope, headers });
    if (answer.status === 503) return undefined;
    if (![200, 201].includes(answer.status)) throw new Error(`the log refuses a receipt: ${describe(answer)}`);
    return answer.body;
  });
}
