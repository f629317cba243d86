/**
 * The line checks of this device, as signals: by itself once before the first play, and whenever
 * the player asks. One at a time; none ever stands in the way of playing.
 */
import { signal } from "@preact/signals";
import { checkLine } from "../probe/check.ts";
import type { Check, KeptChecks } from "../probe/kept.ts";
import { judge } from "../probe/verdict.ts";
import type { Api } from "../session/api.ts";
import { medium, metered } from "../stream/gauge.ts";
import type { Node } from "../wire/types.ts";

/** `busy`: the node checks others, or the broker asks for a pause. `refused`: it takes no checks.
 *  `unreachable`: no packet came through. `impossible`: the browser has no WebRTC. */
export type FailedCheck = "busy" | "refused" | "unreachable" | "impossible";

export type LineState =
  | { readonly name: "idle" }
  | { readonly name: "checking"; readonly node: string; readonly share: number }
  | { readonly name: "checked"; readonly node: string; readonly check: Check }
  | { readonly name: "failed"; readonly node: string; readonly why: FailedCheck };

export class LineModel {
  readonly state = signal<LineState>({ name: "idle" });
  readonly #api: Api;
  readonly #kept: KeptChecks;
  readonly #timed: (node: string, ms: number) => void;
  #running: AbortController | null = null;
  #offered = false;

  /** `timed` hears the least round trip to a node that a check measured. */
  constructor(api: Api, kept: KeptChecks, timed: (node: string, ms: number) => void = () => {}) {
    this.#api = api;
    this.#kept = kept;
    this.#timed = timed;
  }

  /** The check of `node` that still holds. Reads the state, so that a view follows it. */
  of(node: string): Check | null {
    const state = this.state.value;
    return state.name === "checked" && state.node === node ? state.check : this.#kept.of(node, Date.now());
  }

  /** Once in a visit: checks the way to the node that would be played on, if that is not known.
   *  A player who pays for data is left to ask for it. */
  offer(nodes: readonly Node[]): void {
    if (this.#offered || document.hidden) return;
    const node = nodes.find(({ status, slots_free }) => status === "online" && slots_free > 0) ?? nodes.find(({ status }) => status === "online");
    if (!node) return;
    this.#offered = true;
    if (!metered() && this.#kept.of(node.id, Date.now()) === null) void this.check(node.id, false);
  }

  /** Checks the way to `node`. `asked`: a person did, and hears of a failure. */
  async check(node: string, asked: boolean): Promise<void> {
    if (this.#running) return;
    const running = new AbortController();
    this.#running = running;
    this.state.value = { name: "checking", node, share: 0 };
    let busy = false;
    const post = async (sdp: string): Promise<string | null> => {
      const answer = await this.#api.probe(node, sdp);
      busy = !answer.ok && answer.refusal.name === "too-many-requests";
      return answer.ok ? answer.value : null;
    };
    const progress = (share: number): void => void (this.state.value = { name: "checking", node, share });
    const checked = await checkLine(post, progress, running.signal);
    this.#running = null;
    if (checked.ok) {
      const check = { verdict: judge(checked.figures, medium()), figures: checked.figures, atMs: Date.now() };
      this.#kept.keep(node, check);
      const least = checked.figures.trips?.min_ms;
      if (least !== undefined) this.#timed(node, least);
      this.state.value = { name: "checked", node, check };
    } else {
      const why = checked.why === "refused" && busy ? "busy" : checked.why;
      this.state.value = !asked || why === "stopped" ? { name: "idle" } : { name: "failed", node, why };
    }
  }

  /** Stops a check: the player does not want to wait, or there is a stream now that needs the line. */
  stop(): void {
    this.#running?.abort();
  }

  dismiss(): void {
    if (!this.#running) this.state.value = { name: "idle" };
  }
}
