/**
 * One line check: a connection with data channels only, pings for the round trip, and the trains
 * that the edge sends. Takes about three seconds, and never throws.
 *
 * Owns: its peer connection and timers; both are gone when the promise settles. Does not know: who
 * asks, where the offer is posted, what the figures mean.
 */
import { decodeMark, encodePacket } from "../wire/codec.ts";
import { CONTROL_CHANNEL, MOTION_CHANNEL } from "../wire/constants.ts";
import { Collector, type Figures } from "./figures.ts";

export type Checked =
  | { readonly ok: true; readonly figures: Figures }
  /** `refused`: the broker or the node said no. `unreachable`: no packet came through. `stopped`: by us. `impossible`:
   *  the browser makes no connections. */
  | { readonly ok: false; readonly why: "refused" | "unreachable" | "stopped" | "impossible" };

/** Posts the offer; null where it was refused. */
export type Post = (sdp: string) => Promise<string | null>;

const OPEN_MS_MAX = 4_000;
const PING_MS = 50;
const CHECK_MS = 2_800;
/** For the last pongs, and for a train that is still on its way. */
const REST_MS = 700;

export async function checkLine(post: Post, progress: (share: number) => void, signal: AbortSignal): Promise<Checked> {
  const peer = makePeer();
  if (peer === null) return { ok: false, why: "impossible" };
  const over = new AbortController();
  const stop = (): void => over.abort();
  signal.addEventListener("abort", stop, { signal: over.signal });
  try {
    if (signal.aborted) return { ok: false, why: "stopped" };
    const motion = peer.createDataChannel("motion", { negotiated: true, id: MOTION_CHANNEL, ordered: false, maxRetransmits: 0 });
    peer.createDataChannel("control", { negotiated: true, id: CONTROL_CHANNEL, ordered: true });
    motion.binaryType = "arraybuffer";
    const collector = listen(motion, over.signal);
    const opened = new Promise<void>((done) => motion.addEventListener("open", () => done(), { signal: over.signal }));
    await peer.setLocalDescription(await peer.createOffer());
    const answer = await post(peer.localDescription?.sdp ?? "");
    if (signal.aborted) return { ok: false, why: "stopped" };
    if (answer === null) return { ok: false, why: "refused" };
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    const patience = wait(OPEN_MS_MAX, over.signal);
    const inTime = await Promise.race([opened.then(() => true), patience.then(() => false)]);
    if (signal.aborted) return { ok: false, why: "stopped" };
    if (!inTime) return { ok: false, why: "unreachable" };
    await ping(motion, collector, progress, over.signal);
    if (signal.aborted) return { ok: false, why: "stopped" };
    const figures = collector.figures(performance.now());
    return figures.trips || figures.kbps !== null ? { ok: true, figures } : { ok: false, why: "unreachable" };
  } catch {
    return { ok: false, why: "refused" };
  } finally {
    over.abort();
    peer.close();
  }
}

function makePeer(): RTCPeerConnection | null {
  try {
    return new RTCPeerConnection({ bundlePolicy: "max-bundle", iceServers: [] });
  } catch {
    return null;
  }
}

function listen(motion: RTCDataChannel, signal: AbortSignal): Collector {
  const collector = new Collector();
  motion.addEventListener(
    "message",
    ({ data }) => {
      const nowMs = performance.now();
      const result = data instanceof ArrayBuffer ? decodeMark(data) : null;
      if (!result?.ok) return;
      if (result.mark.kind === "pong") collector.ponged(result.mark.clientUs, nowMs);
      else if (result.mark.kind === "train") collector.arrived(result.mark, nowMs);
    },
    { signal },
  );
  return collector;
}

/** Pings for the length of a check, then gives the last answers their time. */
async function ping(motion: RTCDataChannel, collector: Collector, progress: (share: number) => void, signal: AbortSignal): Promise<void> {
  const from = performance.now();
  let due = from;
  for (let seq = 1; !signal.aborted && motion.readyState === "open"; seq += 1) {
    const nowMs = performance.now();
    const share = (nowMs - from) / CHECK_MS;
    if (share >= 1) break;
    progress(share);
    const clientUs = Math.round(nowMs * 1000);
    motion.send(encodePacket({ seq, clientUs: BigInt(clientUs), event: { kind: "ping" } }));
    collector.pinged(clientUs, nowMs, nowMs - due);
    due = performance.now() + PING_MS;
    await wait(PING_MS, signal);
  }
  progress(1);
  await wait(REST_MS, signal);
}

const wait = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    });
  });
