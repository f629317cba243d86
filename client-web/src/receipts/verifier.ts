/**
 * The verifier of receipts in this browser: the same crate that `nearlight receipt verify` uses, as WebAssembly
 * (verifier/wasm), fetched when the first question is asked.
 *
 * Owns: the module and its memory. Does not know: where receipt, proof and policy came from.
 */
import { isRecord } from "../wire/json.ts";
import type { Statement } from "./statement.ts";

export type Outcome = "VALID" | "DISPUTED" | "REVOKED" | "MALFORMED" | "UNKNOWN-KEY" | "FORGED" | "NOT-LOGGED" | "NOT-WITNESSED";

export type Check = {
  readonly name: string;
  readonly passed: boolean;
  readonly keys: readonly string[];
  readonly pinned_by: string;
  readonly found: string;
};

export type Report = {
  readonly outcome: Outcome;
  readonly checks: readonly Check[];
  readonly warnings: readonly string[];
  readonly as_of_size: number | null;
  readonly as_of_s: number | null;
};

/** What the verifier says of a receipt. */
export type Verified = {
  readonly report: Report;
  readonly exit_code: number;
  readonly cautions: readonly string[];
  readonly statement: Statement | null;
  readonly leaf: string | null;
};

/** A key of the directory. */
export type DirectoryKey = {
  readonly id: string;
  readonly role: string;
  readonly operator: string;
  readonly from_s: number;
  readonly until_s: number;
  readonly revoked_at_s: number | null;
};

export type Keys = { readonly serial: number; readonly issued_at_s: number; readonly keys: readonly DirectoryKey[] };

/** Whom to believe: the directory's answer, and a policy of one's own or none. */
export type Trust = { readonly directory: string; readonly authority: string | null; readonly policy: string | null };

/** Why there is no answer: the module is not there, or what it was given is no policy, directory or receipt. */
export type Answered<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly why: string };

type Exports = {
  readonly memory: WebAssembly.Memory;
  readonly verify_room: (bytes: number) => number;
  readonly verify_asked: () => number;
  readonly verify_answer: () => number;
};

/** Where the broker has the module. */
const MODULE = "/verifier.wasm";

async function fetched(): Promise<ArrayBuffer> {
  const answer = await fetch(MODULE, { signal: AbortSignal.timeout(30_000) });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return await answer.arrayBuffer();
}

export class Verifier {
  readonly #load: () => Promise<BufferSource>;
  #exports: Promise<Exports> | null = null;

  constructor(load: () => Promise<BufferSource> = fetched) {
    this.#load = load;
  }

  /** Verifies a receipt: an answer of GET /v1/receipts/INDEX, or an envelope with its proof. */
  verify(receipt: string, proof: string | null, trust: Trust, later: readonly string[]): Promise<Answered<Verified>> {
    return this.#ask({ receipt, proof, ...trust, later });
  }

  /** Whose keys are whose, once the directory's signature is verified. */
  keys(trust: Trust): Promise<Answered<Keys>> {
    return this.#ask({ receipt: null, proof: null, ...trust, later: [] });
  }

  async #ask<T>(question: unknown): Promise<Answered<T>> {
    this.#exports ??= this.#start();
    try {
      const exports = await this.#exports;
      const answer: unknown = JSON.parse(ask(exports, JSON.stringify(question)));
      if (isRecord(answer) && typeof answer["error"] === "string") return { ok: false, why: answer["error"] };
      return { ok: true, value: answer as T };
    } catch (error) {
      this.#exports = null;
      return { ok: false, why: `The verifier does not run in this browser: ${String(error)}` };
    }
  }

  async #start(): Promise<Exports> {
    const { instance } = await WebAssembly.instantiate(await this.#load());
    return instance.exports as unknown as Exports;
  }
}

/** A question into the module's memory, and its answer out of it. */
function ask(module: Exports, question: string): string {
  const bytes = new TextEncoder().encode(question);
  const room = module.verify_room(bytes.length);
  if (room === 0) throw new Error("the question is too long");
  new Uint8Array(module.memory.buffer, room, bytes.length).set(bytes);
  const length = module.verify_asked();
  // The memory may have grown, and is another buffer then.
  return new TextDecoder().decode(new Uint8Array(module.memory.buffer, module.verify_answer(), length));
}
