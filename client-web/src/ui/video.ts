/** What is done to the video element: shown sharply, and kept as a still when its stream goes. */

/** Both sides even, and a place that is measured in fractions: less than this is no real bar. */
const REST_PX = 3;

/**
 * Shows a picture pixel by pixel where it fits its place but for the pixel that makes a side odd:
 * stretched by a thousandth it would lose its sharpness.
 */
export function showCrisp(video: HTMLVideoElement, place: HTMLElement, signal: AbortSignal): void {
  const look = (): void => {
    const density = devicePixelRatio;
    const rest = (side: number, room: number): number => Math.round(room * density) - side;
    const { videoWidth: width, videoHeight: height } = video;
    const fits = [rest(width, place.clientWidth), rest(height, place.clientHeight)].every((px) => px >= 0 && px < REST_PX);
    video.style.width = fits ? `${width / density}px` : "";
    video.style.height = fits ? `${height / density}px` : "";
  };
  const observer = new ResizeObserver(look);
  observer.observe(place);
  video.addEventListener("resize", look, { signal });
  signal.addEventListener("abort", () => observer.disconnect());
}

/** Keeps the last picture: a reconnect should look like a pause, not like a loss. */
export function keepStill(video: HTMLVideoElement, still: HTMLCanvasElement): void {
  if (video.videoWidth === 0) return;
  still.width = video.videoWidth;
  still.height = video.videoHeight;
  still.getContext("2d")?.drawImage(video, 0, 0);
  video.srcObject = null;
}
