/**
 * Tells of each frame that the browser presents. With requestVideoFrameCallback it carries the
 * frame's RTP timestamp and times; without it (old Firefox) only that there was one.
 */
import type { Presented } from "./latency.ts";
import type { Shown } from "./phase.ts";

export type Frame = Presented & Shown;

export function watchFrames(
  video: HTMLVideoElement,
  onFrame: (frame: Frame | null) => void,
  signal: AbortSignal,
): void {
  if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) watchByCallback(video, onFrame, signal);
  else watchByCounter(video, onFrame, signal);
}

function watchByCallback(video: HTMLVideoElement, onFrame: (frame: Frame | null) => void, signal: AbortSignal): void {
  let handle = 0;
  const look: VideoFrameRequestCallback = (refreshAtMs, seen) => {
    handle = video.requestVideoFrameCallback(look);
    onFrame(
      seen.rtpTimestamp === undefined
        ? null
        : {
            rtpTimestamp: seen.rtpTimestamp,
            // A busy page is called after the time at which the frame should have been shown.
            presentAtMs: Math.max(seen.expectedDisplayTime, performance.now()),
            receivedAtMs: seen.receiveTime ?? null,
            decodeMs: seen.processingDuration === undefined ? null : seen.processingDuration * 1000,
            refreshAtMs,
            readyAtMs: seen.presentationTime,
            count: seen.presentedFrames,
          },
    );
  };
  handle = video.requestVideoFrameCallback(look);
  signal.addEventListener("abort", () => video.cancelVideoFrameCallback(handle));
}

function watchByCounter(video: HTMLVideoElement, onFrame: (frame: null) => void, signal: AbortSignal): void {
  let handle = 0;
  let shown = 0;
  const look = (): void => {
    handle = requestAnimationFrame(look);
    const { totalVideoFrames } = video.getVideoPlaybackQuality();
    if (totalVideoFrames > shown) onFrame(null);
    shown = totalVideoFrames;
  };
  handle = requestAnimationFrame(look);
  signal.addEventListener("abort", () => cancelAnimationFrame(handle));
}
