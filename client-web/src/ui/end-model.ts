/**
 * The button that ends one session, as signals: the first press asks, the second ends, and what was refused can be
 * tried again.
 */
import { signal } from "@preact/signals";
import type { Refusal } from "../session/refusal.ts";

export class EndModel {
  readonly state = signal<"idle" | "sure" | "ending">("idle");
  /** Why the last try came to nothing. */
  readonly refused = signal<Refusal | null>(null);
  readonly #end: () => Promise<Refusal | null>;

  /** `end` answers null once the session is ending. */
  constructor(end: () => Promise<Refusal | null>) {
    this.#end = end;
  }

  async press(): Promise<void> {
    if (this.state.value === "ending") return;
    if (this.state.value === "idle") return void (this.state.value = "sure");
    this.state.value = "ending";
    this.refused.value = await this.#end();
    // One that does end stays so until its row goes.
    if (this.refused.value !== null) this.state.value = "idle";
  }

  /** The person turned to something else. */
  leave(): void {
    if (this.state.value === "sure") this.state.value = "idle";
  }
}
