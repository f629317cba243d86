/** What goes wrong, as exceptions. A message says what happened and what to do, in the broker's own words. */

import type { components } from "./wire.js";

type Schemas = components["schemas"];

/** The parent of all. */
export class NearlightError extends Error {
  override readonly name: string = "NearlightError";
}

/** There is no broker or key to use; the message says where they are looked for. */
export class ConfigError extends NearlightError {
  override readonly name = "ConfigError";
}

/** No broker answers, or the connection broke and asking again might do a thing twice. */
export class UnreachableError extends NearlightError {
  override readonly name = "UnreachableError";
}

/** Something answers that is no Nearlight broker, or a proxy in front of one. */
export class ForeignAnswerError extends NearlightError {
  override readonly name = "ForeignAnswerError";
}

/** The broker refused: `problem+json` (RFC 9457). */
export class ProblemError extends NearlightError {
  override readonly name = "ProblemError";
  /** Which, for programs: `quota-exceeded`, `session-ended`, ... */
  readonly problemName: Schemas["ProblemType"];
  /** The HTTP status. */
  readonly status: number;

  constructor(readonly problem: Schemas["Problem"]) {
    super(`${problem.title}: ${problem.detail}`);
    this.problemName = problem.name;
    this.status = problem.status;
  }
}

/** A session ended before it was ready. */
export class SessionEndedError extends NearlightError {
  override readonly name = "SessionEndedError";

  constructor(
    readonly sessionId: string,
    readonly reason: Schemas["EndReason"],
    detail: string,
  ) {
    super(detail);
  }
}

/** A command in a job could not be started, or nobody knows what became of it. */
export class CommandError extends NearlightError {
  override readonly name = "CommandError";
}

/** The problem that a refusal carries, or that it carries none. */
export function refusal(url: string, status: number, body: unknown): NearlightError {
  return isProblem(body)
    ? new ProblemError(body)
    : new ForeignAnswerError(`${url} answered ${status} and not as a Nearlight broker; check the URL`);
}

function isProblem(body: unknown): body is Schemas["Problem"] {
  return typeof body === "object" && body !== null && "name" in body && "title" in body && "detail" in body;
}
