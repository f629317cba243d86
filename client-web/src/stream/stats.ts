/**
 * What the peer connection counts, once a second, as one flat record. `digest` is pure and turns
 * two consecutive reports into rates; `pollStats` is the loop around it.
 */

/** One second of a stream. Totals count since the attachment began; `null` is "not known". */
export type StreamStats = {
  readonly codec: string | null;
  readonly width: number | null;
  readonly height: number | null;
  readonly fps: number | null;
  readonly video_kbps: number | null;
  readonly audio_kbps: number | null;
  /** Everything that came in: picture, sound, repair, headers. */
  readonly received_kbps: number | null;
  readonly ice_rtt_ms: number | null;
  readonly video_jitter_buffer_ms: number | null;
  readonly audio_jitter_buffer_ms: number | null;
  readonly decode_ms: number | null;
  readonly frames_decoded: number;
  readonly frames_dropped: number;
  readonly key_frames_decoded: number;
  readonly freezes: number;
  readonly freezes_ms: number;
  /** Share of the pictures of this second that were decoded and not shown. */
  readonly dropped_share: number | null;
  readonly packets_lost: number;
  /** Packets of this second's picture that did not come at first. */
  readonly loss_permille: number | null;
  readonly nacks: number;
  readonly plis: number;
  /** Sum of squared sound samples x seconds (W3C totalAudioEnergy): grows while there is sound. */
  readonly audio_energy: number;
  readonly audio_concealed_share: number | null;
};

type Entry = { readonly type: string; readonly id: string; readonly [key: string]: unknown };
export type Sample = { readonly atMs: number; readonly entries: readonly Entry[] };

const num = (entry: Entry | undefined, key: string): number | null => {
  const value = entry?.[key];
  return typeof value === "number" ? value : null;
};

export function digest(now: Sample, before: Sample | null): StreamStats {
  const inbound = (sample: Sample | null, kind: string): Entry | undefined =>
    sample?.entries.find((entry) => entry.type === "inbound-rtp" && entry["kind"] === kind);
  const video = inbound(now, "video");
  const sound = inbound(now, "audio");
  const videoBefore = inbound(before, "video");
  const soundBefore = inbound(before, "audio");
  const codec = now.entries.find((entry) => entry.id === video?.["codecId"]);
  const transport = now.entries.find((entry) => entry.type === "transport");
  const transportBefore = before?.entries.find((entry) => entry.type === "transport");
  const pair = now.entries.find(
    (entry) => entry.type === "candidate-pair" && entry["nominated"] === true && entry["state"] === "succeeded",
  );
  const seconds = before ? (now.atMs - before.atMs) / 1000 : 0;
  const growth = (entry: Entry | undefined, old: Entry | undefined, key: string): number | null => {
    const value = num(entry, key);
    const past = num(old, key);
    return value === null || past === null || value < past ? null : value - past;
  };
  const kbps = (entry: Entry | undefined, old: Entry | undefined): number | null => {
    const bytes = growth(entry, old, "bytesReceived");
    return bytes === null || seconds <= 0 ? null : Math.round((bytes * 8) / seconds / 1000);
  };
  const mean = (entry: Entry | undefined, old: Entry | undefined, sum: string, count: string): number | null => {
    const total = growth(entry, old, sum);
    const n = growth(entry, old, count);
    return total === null || !n ? null : round((total / n) * 1000);
  };
  const concealed = growth(sound, soundBefore, "concealedSamples");
  const samples = growth(sound, soundBefore, "totalSamplesReceived");
  const frames = growth(video, videoBefore, "framesDecoded");
  const dropped = growth(video, videoBefore, "framesDropped");
  const lost = growth(video, videoBefore, "packetsLost");
  const received = growth(video, videoBefore, "packetsReceived");
  const mime = codec?.["mimeType"];
  const rtt = num(pair, "currentRoundTripTime");
  return {
    codec: typeof mime === "string" ? mime.replace(/^video\//i, "") : null,
    width: num(video, "frameWidth"),
    height: num(video, "frameHeight"),
    fps: frames !== null && seconds > 0 ? Math.round(frames / seconds) : null,
    video_kbps: kbps(video, videoBefore),
    audio_kbps: kbps(sound, soundBefore),
    received_kbps: kbps(transport, transportBefore),
    ice_rtt_ms: rtt === null ? null : round(rtt * 1000),
    video_jitter_buffer_ms: mean(video, videoBefore, "jitterBufferDelay", "jitterBufferEmittedCount"),
    audio_jitter_buffer_ms: mean(sound, soundBefore, "jitterBufferDelay", "jitterBufferEmittedCount"),
    decode_ms: mean(video, videoBefore, "totalDecodeTime", "framesDecoded"),
    frames_decoded: num(video, "framesDecoded") ?? 0,
    frames_dropped: num(video, "framesDropped") ?? 0,
    key_frames_decoded: num(video, "keyFramesDecoded") ?? 0,
    freezes: num(video, "freezeCount") ?? 0,
    freezes_ms: Math.round((num(video, "totalFreezesDuration") ?? 0) * 1000),
    dropped_share: dropped === null || !frames ? null : round(dropped / (dropped + frames)),
    packets_lost: num(video, "packetsLost") ?? 0,
    loss_permille: lost === null || !received ? null : Math.round((lost / (lost + received)) * 1000),
    nacks: num(video, "nackCount") ?? 0,
    plis: num(video, "pliCount") ?? 0,
    audio_energy: num(sound, "totalAudioEnergy") ?? 0,
    audio_concealed_share: concealed === null || !samples ? null : round(concealed / samples),
  };
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** Reads the connection once a second until `signal` says stop. */
export function pollStats(peer: RTCPeerConnection, onStats: (stats: StreamStats) => void, signal: AbortSignal): void {
  let before: Sample | null = null;
  let busy = false;
  const read = async (): Promise<void> => {
    if (busy) return;
    busy = true;
    try {
      const entries: Entry[] = [];
      (await peer.getStats()).forEach((entry: Entry) => entries.push(entry));
      const now: Sample = { atMs: performance.now(), entries };
      if (!signal.aborted) onStats(digest(now, before));
      before = now;
    } finally {
      busy = false;
    }
  };
  const timer = setInterval(() => void read(), 1_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  void read();
}
