/**
 * What the page tells about itself to a test or a script, read-only: `data-*` of the document
 * element, one JSON element, one event. README.md documents them; nothing is on `window`.
 */
import type { Answered } from "../stream/latency.ts";

export type Phase =
  | "lobby" | "receipts" | "starting" | "playing" | "watching" | "reconnecting" | "elsewhere" | "detached" | "ending" | "ended" | "refused";

export function publishPhase(phase: Phase, reason: string | null = null, attachment: string | null = null): void {
  const { dataset } = document.documentElement;
  dataset["phase"] = phase;
  if (reason === null) delete dataset["reason"];
  else dataset["reason"] = reason;
  if (attachment === null) delete dataset["attachment"];
  else dataset["attachment"] = attachment;
}

const STATS_ID = "nearlight-stats";

/** Writes the statistics, or removes them. A data block is no script: the browser runs nothing. */
export function publishStats(stats: unknown): void {
  let element = document.getElementById(STATS_ID);
  if (stats === null) return element?.remove();
  if (!element) {
    element = document.createElement("script");
    element.id = STATS_ID;
    element.setAttribute("type", "application/json");
    document.body.append(element);
  }
  element.textContent = JSON.stringify(stats);
}

/** Tells of one input and the first picture that contains it, as the event `nearlight-answer`. */
export function publishAnswer({ inputUs, rtpTimestamp, presentAtMs, stages, clockErrorMs }: Answered): void {
  const detail = {
    input_us: inputUs,
    rtp_timestamp: rtpTimestamp,
    present_at_ms: presentAtMs,
    stages,
    clock_error_ms: clockErrorMs,
  };
  document.dispatchEvent(new CustomEvent("nearlight-answer", { detail }));
}
