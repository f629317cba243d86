/**
 * What runs inside the page, before any of its scripts: it watches the WebRTC objects that the page
 * makes and the frames that the page shows. It changes nothing of what the page does.
 *
 * `installProbe` is sent to the browser as text, so it stands alone: it refers to nothing outside
 * itself but types.
 */

import type { Notice } from "../../../client-web/src/wire/types.js";
import type { Grid, Probe } from "./seen.js";

export function installProbe(): void {
  const MARKS_MAX = 20_000;
  const NOTICES_MAX = 2_000;
  const FRAMES_MAX = 20_000;

  const video = (): HTMLVideoElement => {
    const element = document.querySelector("video");
    if (!element) throw new Error("the page has no video element");
    return element;
  };

  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  if (!pen) throw new Error("no 2d canvas");
  const luma = (pixels: Uint8ClampedArray, i: number): number =>
    Math.round(0.2126 * (pixels[i] ?? 0) + 0.7152 * (pixels[i + 1] ?? 0) + 0.0722 * (pixels[i + 2] ?? 0));

  // Only the grid is copied: a full frame each time would cost a core.
  const readGrid = (grid: Grid, strip: HTMLCanvasElement, stripPen: CanvasRenderingContext2D): number[] => {
    const element = video();
    const [scaleX, scaleY] = [element.videoWidth / grid.width, element.videoHeight / grid.height];
    const [width, height] = [grid.cell_width * grid.columns, grid.cell_height * grid.rows];
    if (strip.width !== width || strip.height !== height) [strip.width, strip.height] = [width, height];
    stripPen.drawImage(
      element,
      grid.left * scaleX, grid.top * scaleY, width * scaleX, height * scaleY,
      0, 0, width, height,
    );
    const { data } = stripPen.getImageData(0, 0, width, height);
    // The mean of the middle half of a cell.
    const [inX, inY] = [Math.ceil(grid.cell_width / 4), Math.ceil(grid.cell_height / 4)];
    const cell = (row: number, column: number): number => {
      let sum = 0;
      let count = 0;
      for (let y = row * grid.cell_height + inY; y < (row + 1) * grid.cell_height - inY; y++) {
        for (let x = column * grid.cell_width + inX; x < (column + 1) * grid.cell_width - inX; x++) {
          sum += luma(data, 4 * (y * width + x));
          count += 1;
        }
      }
      return sum / count;
    };
    const sync = Array.from({ length: grid.columns }, (_, column) => cell(0, column));
    const mean = (of: number[]): number => of.reduce((sum, value) => sum + value, 0) / of.length;
    const contrast = mean(sync.filter((_, i) => i % 2 === 0)) - mean(sync.filter((_, i) => i % 2 === 1));
    if (contrast < 64) return [];
    const threshold = mean(sync);
    return Array.from({ length: grid.rows }, (_, row) => {
      let bits = 0;
      for (let column = 0; column < grid.columns; column++) bits = bits * 2 + (cell(row, column) > threshold ? 1 : 0);
      return bits;
    });
  };

  let generation = 0;
  let analyser: AnalyserNode | undefined;
  let heard = { peak: 0, energy: 0, blocks: 0 };

  const probe: Probe = {
    peers: [],
    channels: new Map(),
    marks: [],
    pongs: [],
    notices: [],
    frames: [],

    watch(grid) {
      const mine = ++generation;
      probe.frames = [];
      const strip = document.createElement("canvas");
      const stripPen = strip.getContext("2d", { willReadFrequently: true });
      if (!stripPen) throw new Error("no 2d canvas");
      const onFrame = (at_ms: number, metadata: VideoFrameCallbackMetadata): void => {
        if (mine !== generation) return;
        const { rtpTimestamp } = metadata as { rtpTimestamp?: number };
        probe.frames.push({ at_ms, rtp: rtpTimestamp, rows: readGrid(grid, strip, stripPen) });
        if (probe.frames.length > FRAMES_MAX) probe.frames.splice(0, FRAMES_MAX / 2);
        video().requestVideoFrameCallback(onFrame);
      };
      video().requestVideoFrameCallback(onFrame);
    },

    thumbnail(columns, rows) {
      canvas.width = columns;
      canvas.height = rows;
      pen.drawImage(video(), 0, 0, columns, rows);
      const { data } = pen.getImageData(0, 0, columns, rows);
      return Array.from({ length: columns * rows }, (_, i) => luma(data, 4 * i));
    },

    async listen() {
      const context = new AudioContext();
      const tracks = probe.peers
        .filter((peer) => peer.connectionState !== "closed")
        .flatMap((peer) => peer.getReceivers())
        .map((receiver) => receiver.track)
        .filter((track) => track.kind === "audio" && track.readyState === "live");
      if (tracks.length === 0) throw new Error("no live audio track is received");
      analyser = context.createAnalyser();
      analyser.fftSize = 2048;
      for (const track of tracks) context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      const ear = analyser;
      setInterval(() => {
        ear.getFloatTimeDomainData(samples);
        let sum = 0;
        for (const sample of samples) {
          sum += sample * sample;
          heard.peak = Math.max(heard.peak, Math.abs(sample));
        }
        heard.energy += sum / samples.length;
        heard.blocks += 1;
      }, 20);
      // Without an audio device, or without a gesture, some browsers never answer.
      await Promise.race([context.resume(), new Promise((resolve) => setTimeout(resolve, 5_000))]);
      return context.state;
    },

    loudness() {
      const answer = { ...heard, energy: heard.blocks ? heard.energy / heard.blocks : 0 };
      heard = { peak: 0, energy: 0, blocks: 0 };
      return answer;
    },
  };

  const readMark = (buffer: ArrayBuffer): void => {
    const view = new DataView(buffer);
    const time = (at: number): number => Number(view.getBigUint64(at, true));
    if (view.byteLength === 18 && view.getUint8(0) === 1 && view.getUint8(1) === 0x81) {
      probe.pongs.push({ client_us: time(2), host_us: time(10), back_us: performance.now() * 1000 });
      if (probe.pongs.length > NOTICES_MAX) probe.pongs.splice(0, NOTICES_MAX / 2);
      return;
    }
    if (view.byteLength !== 58 || view.getUint8(0) !== 1 || view.getUint8(1) !== 0x82) return;
    probe.marks.push({
      rtp: view.getUint32(2, true),
      frame: view.getUint32(6, true),
      commit_us: time(10),
      captured_us: time(18),
      encoded_us: time(26),
      sent_us: time(34),
      input_us: time(42),
      input_host_us: time(50),
    });
    if (probe.marks.length > MARKS_MAX) probe.marks.splice(0, MARKS_MAX / 2);
  };

  const overhear = (channel: RTCDataChannel): void => {
    probe.channels.set(channel.label, channel);
    channel.addEventListener("message", (event: MessageEvent) => {
      if (event.data instanceof ArrayBuffer) readMark(event.data);
      else if (event.data instanceof Blob) void event.data.arrayBuffer().then(readMark);
      else if (typeof event.data === "string") {
        probe.notices.push(JSON.parse(event.data) as Notice);
        if (probe.notices.length > NOTICES_MAX) probe.notices.splice(0, NOTICES_MAX / 2);
      }
    });
  };

  const Native = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Native {
    constructor(configuration?: RTCConfiguration) {
      super(configuration);
      probe.peers.push(this);
      this.addEventListener("datachannel", (event) => overhear(event.channel));
    }

    override createDataChannel(label: string, options?: RTCDataChannelInit): RTCDataChannel {
      const channel = super.createDataChannel(label, options);
      overhear(channel);
      return channel;
    }
  };
  Object.defineProperty(globalThis, "nearlightProbe", { value: probe });
}

declare global {
  // Declared for the functions that run in the page.
  var nearlightProbe: Probe;
}
