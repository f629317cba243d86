/** Jobs as their users have them: started from a spec or a file, asked for their endpoint. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Session } from "../../../client-web/src/wire/types.js";
import { describe } from "./api.js";
import { ROOT, BINARIES, type Stack } from "./stack.js";

/** What `POST /v1/sessions/{id}/endpoint` answers. */
export interface EndpointTicket {
  url: string;
  ticket: string;
  /** Works once, in a browser. */
  open_url: string;
}

/** A recipe of configs/jobs. */
export const recipe = (name: string): string => join(ROOT, `configs/jobs/${name}/job.toml`);

/** Starts a job from its file as its user would, waits until it is ready, and answers its id. */
export const startFile = (stack: Stack, file: string): Promise<string> => started(stack, ["-f", file]);

/** Starts a recipe of the broker by its name. */
export const startRecipe = (stack: Stack, id: string): Promise<string> => started(stack, ["--recipe", id]);

async function started(stack: Stack, what: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(join(BINARIES, "nearlight"), ["session", "start", ...what], {
    timeout: 170_000,
    env: { ...process.env, NEARLIGHT_URL: stack.base, NEARLIGHT_TOKEN: stack.key },
  });
  const id = /ses_[0-9a-z]+/.exec(stdout)?.[0];
  assert.ok(id, stdout);
  stack.remember(id);
  assert.equal((await stack.operator.session(id)).state.phase, "ready");
  return id;
}

/** Creates a job, of a spec as `job.toml` has it: what is left out has its default. */
export async function create(stack: Stack, job: object, secrets: Record<string, string> = {}): Promise<Session> {
  const reply = await stack.operator.request<Session>("POST", "/v1/sessions", {
    json: { job, secrets },
    headers: { "idempotency-key": randomUUID() },
  });
  assert.equal(reply.status, 201, describe(reply));
  stack.remember(reply.body.id);
  return reply.body;
}

/** A ticket of a job, and its addresses. */
export async function endpoint(stack: Stack, id: string): Promise<EndpointTicket> {
  const reply = await stack.operator.request<EndpointTicket>("POST", `/v1/sessions/${id}/endpoint`, { json: {} });
  assert.equal(reply.status, 201, describe(reply));
  return reply.body;
}
