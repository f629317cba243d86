import { describe, expect, it } from "vitest";
import { type Answered, LatencyLedger } from "../src/stream/latency.ts";
import { askStereo, chooseCodecs, fragment, partStreams } from "../src/stream/sdp.ts";
import { digest, type Sample } from "../src/stream/stats.ts";

describe("session descriptions", () => {
  it("asks for stereo once", () => {
    const offer = "m=audio 9 RTP 111\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n";
    const asked = askStereo(offer);
    expect(asked).toContain("a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n");
    expect(askStereo(asked)).toBe(asked);
    expect(askStereo("m=video 9 RTP 96\r\n")).toBe("m=video 9 RTP 96\r\n");
  });
  it("gives sound a stream of its own", () => {
    const answer = "v=0\r\nm=video 9 X\r\na=msid:live v\r\nm=audio 9 X\r\na=msid:live a\r\na=ssrc:7 msid:live a\r\n";
    expect(partStreams(answer)).toBe(
      "v=0\r\nm=video 9 X\r\na=msid:live v\r\nm=audio 9 X\r\na=msid:nearlight-sound a\r\na=ssrc:7 msid:nearlight-sound a\r\n",
    );
  });
  it("writes candidates as a fragment", () => {
    const local = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=mid:0\r\n";
    expect(fragment(local, [{ candidate: "candidate:1 1 udp 1 127.0.0.1 5000 typ host", mid: "0" }, { candidate: "", mid: "0" }], true)).toBe(
      "a=ice-ufrag:abcd\r\na=ice-pwd:secret\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 5000 typ host\r\na=end-of-candidates\r\n",
    );
  });
  it("prefers what the edge makes", () => {
    const codecs = [
      { mimeType: "video/rtx" },
      { mimeType: "video/VP9" },
      { mimeType: "video/VP8" },
      { mimeType: "video/H264", sdpFmtpLine: "packetization-mode=0;profile-level-id=42e01f" },
      { mimeType: "video/H264", sdpFmtpLine: "packetization-mode=1;profile-level-id=4d001f" },
      { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" },
    ];
    expect(chooseCodecs(codecs, null)).toEqual([...codecs].reverse());
  });
});

describe("the latency ledger", () => {
  const mark = (rtpTimestamp: number, commitMs: number, inputMs = 0) => ({
    kind: "frame" as const, rtpTimestamp, frame: 1, commitUs: commitMs * 1000, capturedUs: (commitMs + 1) * 1000, encodedUs: (commitMs + 3) * 1000, sentUs: (commitMs + 4) * 1000, inputUs: inputMs * 1000,
    inputHostUs: inputMs === 0 ? 0 : (inputMs + 1_003) * 1000,
  });
  const shown = (rtpTimestamp: number, presentAtMs: number) => ({ rtpTimestamp, presentAtMs, receivedAtMs: presentAtMs - 10, decodeMs: 2 });

  it("follows one frame through its stages, in either order of arrival", () => {
    for (const markFirst of [true, false]) {
      const ledger = new LatencyLedger();
      // The node's clock is 1 000 ms ahead and the line takes 4 ms each way.
      ledger.pong(100_000, 1_104_000, 108);
      const steps = [() => ledger.mark(mark(9, 1_210, 200)), () => ledger.presented(shown(9, 228))];
      (markFirst ? steps : steps.reverse()).forEach((run) => run());
      const { stages, frame_ms, input_to_picture_ms, clock_offset_ms, rtt_ms } = ledger.table();
      expect({ clock_offset_ms, rtt_ms }).toEqual({ clock_offset_ms: 1_000, rtt_ms: 8 });
      expect(frame_ms?.p50).toBe(18);
      expect(input_to_picture_ms?.p50).toBe(28);
      const p50 = Object.fromEntries(Object.entries(stages).map(([name, spread]) => [name, spread?.p50 ?? null]));
      expect(p50).toEqual({ input: 3, render: 7, capture: 1, encode: 2, pace: 1, network: 4, decode: 2, present: 8 });
    }
  });
  it("tells each frame's own stages once, and no more frames than one packet takes", () => {
    const ledger = new LatencyLedger();
    const show = (rtp: number): void => {
      ledger.mark(mark(rtp, 1_210));
      ledger.presented(shown(rtp, 228));
    };
    show(1);
    expect(ledger.takeShown()).toEqual([]);
    // Without the node's clock nobody knows when the frame came.
    ledger.pong(100_000, 1_104_000, 108);
    for (let rtp = 2; rtp < 202; rtp += 1) show(rtp);
    const frames = ledger.takeShown();
    expect(frames).toHaveLength(64);
    expect(frames[0]).toEqual({ decodeMs: 2, presentMs: 8 });
    expect(ledger.takeShown()).toEqual([]);
  });
  it("counts an input once, in the first frame that has it", () => {
    const ledger = new LatencyLedger();
    ledger.pong(0, 0, 0);
    ledger.mark(mark(1, 10, 5));
    ledger.presented(shown(1, 30));
    ledger.mark(mark(2, 26, 5));
    ledger.presented(shown(2, 900));
    expect(ledger.table().input_to_picture_ms).toEqual({ p50: 25, p95: 25 });
  });
  it("answers each input with stages that add up", () => {
    const answers: Answered[] = [];
    const ledger = new LatencyLedger((answered) => answers.push(answered));
    ledger.pong(100_000, 1_104_000, 108);
    for (const rtp of [9, 10]) {
      ledger.mark(mark(rtp, 1_210, 200));
      ledger.presented(shown(rtp, 228));
    }
    expect(answers).toHaveLength(1);
    expect(answers[0]).toMatchObject({ inputUs: 200_000, rtpTimestamp: 9, presentAtMs: 228, clockErrorMs: 4 });
    expect(Object.values(answers[0]?.stages ?? {}).reduce<number>((sum, ms) => sum + (ms ?? NaN), 0)).toBe(28);
  });
  it("adds up too where a stage was written down late", () => {
    const answers: Answered[] = [];
    const ledger = new LatencyLedger((answered) => answers.push(answered));
    ledger.pong(100_000, 1_104_000, 108);
    // The last packet left 3 ms after the browser had seen one of the frame's, and decoding took long.
    ledger.mark({ ...mark(9, 1_210, 200), sentUs: 1_221_000 });
    ledger.presented({ ...shown(9, 228), decodeMs: 9 });
    const stages = answers[0]?.stages;
    expect(stages).toMatchObject({ pace: 8, network: 0, decode: 7, present: 0 });
    expect(Object.values(stages ?? {}).reduce<number>((sum, ms) => sum + (ms ?? NaN), 0)).toBe(28);
  });
  it("trusts the quickest ping", () => {
    const ledger = new LatencyLedger();
    ledger.pong(0, 502_000, 4);
    ledger.pong(10_000, 590_000, 110);
    expect(ledger.table()).toMatchObject({ clock_offset_ms: 500, rtt_ms: 100 });
  });
  it("tells the node's stages without a clock, and no more", () => {
    const ledger = new LatencyLedger();
    ledger.mark(mark(1, 10));
    ledger.presented(shown(1, 30));
    expect(ledger.table().stages.encode?.p50).toBe(2);
    expect(ledger.table().frame_ms).toBeNull();
  });
});

describe("statistics", () => {
  const sample = (atMs: number, frames: number, bytes: number): Sample => ({
    atMs,
    entries: [
      { type: "inbound-rtp", id: "v", kind: "video", codecId: "c", framesDecoded: frames, bytesReceived: bytes, totalDecodeTime: frames * 0.002, jitterBufferDelay: frames * 0.005, jitterBufferEmittedCount: frames, framesDropped: frames / 30, packetsReceived: frames * 10, packetsLost: frames / 6, frameWidth: 1280, frameHeight: 720 },
      { type: "inbound-rtp", id: "a", kind: "audio", bytesReceived: bytes / 10, totalAudioEnergy: 0.25, concealedSamples: 48 * frames, totalSamplesReceived: 480 * frames },
      { type: "transport", id: "t", bytesReceived: bytes * 1.2 },
      { type: "codec", id: "c", mimeType: "video/H264" },
      { type: "candidate-pair", id: "p", nominated: true, state: "succeeded", currentRoundTripTime: 0.0123 },
    ],
  });
  it("turns two reports into rates", () => {
    expect(digest(sample(3_000, 150, 2_000_000), sample(1_000, 30, 500_000))).toMatchObject({
      codec: "H264", width: 1280, height: 720, fps: 60, video_kbps: 6_000, audio_kbps: 600, ice_rtt_ms: 12.3,
      video_jitter_buffer_ms: 5, decode_ms: 2, frames_decoded: 150, frames_dropped: 5, received_kbps: 7_200, dropped_share: 0.03, loss_permille: 16, audio_energy: 0.25, audio_concealed_share: 0.1,
    });
  });
  it("says null where there is nothing to compare, or nothing at all", () => {
    expect(digest(sample(1_000, 30, 1), null)).toMatchObject({ fps: null, video_kbps: null, decode_ms: null, loss_permille: null, dropped_share: null, frames_decoded: 30 });
    expect(digest({ atMs: 0, entries: [] }, null)).toMatchObject({ codec: null, frames_decoded: 0, audio_energy: 0 });
  });
});
