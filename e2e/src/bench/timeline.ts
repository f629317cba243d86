/**
 * What a page shows, over time: when each frame was presented, and what the browser had received by
 * then. Light: no pixel is read. Times are the page's clock, milliseconds.
 */

import type { Player } from "../harness/player.js";

/** Totals of the media received so far, bytes of RTP packets with their headers. */
export interface Received {
  at_ms: number;
  /** Picture and sound, each packet once. */
  useful_bytes: number;
  /** Sent again, or to repair. */
  extra_bytes: number;
  packets_lost: number;
  key_frames: number;
  frames_decoded: number;
  frames_dropped: number;
}

export interface Timeline {
  /** When each callback for a frame came. */
  frames_ms: number[];
  received: Received[];
}

/** Starts recording in the page; a second call starts anew. */
export async function record(player: Player, every_ms = 100): Promise<void> {
  await player.page.evaluate(startTimeline, every_ms);
}

/** What was recorded so far. */
export function recorded(player: Player): Promise<Timeline> {
  return player.page.evaluate(() => nearlightTimeline, undefined);
}

/** The page's clock now, as near as a question to it can tell. */
export async function pageNow(player: Player): Promise<number> {
  return player.page.evaluate(() => performance.now(), undefined);
}

/** Sent to the page as text: refers to nothing outside itself but types. */
function startTimeline(every_ms: number): void {
  const timeline: Timeline = { frames_ms: [], received: [] };
  globalThis.nearlightTimeline = timeline;
  const mine = (): boolean => globalThis.nearlightTimeline === timeline;
  const video = document.querySelector("video");
  if (!video) throw new Error("the page has no video element");
  const onFrame = (at_ms: number): void => {
    if (!mine()) return;
    timeline.frames_ms.push(at_ms);
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);

  const look = async (): Promise<void> => {
    const peer = nearlightProbe.peers.findLast((one) => one.getReceivers().length > 0);
    if (!peer) return;
    const sum: Received = { at_ms: performance.now(), useful_bytes: 0, extra_bytes: 0, packets_lost: 0, key_frames: 0, frames_decoded: 0, frames_dropped: 0 };
    (await peer.getStats()).forEach((entry: Record<string, unknown>) => {
      if (entry["type"] !== "inbound-rtp") return;
      const count = (name: string): number => Number(entry[name] ?? 0);
      const extra = count("retransmittedBytesReceived") + count("fecBytesReceived");
      sum.useful_bytes += count("bytesReceived") + count("headerBytesReceived") - extra;
      sum.extra_bytes += extra;
      sum.packets_lost += count("packetsLost");
      sum.key_frames += count("keyFramesDecoded");
      sum.frames_decoded += count("framesDecoded");
      sum.frames_dropped += count("framesDropped");
    });
    timeline.received.push(sum);
  };
  const timer = setInterval(() => (mine() ? void look() : clearInterval(timer)), every_ms);
}

declare global {
  // Declared for the functions that run in the page.
  var nearlightTimeline: Timeline;
}

/** The longest time without a new frame between `from_ms` and `to_ms`. */
export function longestFreeze({ frames_ms }: Timeline, from_ms: number, to_ms: number): number {
  let [last, longest] = [from_ms, 0];
  for (const at of frames_ms) {
    if (at < from_ms || at > to_ms) continue;
    longest = Math.max(longest, at - last);
    last = at;
  }
  return Math.max(longest, to_ms - last);
}

/** Frames presented a second between two times. */
export function framesPerSecond({ frames_ms }: Timeline, from_ms: number, to_ms: number): number {
  return frames_ms.filter((at) => at >= from_ms && at < to_ms).length / ((to_ms - from_ms) / 1000);
}

/** Frames decoded a second between two times: what came, whether or not a refresh was free to show it. */
export function decodedPerSecond({ received }: Timeline, from_ms: number, to_ms: number): number {
  const within = received.filter(({ at_ms }) => at_ms >= from_ms && at_ms <= to_ms);
  const [first, last] = [within[0], within.at(-1)];
  if (!first || !last || last.at_ms <= first.at_ms) return 0;
  return (1000 * (last.frames_decoded - first.frames_decoded)) / (last.at_ms - first.at_ms);
}

/** Useful bits a second between two times, kbit/s. */
export function usefulKbps({ received }: Timeline, from_ms: number, to_ms: number): number {
  const within = received.filter(({ at_ms }) => at_ms >= from_ms && at_ms <= to_ms);
  const [first, last] = [within[0], within.at(-1)];
  if (!first || !last || last.at_ms <= first.at_ms) return 0;
  return (8 * (last.useful_bytes - first.useful_bytes)) / (last.at_ms - first.at_ms);
}

/** Milliseconds from `from_ms` until the useful rate over the second that follows is at least `kbps`; the whole time if never. */
export function timeToReach(timeline: Timeline, kbps: number, from_ms: number, to_ms: number): number {
  for (const { at_ms } of timeline.received) {
    if (at_ms < from_ms || at_ms + 1_000 > to_ms) continue;
    if (usefulKbps(timeline, at_ms, at_ms + 1_000) >= kbps) return at_ms - from_ms;
  }
  return to_ms - from_ms;
}
