/**
 * A `fetch` that asks again where that is safe: after a refusal that has `Retry-After`, and after a broken
 * connection or a 503 if doing it twice is doing it once (GET, PUT, DELETE, or an Idempotency-Key).
 *
 * What it does not know: sessions, and what any body means.
 */

import { UnreachableError } from "./errors.js";

/** Of one request beyond the first. */
export const RETRIES = 3;
/** How long the head of an answer may take. An event stream may last. */
const ANSWER_MS = 30_000;
/** How long a node looks through a tree. */
const COPY_MS = 180_000;
/** A broker that asks for more patience than this is not waited for, the caller is told. */
const RETRY_AFTER_MS_MAX = 60_000;
const BACKOFF_MS = 250;
const BACKOFF_MS_MAX = 5000;

/** Milliseconds until the next try, drawn so that many clients do not come back at once. */
export const backoffMs = (attempt: number): number =>
  (0.5 + Math.random() / 2) * Math.min(BACKOFF_MS * 2 ** attempt, BACKOFF_MS_MAX);

/** Waits, or throws the signal's reason. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", fail);
      resolve();
    }, ms);
    if (signal?.aborted === true) fail();
    signal?.addEventListener("abort", fail, { once: true });
  });
}

/** As `fetch`. */
export const retryingFetch = (request: Request): Promise<Response> => retrying(request, ANSWER_MS);

/** As `fetch`, for files of a job. */
export const copyingFetch = (request: Request): Promise<Response> => retrying(request, COPY_MS);

/**
 * As `fetch`, for a body of any size: it is sent once, for a copy to send again would be all of it in memory. The answer begins
 * after the last of it, so the line's own patience is what there is (Node.js: five minutes without a byte).
 */
export async function sendingFetch(request: Request): Promise<Response> {
  // To follow a redirect, Node.js would keep all of it as well.
  const answer = await once(new Request(request, { redirect: "error" }));
  if (answer instanceof Error) throw unreachable(request, answer);
  return answer;
}

async function retrying(request: Request, answerMs: number): Promise<Response> {
  const repeatable = isRepeatable(request);
  for (let attempt = 0; ; attempt++) {
    const answer = await once(request.clone(), answerMs);
    const isLast = attempt === RETRIES;
    if (answer instanceof Error) {
      if (isLast || !repeatable) throw unreachable(request, answer);
      await pause(backoffMs(attempt), request.signal);
      continue;
    }
    const again = isLast ? undefined : againMs(answer, attempt, repeatable);
    if (again === undefined) return answer;
    await answer.body?.cancel();
    await pause(again, request.signal);
  }
}

/** The answer, or that the line broke. What the caller aborts is thrown. */
async function once(request: Request, answerMs?: number): Promise<Response | Error> {
  const late = new AbortController();
  const timer = answerMs === undefined ? undefined : setTimeout(() => late.abort(new Error("no answer in time")), answerMs);
  try {
    return await fetch(request, { signal: AbortSignal.any([request.signal, late.signal]) });
  } catch (error) {
    if (request.signal.aborted) throw error;
    return error instanceof Error ? error : new Error(String(error));
  } finally {
    clearTimeout(timer);
  }
}

function unreachable(request: Request, cause: Error): UnreachableError {
  const origin = new URL(request.url).origin;
  return new UnreachableError(`cannot reach the broker at ${origin}; is it running? Start one with \`nearlight up\``, { cause });
}

function isRepeatable(request: Request): boolean {
  const { method, headers, url } = request;
  // Another ticket changes nothing.
  const isTicket = /\/(endpoint|exec)$/.test(new URL(url).pathname);
  return (method !== "POST" && method !== "PATCH") || headers.has("Idempotency-Key") || isTicket;
}

function againMs(answer: Response, attempt: number, repeatable: boolean): number | undefined {
  if (answer.status !== 429 && answer.status !== 503) return undefined;
  const asked = retryAfterMs(answer.headers.get("Retry-After"));
  if (asked === undefined) return answer.status === 503 && repeatable ? backoffMs(attempt) : undefined;
  return asked <= RETRY_AFTER_MS_MAX ? asked : undefined;
}

/** `Retry-After`, which is seconds or a date (RFC 9110). */
function retryAfterMs(text: string | null): number | undefined {
  if (text === null) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}
