/**
 * JSON notices of the control channel, checked before anyone sees them: the edge is trusted with
 * its session, not with the shape of our memory.
 */
import type { Cursor, DetachReason, EndReason, LimitedBy, Notice, Repair, StreamState } from "./types.ts";
import { isRecord } from "./json.ts";

const END_REASONS: ReadonlySet<string> = new Set<EndReason>([
  "player-ended", "app-exited", "app-crashed", "app-out-of-memory", "app-start-failed", "start-timeout",
  "image-missing", "runtime-failed", "desktop-violation", "worker-crashed", "encoder-failed", "idle-timeout",
  "time-limit", "detached-timeout", "node-lost", "node-drained", "internal",
]);
const DETACH_REASONS: ReadonlySet<string> = new Set<DetachReason>(["taken-over", "node-restarting", "protocol-error", "link-revoked", "codec-changed"]);
const LIMITS: ReadonlySet<string> = new Set<LimitedBy>(["nothing", "capacity", "loss", "uplink", "node", "player", "operator"]);
const REPAIRS: ReadonlySet<string> = new Set<Repair>(["key-frame", "rtx", "flex-fec"]);

/** The notice in `json`, or null for anything that is none. */
export function parseNotice(json: string): Notice | null {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return null;
  }
  if (!isRecord(value)) return null;
  switch (value["notice"]) {
    case "ready":
      return { notice: "ready", hears_shown: value["hears_shown"] === true };
    case "cursor": {
      const cursor = parseCursor(value["cursor"]);
      return cursor && { notice: "cursor", cursor };
    }
    case "clipboard":
      return typeof value["text"] === "string" ? { notice: "clipboard", text: value["text"] } : null;
    case "pointer-lock":
      return typeof value["wanted"] === "boolean" ? { notice: "pointer-lock", wanted: value["wanted"] } : null;
    case "display":
      return isSize(value["width"]) && isSize(value["height"])
        ? { notice: "display", width: value["width"], height: value["height"] }
        : null;
    case "ending-soon":
      return isEndReason(value["reason"]) && isSize(value["in_s"])
        ? { notice: "ending-soon", reason: value["reason"], in_s: value["in_s"] }
        : null;
    case "goes-on":
      return { notice: "goes-on" };
    case "stream": {
      const stream = parseStream(value["stream"]);
      return stream && { notice: "stream", stream };
    }
    case "watchers":
      return isSize(value["count"]) ? { notice: "watchers", count: value["count"] } : null;
    case "detached":
      return isDetachReason(value["reason"]) ? { notice: "detached", reason: value["reason"] } : null;
    case "ended":
      return isEndReason(value["reason"]) ? { notice: "ended", reason: value["reason"] } : null;
    default:
      return null;
  }
}

function parseCursor(value: unknown): Cursor | null {
  if (!isRecord(value)) return null;
  switch (value["kind"]) {
    case "hidden":
      return { kind: "hidden" };
    case "named":
      return typeof value["name"] === "string" ? { kind: "named", name: value["name"] } : null;
    case "image": {
      const { png, hotspot_x, hotspot_y } = value;
      const base64 = typeof png === "string" && /^[A-Za-z0-9+/]+={0,2}$/.test(png);
      return base64 && isSize(hotspot_x) && isSize(hotspot_y) ? { kind: "image", png, hotspot_x, hotspot_y } : null;
    }
    default:
      return null;
  }
}

function parseStream(value: unknown): StreamState | null {
  if (!isRecord(value)) return null;
  const { kbps_target, kbps_path, rtt_ms, queue_ms, loss_permille, width, height, fps_max } = value;
  const { encoder, limited_by, repair, kbps_max } = value;
  const sizes = isSize(kbps_target) && isSize(kbps_path) && isSize(rtt_ms) && isSize(queue_ms) && isSize(loss_permille);
  if (!sizes || !isSize(width) || !isSize(height) || !isSize(fps_max)) return null;
  if (typeof encoder !== "string" || !isLimitedBy(limited_by) || !isRepair(repair)) return null;
  const state = { kbps_target, kbps_path, rtt_ms, queue_ms, loss_permille, width, height, fps_max, encoder, limited_by, repair };
  // Nodes of before do not say it.
  if (kbps_max === undefined) return state;
  return isSize(kbps_max) ? { ...state, kbps_max } : null;
}

const isLimitedBy = (value: unknown): value is LimitedBy => typeof value === "string" && LIMITS.has(value);
const isRepair = (value: unknown): value is Repair => typeof value === "string" && REPAIRS.has(value);
const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
const isEndReason = (value: unknown): value is EndReason => typeof value === "string" && END_REASONS.has(value);
const isDetachReason = (value: unknown): value is DetachReason => typeof value === "string" && DETACH_REASONS.has(value);
