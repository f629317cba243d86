/**
 * Reasons and problems in plain words with what to do. The wire has codes; people read this file.
 */
import type { EndReason, SessionState, StartProgress, WaitsFor } from "../wire/types.ts";
import type { Refusal } from "./refusal.ts";
import { assertNever } from "../wire/never.ts";

export type Words = { readonly title: string; readonly advice: string };

export const END_WORDS: Readonly<Record<EndReason, Words>> = {
  "player-ended": { title: "Session ended", advice: "You ended the session. What the app saved is kept." },
  "app-exited": { title: "The app was closed", advice: "It quit by itself, from its own menu perhaps." },
  "app-crashed": { title: "The app crashed", advice: "Start it again. If it crashes again, tell the operator." },
  "app-out-of-memory": { title: "Out of memory", advice: "The app used more memory than it may. Tell the operator, who can raise its limit." },
  "app-start-failed": { title: "The app could not start", advice: "It exited before it showed a picture. The operator finds its last output in the node's log." },
  "start-timeout": { title: "No picture in time", advice: "The app started and showed nothing. Try again, or try another app." },
  "image-missing": { title: "The app is not installed", advice: "The node has no image of it and cannot fetch one. Tell the operator to build or pull it." },
  "runtime-failed": { title: "The container did not start", advice: "The node's container engine refused. The operator finds the cause in the node's log." },
  "desktop-violation": { title: "The app misbehaved", advice: "It broke the rules of its display or sound server and was stopped." },
  "worker-crashed": { title: "The stream crashed", advice: "The program that streams the session crashed. Start it again." },
  "encoder-failed": { title: "No video encoder works", advice: "Tell the operator to run “nearlight doctor” on the node." },
  "idle-timeout": { title: "Ended for inactivity", advice: "Nobody used it for a long time." },
  "time-limit": { title: "Time is up", advice: "The time limit is reached. You can start it again." },
  "detached-timeout": { title: "You were away too long", advice: "A session is kept for a while after you leave, and that time is over." },
  "job-done": { title: "The job is done", advice: "Its program ended." },
  "job-failed": { title: "The job failed", advice: "Its program ended with an error. Its log says why." },
  "job-out-of-memory": { title: "Out of memory", advice: "The job used more memory than it asked for." },
  "job-start-timeout": { title: "Not healthy in time", advice: "The job did not answer its health check in time. Its log says why." },
  "job-unhealthy": { title: "The job stopped answering", advice: "Its health check failed too often. Its log says why." },
  "asset-missing": { title: "An asset is missing", advice: "It cannot be fetched, or is not what its digest says." },
  "volume-lost": { title: "A volume is lost", advice: "Its node does not have it any more, or cannot mount it. “nearlight volume list” says how it is." },
  "queue-timeout": { title: "No place in time", advice: "No node had room for it within the time it was given." },
  "budget-reached": { title: "The budget is spent", advice: "What the session may cost is reached." },
  preempted: { title: "The node takes its capacity back", advice: "Its operator needs it. Start it again on another one." },
  "cluster-ended": { title: "The cluster ended", advice: "Another replica ended, and all share its fate." },
  "node-lost": { title: "The node is gone", advice: "The machine that ran your session disappeared. Start it again on another one." },
  "node-drained": { title: "The node was shut down", advice: "Its operator took it out of service. Start it again on another one." },
  internal: { title: "Something broke on our side", advice: "Start it again. If it happens again, tell the operator." },
};

/** Reasons that are nobody's fault: shown without alarm. */
export function isCalm(reason: EndReason): boolean {
  return ["player-ended", "app-exited", "idle-timeout", "time-limit", "detached-timeout"].includes(reason);
}

const REFUSAL_WORDS: Readonly<Record<Refusal["name"], Words>> = {
  "attached-elsewhere": { title: "Playing somewhere else", advice: "This session is open in another tab or on another device." },
  "bad-request": { title: "The broker did not understand", advice: "Reload the page: this client may be older than the broker." },
  "body-too-large": { title: "Too much at once", advice: "The request was larger than the broker takes." },
  "budget-reached": { title: "The month's budget is spent", advice: "Your organisation's begins anew with the next month. Ask whoever runs its account for more." },
  "evidence-expired": { title: "The evidence is gone", advice: "It was kept for as long as its receipt said." },
  forbidden: { title: "You may not do this", advice: "Your account or key is not allowed to. Ask the operator." },
  "idempotency-conflict": { title: "Already asked differently", advice: "Reload the page and try again." },
  internal: { title: "Something broke on our side", advice: "Try again in a moment. The operator finds the cause in the log under the id below." },
  "invalid-offer": { title: "This browser and the node found no common language", advice: "The node could not answer the video offer. Try a current Chrome, Edge, Firefox or Safari." },
  "job-not-ready": { title: "The job is starting", advice: "It takes requests in a moment." },
  "job-unreachable": { title: "The job does not answer", advice: "Its program broke off, or does not listen. Whoever runs it finds more in its log." },
  "join-token-invalid": { title: "The join token is void", advice: "It was used, or its time is over. The operator makes a new one." },
  "link-ended": { title: "The watch link is over", advice: "It was revoked, or its time is up. Ask whoever sent it for a new one." },
  "log-unavailable": { title: "The log of receipts stands still", advice: "Nothing is lost. Try again in a moment." },
  "method-not-allowed": { title: "The broker did not understand", advice: "Reload the page: this client may be older than the broker." },
  "node-revoked": { title: "The node is shut out", advice: "Its operator revoked it. Start again on another one." },
  "node-unreachable": { title: "The node does not answer", advice: "It may be restarting. This page keeps trying." },
  "not-found": { title: "There is no such session", advice: "It may have ended a while ago, belong to another player, or the link is incomplete." },
  "name-taken": { title: "The name is taken", advice: "Choose another one." },
  "provider-unreachable": { title: "Nobody can log in at the moment", advice: "The service that says who you are does not answer. Try again in a while." },
  "origin-refused": { title: "Wrong address", advice: "Open Nearlight under the address that its operator gave you; this one is not on the broker's list." },
  "quota-exceeded": { title: "You have reached your limit of sessions", advice: "End one that you no longer need, then start this one." },
  "receipt-refused": { title: "The log does not take this receipt", advice: "Its form, its keys or its signatures are not right." },
  "save-elsewhere": { title: "Your saves are on another node", advice: "It cannot run this at the moment. Wait for it, or begin without them; they stay where they are." },
  "session-ended": { title: "The session has ended", advice: "Start it again from the lobby." },
  "session-lost": { title: "The session was lost", advice: "The broker's database failed, and its last moments are gone. Start again from the lobby; your saves are where they were." },
  "session-not-ready": { title: "Not ready yet", advice: "The session is still starting." },
  "too-many-requests": { title: "A little too fast", advice: "The broker asks for a pause. Try again in a few seconds." },
  "ticket-invalid": { title: "The ticket is spent", advice: "Try again: a new one is asked for each time." },
  unauthenticated: { title: "The broker does not know you any more", advice: "If you were logged in, go to the lobby and log in again. Sessions belong to this browser's cookie: if cookies are blocked, allow them for this site." },
  "unsupported-media-type": { title: "The broker did not understand", advice: "Reload the page: this client may be older than the broker." },
  offline: { title: "The broker does not answer", advice: "Check your connection. This page tries again by itself." },
  "no-webrtc": { title: "This browser makes no video connections", advice: "WebRTC is switched off, or blocked by a policy or an extension. Allow it for this site, or use another browser." },
  garbled: { title: "An answer that is not Nearlight's", advice: "Something between you and the broker answered instead of it: a proxy, or a login page of the network." },
};

export function refusalWords(refusal: Refusal): Words {
  return REFUSAL_WORDS[refusal.name] ?? { title: "Refused", advice: refusal.detail };
}

/** The steps of a start in their order, as the progress list shows them. */
export const START_STEPS = ["place", "pulling", "starting-desktop", "starting-app", "waiting-for-picture", "connect"] as const;
export type StartStep = (typeof START_STEPS)[number];

export const STEP_WORDS: Readonly<Record<StartStep, string>> = {
  place: "Finding a node",
  pulling: "Fetching the app",
  "starting-desktop": "Starting desktop and sound",
  "starting-app": "Starting the app",
  "waiting-for-picture": "Waiting for its first picture",
  connect: "Connecting to you",
};

/** Why a session is in line. */
export const WAIT_WORDS: Readonly<Record<WaitsFor, string>> = {
  node: "No node that can run it is online.",
  slot: "Every slot is taken.",
  cpu: "The nodes have no processor time left.",
  memory: "The nodes have no memory left.",
  uplink: "The nodes' lines carry no further stream.",
  disk: "The nodes have no disk left for it.",
  gpus: "The nodes' GPUs are taken.",
  volume: "One of its volumes is not to be had now.",
};

/** The steps of a job have no picture; whoever looks at one as a player sees it start. */
function startStepOf(progress: StartProgress): StartStep {
  return progress.step === "starting-container" || progress.step === "waiting-for-health" ? "starting-app" : progress.step;
}

/** The step that a session not yet attached is at. */
export function startStep(state: SessionState): StartStep {
  switch (state.phase) {
    case "queued":
    case "placing":
      return "place";
    case "starting":
      return startStepOf(state.progress);
    case "ready":
    case "playing":
    case "detached":
    case "ending":
    case "ended":
      return "connect";
    default:
      return assertNever(state);
  }
}

/** How much of an image is here, 0..1, or null where that is not known. */
export function pulledShare(progress: StartProgress): number | null {
  if (progress.step !== "pulling" || progress.total_bytes <= 0) return null;
  return Math.min(1, progress.done_bytes / progress.total_bytes);
}

export function bytesWords(bytes: number): string {
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** When it is the turn of somebody who waits: one wait in two is shorter than the first, nine in ten than the second. */
export function waitWords(halfS: number | null, mostS: number | null): string {
  const most = mostS === null ? null : durationWords(mostS);
  if (halfS === null) return most === null ? "How long is not known yet." : `It should be your turn within ${most}.`;
  const half = durationWords(halfS);
  return `It should be your turn in about ${half}${most === null || most === half ? "" : `, at most ${most}`}.`;
}

/** Seconds as people say them: `40 s`, `3 min`, `1 h 5 min`. */
export function durationWords(seconds: number): string {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
