/** A state of a machine as the one word that tests and styles see, with its reason. Pure. */
import type { State } from "../session/machine.ts";
import type { WatchState } from "../session/watch.ts";
import { assertNever } from "../wire/never.ts";
import type { Phase } from "./beacon.ts";

export function phaseOf(state: State, hadPicture: boolean): { readonly phase: Phase; readonly reason: string | null } {
  switch (state.name) {
    case "opening":
      return { phase: hadPicture ? "reconnecting" : "starting", reason: "opening" };
    case "waiting":
      return {
        phase: "starting",
        reason: state.session.phase === "starting" ? state.session.progress.step : state.session.phase,
      };
    case "attaching":
      return { phase: hadPicture ? "reconnecting" : "starting", reason: state.step };
    case "playing":
      return { phase: "playing", reason: null };
    case "reconnecting":
      return { phase: "reconnecting", reason: state.cause };
    case "elsewhere":
      return { phase: "elsewhere", reason: "attached-elsewhere" };
    case "detached":
      return { phase: "detached", reason: state.reason };
    case "ending":
      return { phase: "ending", reason: null };
    case "ended":
      return { phase: "ended", reason: state.reason };
    case "refused":
      return { phase: "refused", reason: state.refusal.name };
    default:
      return assertNever(state);
  }
}

/** The same for the page of a watch link. */
export function watchPhase(state: WatchState, hadPicture: boolean): Phase {
  switch (state.name) {
    case "looking":
    case "waiting":
    case "attaching":
    case "reconnecting":
      return hadPicture ? "reconnecting" : "starting";
    case "watching":
      return "watching";
    case "over":
      return state.why === "refused" ? "refused" : "ended";
  }
}
