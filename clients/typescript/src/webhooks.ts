/** Notices of jobs: whether one that came is from the network that its secret is of. */

import { NearlightError } from "./errors.js";
import type { components } from "./wire.js";

const PREFIX = "whsec_";
/** A notice that is older, or from the future, is not taken: it may be sent again by somebody who saw it. */
const TOLERANCE_S = 300;

export type WebhookNotice = components["schemas"]["WebhookNotice"];

/** A notice is not from whom it should be. */
export class WebhookError extends NearlightError {}

export interface VerifyWebhook {
  /** Seconds that a notice may be old. */
  toleranceS?: number;
  /** Unix seconds, in place of the clock's. */
  nowS?: number;
}

const FORM = "the notice, or the secret, is not in the form of Standard Webhooks";

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    throw new WebhookError(FORM);
  }
}

/**
 * The notice in `body`, which has to be as it came, byte for byte. Notices come at least once: `webhook-id` is
 * the same each time.
 */
export async function verifyWebhook(
  body: string,
  headers: Headers | Record<string, string>,
  secret: string,
  { toleranceS = TOLERANCE_S, nowS = Date.now() / 1000 }: VerifyWebhook = {},
): Promise<WebhookNotice> {
  const all = new Headers(headers);
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) => all.get(`webhook-${name}`));
  if (!id || !timestamp || !/^\d+$/.test(timestamp) || !signatures) throw new WebhookError(FORM);
  if (Math.abs(nowS - Number(timestamp)) > toleranceS) {
    throw new WebhookError("the notice is too old, or from the future; is the clock right?");
  }
  const hmac = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", bytes(secret.replace(PREFIX, "")), hmac, false, ["verify"]);
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  // `verify` compares in constant time.
  const found = await Promise.all(
    signatures
      .split(" ")
      .filter((one) => one.startsWith("v1,"))
      .map((one) => crypto.subtle.verify(hmac, key, bytes(one.slice("v1,".length)), signed)),
  );
  if (!found.includes(true)) throw new WebhookError("the notice is signed with another secret, or was altered");
  return JSON.parse(body || "{}") as WebhookNotice;
}
