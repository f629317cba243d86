// What the bench adds to a page before any script of it runs. It listens to keys and reads pixels;
// it changes nothing of what the page does. The same code serves the floor's canvas and a session's
// video, so that both are measured by the same clock at the same step of the browser's work:
//
//   press    = `timeStamp` of the trusted keydown event
//   picture  = `performance.now()`, taken first in the callback of the rendering step in which the
//              flipped pixels are there: requestVideoFrameCallback, or requestAnimationFrame
//
// Pixels are read with VideoFrame.copyTo of a small rectangle, after the time was taken, and only
// while a press waits for its picture.
(() => {
  "use strict";
  // Luma of the two backgrounds, as docs/calibrate.md has them.
  const DARK_MAX = 64;
  const LIGHT_MIN = 192;
  // Geometry of the barcode on a display of this width.
  const DISPLAY_WIDTH = 1280;
  const CELL = 16;
  const MODE_COLUMN = 10;
  const MODE_ROW = 2;

  let presses = [];
  let answers = [];
  let waiting = null;
  let light = null;

  const tell = (notice) => globalThis.nearlightBench(JSON.stringify(notice));

  // Mean of the first plane, or of all colours, over a few pixels around a point.
  async function brightness(frame, x, y) {
    const side = 8;
    const even = (at) => Math.max(0, Math.round((at - side / 2) / 2) * 2);
    const rect = { x: even(x), y: even(y), width: side, height: side };
    const bytes = new Uint8Array(frame.allocationSize({ rect }));
    const [plane] = await frame.copyTo(bytes, { rect });
    const planar = /^(I4|NV)/.test(frame.format ?? "");
    let sum = 0;
    let count = 0;
    for (let row = 0; row < side; row++) {
      for (let i = 0; i < side * (planar ? 1 : 4); i++) {
        if (!planar && i % 4 === 3) continue;
        sum += bytes[plane.offset + row * plane.stride + i];
        count += 1;
      }
    }
    return sum / count;
  }

  const tone = (luma) => (luma < DARK_MAX ? false : luma > LIGHT_MIN ? true : null);

  // The flip probe: bottom centre, half a cell above the edge.
  const probe = (frame) => {
    const { width, height } = frame.visibleRect;
    return brightness(frame, width / 2, height - (CELL / 2) * (width / DISPLAY_WIDTH));
  };

  // What a source shows now: the tone of the background, and whether the app is in immediate mode.
  async function read(source) {
    const frame = new VideoFrame(source, { timestamp: 0 });
    try {
      const scale = frame.visibleRect.width / DISPLAY_WIDTH;
      const cell = (column, row) => brightness(frame, (column + 0.5) * CELL * scale, (row + 0.5) * CELL * scale);
      const sync = [await cell(0, 0), await cell(1, 0)];
      const shows = { light: tone(await probe(frame)), calibrate: sync[0] - sync[1] > 64, immediate: null };
      if (shows.calibrate) shows.immediate = (await cell(MODE_COLUMN, MODE_ROW)) > (sync[0] + sync[1]) / 2;
      light = shows.light;
      return shows;
    } finally {
      frame.close();
    }
  }

  // Is the picture of the press that waits there? `times` were taken when it was shown.
  async function look(source, times) {
    const press = waiting;
    if (press === null) return;
    const frame = new VideoFrame(source, { timestamp: 0 });
    let luma;
    try {
      luma = await probe(frame);
    } finally {
      frame.close();
    }
    press.frames += 1;
    if (waiting !== press || tone(luma) !== !press.from_light) return;
    waiting = null;
    light = !press.from_light;
    presses.push({ ...press, ...times });
    tell({ kind: "seen" });
  }

  addEventListener(
    "keydown",
    (event) => {
      if (!event.isTrusted || event.repeat) return;
      const input_us = Math.round(event.timeStamp * 1000);
      waiting = { press_ms: event.timeStamp, input_us, from_light: light, frames: 0 };
    },
    true,
  );

  // The player page tells where each input's milliseconds went.
  document.addEventListener("nearlight-answer", ({ detail }) => answers.push(detail));

  let clicked_ms = null;
  addEventListener("click", (event) => (clicked_ms ??= event.timeStamp), true);

  function watch(video) {
    const shown = (now_ms, seen) => {
      const seen_ms = performance.now();
      video.requestVideoFrameCallback(shown);
      const times = { seen_ms, now_ms, presentation_ms: seen.presentationTime, display_ms: seen.expectedDisplayTime, rtp_timestamp: seen.rtpTimestamp ?? null };
      void look(video, times);
    };
    video.requestVideoFrameCallback((now_ms, seen) => {
      const first_ms = performance.now();
      tell({ kind: "picture", after_ms: clicked_ms === null ? null : first_ms - clicked_ms });
      shown(now_ms, seen);
    });
  }

  // The page makes its video element when it likes, and tells its phase on the document element.
  let video = null;
  new MutationObserver(() => {
    const found = document.querySelector("#stage-video");
    if (found === null || found === video) return;
    video = found;
    watch(found);
  }).observe(document, { childList: true, subtree: true });
  addEventListener("DOMContentLoaded", () => {
    const { dataset } = document.documentElement;
    const say = () => tell({ kind: "phase", phase: dataset.phase ?? "", reason: dataset.reason ?? "" });
    new MutationObserver(say).observe(document.documentElement, { attributeFilter: ["data-phase", "data-reason"] });
  });

  Object.defineProperty(globalThis, "nearlightRig", {
    value: {
      look,
      read: () => read(video ?? document.querySelector("canvas")),
      forget: () => {
        [presses, answers, waiting] = [[], [], null];
      },
      take: () => ({ presses, answers }),
    },
  });
})();
