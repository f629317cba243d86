/**
 * One attachment's transport: the peer connection, its two media streams and its two channels.
 *
 * Owns: RTCPeerConnection, packet numbers, the liveness watch. Invariants: `lost` is reported at
 * most once, never after `close`; motion is dropped rather than queued; nothing is said on `control`
 * before the node was heard, whose end opens after ours and loses what comes before. Does not know:
 * HTTP, tickets, retries.
 */
import { CONTROL_CHANNEL, MOTION_CHANNEL } from "../wire/constants.ts";
import { decodeMark, encodePacket, type InputEvent, type Mark } from "../wire/codec.ts";
import { parseNotice } from "../wire/notice.ts";
import type { IceServer, Notice } from "../wire/types.ts";
import { askStereo, chooseCodecs, fragment, partStreams } from "./sdp.ts";

export type LinkEvents = {
  readonly connected: () => void;
  readonly lost: () => void;
  readonly notice: (notice: Notice) => void;
  readonly mark: (mark: Mark) => void;
  /** The node listens: keys and text arrive from now on. */
  readonly ready: () => void;
  /** The edge speaks another version of the wire than we do. */
  readonly foreignVersion: () => void;
  /** Trickled candidates, ready to send. */
  readonly candidates: (fragment: string) => void;
};

/** More waiting than this means that the line is stuck: old motion is worth nothing. */
const MOTION_BUFFERED_MAX = 16 * 1024;
/** A full clipboard and a burst of keys; more means that the line is gone. */
const CONTROL_BUFFERED_MAX = 1024 * 1024;
/** ICE says `disconnected` on a short gap too; past this it is a loss. */
const DISCONNECTED_MS = 1_500;
const PING_MS = 1_000;
/** Pings in a row with nothing heard since: the node is gone. Counted and not timed, for a page that
 *  was held up sends none. */
const UNANSWERED_MAX = 4;
/** The first pings come quickly: the clock offset is needed for the first frames. */
const FIRST_PINGS_MS = [0, 60, 140, 260, 420] as const;
const TRICKLE_BATCH_MS = 60;

export class Link {
  readonly peer: RTCPeerConnection;
  readonly video = new MediaStream();
  readonly sound = new MediaStream();
  readonly #motion: RTCDataChannel;
  readonly #control: RTCDataChannel;
  readonly #events: LinkEvents;
  readonly #over = new AbortController();
  #motionSeq = 0;
  #controlSeq = 0;
  #ready = false;
  #hearsShown = false;
  #answers = false;
  #unanswered = 0;
  #pending: { candidate: string; mid: string | null }[] = [];

  constructor(events: LinkEvents) {
    this.#events = events;
    this.peer = new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: [] });
    this.#motion = this.peer.createDataChannel("motion", {
      negotiated: true,
      id: MOTION_CHANNEL,
      ordered: false,
      maxRetransmits: 0,
    });
    this.#control = this.peer.createDataChannel("control", { negotiated: true, id: CONTROL_CHANNEL, ordered: true });
    const signal = this.#over.signal;
    this.#listenMedia(signal);
    this.#listenChannels(signal);
    this.#watchConnection(signal);
  }

  /** The offer, of one codec if the player wants that one. Nothing is gathered yet. */
  async offer(codec: string | null): Promise<string> {
    const video = this.peer.addTransceiver("video", { direction: "recvonly" });
    const sound = this.peer.addTransceiver("audio", { direction: "recvonly" });
    preferCodecs(video, codec);
    playAtOnce(video.receiver);
    playAtOnce(sound.receiver);
    const offer = await this.peer.createOffer();
    return askStereo(offer.sdp ?? "");
  }

  /** Gathers for that offer, with the operator's relays. It can be sent at once, for an edge that is
   *  reachable needs no candidates of ours. */
  async gather(sdp: string, relays: readonly IceServer[]): Promise<void> {
    const iceServers = relays.map(({ urls, username, credential }) => ({ urls: [...urls], username, credential }));
    if (iceServers.length > 0) this.peer.setConfiguration({ ...this.peer.getConfiguration(), iceServers });
    await this.peer.setLocalDescription({ type: "offer", sdp });
  }

  async accept(answer: string): Promise<void> {
    await this.peer.setRemoteDescription({ type: "answer", sdp: partStreams(answer) });
  }

  /** Sends one input; `atMs` is its time on the performance clock. False if it was dropped. */
  send(event: InputEvent, atMs: number): boolean {
    const motion = event.kind === "pointer-absolute" || event.kind === "pointer-relative" || event.kind === "ping";
    const channel = motion ? this.#motion : this.#control;
    if (channel.readyState !== "open" || !(motion || this.#ready)) return false;
    // A node of before takes it for a breach, and three that come at once after a stall end the attachment.
    if (event.kind === "shown" && !this.#hearsShown) return false;
    if (channel.bufferedAmount > (motion ? MOTION_BUFFERED_MAX : CONTROL_BUFFERED_MAX)) {
      if (!motion) this.#lose();
      return false;
    }
    const seq = motion ? (this.#motionSeq += 1) : (this.#controlSeq += 1);
    channel.send(encodePacket({ seq, clientUs: BigInt(Math.max(0, Math.round(atMs * 1000))), event }));
    return true;
  }

  close(): void {
    this.#over.abort();
    this.peer.close();
  }

  #listenMedia(signal: AbortSignal): void {
    this.peer.addEventListener(
      "track",
      (event) => (event.track.kind === "video" ? this.video : this.sound).addTrack(event.track),
      { signal },
    );
    let timer: number | undefined;
    const flush = (complete: boolean): void => {
      clearTimeout(timer);
      timer = undefined;
      const sdp = this.peer.localDescription?.sdp;
      if (!sdp || signal.aborted) return;
      this.#events.candidates(fragment(sdp, this.#pending, complete));
      this.#pending = [];
    };
    this.peer.addEventListener(
      "icecandidate",
      ({ candidate }) => {
        if (candidate === null) return flush(true);
        this.#pending.push({ candidate: candidate.candidate, mid: candidate.sdpMid });
        timer ??= setTimeout(() => flush(false), TRICKLE_BATCH_MS);
      },
      { signal },
    );
    signal.addEventListener("abort", () => clearTimeout(timer));
  }

  #listenChannels(signal: AbortSignal): void {
    this.#motion.binaryType = "arraybuffer";
    this.#control.binaryType = "arraybuffer";
    let warned = false;
    const heard = (data: unknown): void => {
      this.#unanswered = 0;
      // Whatever it says, it listens: a node of an older version has no word of its own for it.
      if (!this.#ready && this.#control.readyState === "open") {
        this.#ready = true;
        this.#events.ready();
      }
      if (data instanceof ArrayBuffer) {
        const result = decodeMark(data);
        if (result.ok) {
          this.#answers ||= result.mark.kind === "pong";
          this.#events.mark(result.mark);
        } else if (result.why === "version" && !warned) {
          warned = true;
          this.#events.foreignVersion();
        }
      } else if (typeof data === "string") {
        const notice = parseNotice(data);
        if (notice?.notice === "ready") this.#hearsShown = notice.hears_shown;
        if (notice) this.#events.notice(notice);
      }
    };
    for (const channel of [this.#motion, this.#control]) {
      channel.addEventListener("message", (event) => heard(event.data), { signal });
    }
    this.#motion.addEventListener("open", () => this.#ping(signal), { signal });
  }

  #ping(signal: AbortSignal): void {
    const send = (): void => void this.send({ kind: "ping" }, performance.now());
    const first = FIRST_PINGS_MS.map((ms) => setTimeout(send, ms));
    const timer = setInterval(() => {
      send();
      this.#unanswered += 1;
      // Only a node that answers pings is known to be one that does.
      if (this.#answers && this.#unanswered > UNANSWERED_MAX) this.#lose();
    }, PING_MS);
    signal.addEventListener("abort", () => {
      first.forEach(clearTimeout);
      clearInterval(timer);
    });
  }

  #watchConnection(signal: AbortSignal): void {
    let patience: number | undefined;
    const look = (): void => {
      clearTimeout(patience);
      switch (this.peer.connectionState) {
        case "connected":
          this.#events.connected();
          return;
        case "disconnected":
          patience = setTimeout(() => this.#lose(), DISCONNECTED_MS);
          return;
        case "failed":
        case "closed":
          this.#lose();
          return;
        case "new":
        case "connecting":
          return;
      }
    };
    this.peer.addEventListener("connectionstatechange", look, { signal });
    signal.addEventListener("abort", () => clearTimeout(patience));
  }

  #lose(): void {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#events.lost();
  }
}

function preferCodecs(video: RTCRtpTransceiver, codec: string | null): void {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs;
  if (!codecs || !("setCodecPreferences" in video)) return;
  video.setCodecPreferences(chooseCodecs(codecs, codec));
}

/** Asks for no buffer ahead of the decoder: a late frame is better dropped than waited for. */
function playAtOnce(receiver: RTCRtpReceiver): void {
  if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
}
