/** What is left to hope for after a refusal. Pure. */
import type { Refusal } from "./refusal.ts";

/** Whether the same question may be answered in a moment. */
export const passes = ({ name }: Refusal): boolean => ["offline", "internal", "too-many-requests", "node-unreachable"].includes(name);

/**
 * After a wish to attach: it is played `elsewhere`; the session knows better, `ask` it; the next try may do, as the
 * node `refused` this one or the `broker` had trouble; or `none`.
 */
export type AttachOutlook = "elsewhere" | "ask" | "refused" | "broker" | "none";

export function attachOutlook({ name }: Refusal): AttachOutlook {
  switch (name) {
    case "attached-elsewhere":
      return "elsewhere";
    case "session-ended":
    case "session-not-ready":
      return "ask";
    case "node-unreachable":
    case "ticket-invalid":
      return "refused";
    case "internal":
    case "offline":
    case "too-many-requests":
      return "broker";
    case "bad-request":
    case "body-too-large":
    case "budget-reached":
    case "evidence-expired":
    case "forbidden":
    case "job-not-ready":
    case "log-unavailable":
    case "receipt-refused":
    case "job-unreachable":
    case "join-token-invalid":
    case "node-revoked":
    case "garbled":
    case "idempotency-conflict":
    case "invalid-offer":
    case "link-ended":
    case "method-not-allowed":
    case "name-taken":
    case "no-webrtc":
    case "not-found":
    case "origin-refused":
    case "provider-unreachable":
    case "quota-exceeded":
    case "save-elsewhere":
    case "session-lost":
    case "unauthenticated":
    case "unsupported-media-type":
      return "none";
  }
}
