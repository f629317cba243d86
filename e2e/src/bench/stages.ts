/** The stages of a job's start, as its session's events tell them. */

import type { Session } from "../../../client-web/src/wire/types.js";
import type { Stack } from "../harness/stack.js";

/** When each was first seen, milliseconds from the start's request. */
export interface Reached {
  /** It has a node, which looks for its image. */
  readonly placed: number;
  /** Its container runs, and is asked whether it is healthy. */
  readonly runs: number;
  readonly ready: number;
}

type Stage = keyof Reached;

/** How far a session is; an event that was overtaken by the next is not sent, so a stage may be passed unseen. */
function stageOf({ state }: Session): Stage | undefined {
  if (state.phase === "ready") return "ready";
  if (state.phase === "ended") throw new Error(`it ended: ${state.detail}`);
  if (state.phase !== "starting") return undefined;
  return state.progress.step === "waiting-for-health" ? "runs" : "placed";
}

/** Follows a session until it is ready; `asked` is when it was asked for, on this process's clock. */
export async function follow(stack: Stack, id: string, asked: number): Promise<Reached> {
  const seen = new Map<Stage, number>();
  const answer = await fetch(`${stack.base}/v1/sessions/${id}/events`, { headers: { authorization: `Bearer ${stack.key}` } });
  if (!answer.ok || !answer.body) throw new Error(`the events answered ${answer.status}`);
  for await (const session of sessionsIn(answer.body)) {
    const stage = stageOf(session);
    if (stage === undefined) continue;
    if (!seen.has(stage)) seen.set(stage, performance.now() - asked);
    if (stage === "ready") break;
  }
  return reached(seen);
}

function reached(seen: ReadonlyMap<Stage, number>): Reached {
  const ready = seen.get("ready");
  if (ready === undefined) throw new Error("the events ended before it was ready");
  const runs = seen.get("runs") ?? ready;
  return { placed: seen.get("placed") ?? runs, runs, ready };
}

async function* sessionsIn(body: ReadableStream<Uint8Array>): AsyncGenerator<Session> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
    const events = text.split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const data = /^data: ?(.*)$/m.exec(event)?.[1];
      if (data !== undefined) yield JSON.parse(data) as Session;
    }
  }
}
