/**
 * How long each part of an attempt to attach may take, and what it means that it took longer. Does not know: who
 * waits, and what is tried next (machine.ts).
 */
import type { AttachStep, LossCause } from "./machine.ts";

export type Deadline = { readonly ms: number; readonly cause: LossCause };

/**
 * Each begins with its step, and ends the one before. Ticket and offer share one, for they are one wait for the broker.
 * A connection takes about a second where it comes about; where packets were lost at the wrong time it does not at all,
 * and one that is begun anew does at once. The first key frame comes within a second; a node under load may need some.
 */
export const DEADLINES: Readonly<Record<AttachStep, Deadline | null>> = {
  ticket: { ms: 15_000, cause: "broker" },
  offer: null,
  transport: { ms: 6_000, cause: "no-way" },
  picture: { ms: 15_000, cause: "no-picture" },
};
