/** Starts GPU sessions and jobs on a Nearlight network, and talks to them: Node.js and browsers. */

export { Client, type JobSpec, Sessions, type Start, type UsageOf, type UsageReport } from "./client.js";
export type { Exec, Ran, Stream } from "./command.js";
export {
  CommandError,
  ConfigError,
  ForeignAnswerError,
  NearlightError,
  ProblemError,
  SessionEndedError,
  UnreachableError,
} from "./errors.js";
export { type Progress, Session } from "./session.js";
export { type VerifyWebhook, verifyWebhook, WebhookError, type WebhookNotice } from "./webhooks.js";
export type { components, paths } from "./wire.js";
