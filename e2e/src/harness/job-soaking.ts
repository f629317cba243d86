/**
 * Jobs that come and go while roles are killed: each cycle starts a job of seeded kind, uses it, kills broker, agent or
 * (where it is a soak's own) engine at a seeded moment, ends it, and looks for what is left.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Session, SessionState } from "../../../client-web/src/wire/types.js";
import { describe, type Reply } from "./api.js";
import { leftOf } from "./job-soak-left.js";
import type { Notices } from "./job-soak-notices.js";
import { isStruck, type Cycle, type Moment } from "./job-soak-plan.js";
import { BACK_MS, patient, session, strike } from "./job-soak-strikes.js";
import { closed, isOpen, use, type Opened } from "./job-soak-use.js";
import type { Shelf } from "./job-soak-volumes.js";
import type { Stack } from "./stack.js";
import { until } from "./until.js";

/** After a kill a step may have to be found out by a role that has just started. */
const GONE_MS = 90_000;
const PHASE_MS = 180_000;

type Phase = SessionState["phase"];

const isEarly = (moment: Moment): boolean => moment === "creating" || moment === "created";

/** What a soak remembers from cycle to cycle. */
export interface Books {
  readonly shelf: Shelf;
  readonly notices: Notices;
  readonly ids: string[];
  /** Those that were ready. */
  readonly ready: string[];
  /** How often what was done with them. */
  readonly uses: Map<string, number>;
  /** Where the time goes, milliseconds by what it was waited for. */
  readonly spent: Map<string, number>;
  /** An engine that was killed may still be on its way back, and end the next job. */
  engineIsShaken: boolean;
}

/** One job, from its start to nothing. Answers how it ended. */
export async function jobCycle(stack: Stack, cycle: Cycle, books: Books): Promise<string> {
  const mayBeOver = books.engineIsShaken || isStruck(cycle, "dockerd");
  const timed = timer(books.spent);
  const id = await timed("taken", started(stack, cycle));
  books.ids.push(id);
  await timed("killed", strike(stack, cycle, "created"));
  const phase = await timed("ready", reached(stack, id, ["ready", "ended"]));
  let opened: Opened | undefined;
  if (phase === "ready") {
    books.ready.push(id);
    await timed("killed", strike(stack, cycle, "ready"));
    const inUse = use({ stack, id, cycle, mayBeOver }, books.shelf);
    [opened] = await timed("used", Promise.all([inUse, strike(stack, cycle, "inside")]));
    for (const what of opened.done) add(books.uses, what);
    if (!books.engineIsShaken && cycle.strikes.every(({ moment }) => moment === "ending")) isOpen(opened);
  }
  const ends = patient(stack, "DELETE", `/v1/sessions/${id}`);
  const [reply] = await timed("end asked", Promise.all([ends, strike(stack, cycle, "ending")]));
  assert.ok([202, 409, 410].includes(reply.status), describe(reply));
  await timed("ended", reached(stack, id, ["ended"]));
  if (opened) await timed("closed", closed(opened));
  const gone = until(`nothing of ${id} to be left`, () => leftOf(stack, id).length === 0, {
    within_ms: GONE_MS,
    every_ms: 200,
    instead: () => ({ left: leftOf(stack, id), log: stack.logTail(30) }),
  });
  await timed("gone", gone);
  const { state } = await session(stack, id);
  assert.equal(state.phase, "ended");
  books.engineIsShaken = isStruck(cycle, "dockerd");
  const reason = state.phase === "ended" ? state.reason : "";
  // An agent that was killed cannot know how far the start was that it had begun.
  const isCutOff = phase === "ended" && cycle.strikes.some(({ role, moment }) => role === "edge-node" && isEarly(moment));
  if (!mayBeOver && !isCutOff) assert.equal(reason, "player-ended", `nothing but its owner ended ${id}: ${JSON.stringify(state)}`);
  return reason;
}

/** Asks for the job until somebody takes it: with one key, so that it is one job, whoever is killed meanwhile. */
async function started(stack: Stack, cycle: Cycle): Promise<string> {
  const json = { job: cycle.job, secrets: cycle.secrets, ...(cycle.budget_micro ? { budget_micro: cycle.budget_micro } : {}) };
  const headers = { "idempotency-key": randomUUID() };
  let last: Reply | undefined;
  const taken = until("a job to be taken", async () => {
    const reply = await stack.operator.request<Session>("POST", "/v1/sessions", { json, headers });
    last = reply;
    return [200, 201].includes(reply.status) && reply.body;
  }, { within_ms: BACK_MS, every_ms: 300, instead: () => ({ last, log: stack.logTail(30) }) });
  const [{ id }] = await Promise.all([taken, strike(stack, cycle, "creating")]);
  stack.remember(id);
  return id;
}

async function reached(stack: Stack, id: string, phases: Phase[]): Promise<Phase> {
  return until(`${id} to be ${phases.join(" or ")}`, async () => {
    const { state } = await session(stack, id);
    return phases.includes(state.phase) && state.phase;
  }, { within_ms: PHASE_MS, instead: () => stack.logTail(30) });
}

/** One more. */
export const add = (to: Map<string, number>, what: string, more = 1): Map<string, number> => to.set(what, (to.get(what) ?? 0) + more);

function timer(spent: Map<string, number>): <T>(what: string, work: Promise<T>) => Promise<T> {
  return async (what, work) => {
    const began = performance.now();
    const done = await work;
    add(spent, what, performance.now() - began);
    return done;
  };
}
