/**
 * A real AI job with no GPU: embeddings behind OpenAI's API, started by the command line as a recipe
 * of the broker, called through its endpoint by the official clients of Python and JavaScript.
 */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { promisify } from "node:util";
import OpenAI from "openai";
import { endpoint, startRecipe } from "../harness/jobs.js";
import { Rig } from "../harness/rig.js";

const MODEL = "all-MiniLM-L6-v2";
const TEXTS = ["A man is eating food.", "A man eats something.", "The stock market fell today."];
/** The environment that `scripts/openai.sh` made. */
const PYTHON = process.env["NEARLIGHT_PYTHON"] ?? "";

const rig = Rig.forThisFile({ name: "job-embeddings", runtime: "docker" });

const start = (): Promise<string> => startRecipe(rig.stack, "embeddings");

/** Of vectors of unit length. */
const cosine = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);

function judge(vectors: number[][]): void {
  const [eating, eats, stocks] = vectors;
  assert.ok(eating && eats && stocks);
  assert.equal(eating.length, 384);
  // As the model's own library has them, to what base64 and 32 bits keep.
  assert.ok(Math.abs(cosine(eating, eating) - 1) < 1e-5);
  assert.ok(Math.abs(cosine(eating, eats) - 0.8749) < 1e-3, String(cosine(eating, eats)));
  assert.ok(Math.abs(cosine(eating, stocks) + 0.017) < 1e-3, String(cosine(eating, stocks)));
}

const PROGRAM = `
import json, sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2])
answer = client.embeddings.create(model=sys.argv[3], input=json.loads(sys.argv[4]))
print(json.dumps([entry.embedding for entry in answer.data]))
`;

rig.test("the official clients get embeddings from a job that was started for them", async () => {
  const id = await start();
  const { url, ticket } = await endpoint(rig.stack, id);
  const base = new URL("v1", url).href;

  const client = new OpenAI({ baseURL: base, apiKey: ticket });
  const answer = await client.embeddings.create({ model: MODEL, input: TEXTS });
  judge(answer.data.map((entry) => entry.embedding));
  // What is beyond 256 tokens, two of which frame the text, does not count; texts of any length go together.
  const words = (count: number): string => "word ".repeat(count);
  const mixed = await client.embeddings.create({ model: MODEL, input: [words(300), TEXTS[0] ?? "", words(254), words(253)] });
  const [long, eating, whole, shorter] = mixed.data.map((entry) => entry.embedding);
  assert.ok(long && eating && whole && shorter);
  assert.ok(Math.abs(cosine(long, whole) - 1) < 1e-6, String(cosine(long, whole)));
  assert.ok(long.some((x, i) => Math.abs(x - (shorter[i] ?? NaN)) > 1e-6), "the last token that counts");
  assert.ok(Math.abs(cosine(eating, answer.data[0]?.embedding ?? []) - 1) < 1e-6, "among longer ones it is what it was");
  assert.equal(mixed.usage.prompt_tokens, 256 + 8 + 256 + 255);
  // More than is taken apart at once, in their order.
  const many = await client.embeddings.create({ model: MODEL, input: [...Array<string>(150).fill("word"), TEXTS[0] ?? ""] });
  assert.equal(many.data.length, 151);
  assert.ok(Math.abs(cosine(many.data[150]?.embedding ?? [], eating) - 1) < 1e-6);
  // What would take the job's memory is refused; the longest that is not, is not.
  const full = "a ".repeat(16 * 1024);
  await client.embeddings.create({ model: MODEL, input: full });
  for (const [input, why] of [[full + "b", /larger than 32768 bytes; cut it/], ["half \ud83d", /half of a surrogate pair/]] as const) {
    const wrong = (error: unknown): boolean => error instanceof OpenAI.BadRequestError && why.test(error.message);
    await assert.rejects(client.embeddings.create({ model: MODEL, input: ["good", input] }), wrong);
  }
  await assert.rejects(client.embeddings.create({ model: "another", input: "x" }), /there is no model `another` here/);

  assert.ok(existsSync(PYTHON), "set NEARLIGHT_PYTHON to a Python that has the package openai: scripts/openai.sh makes one");
  const { stdout } = await promisify(execFile)(PYTHON, ["-c", PROGRAM, base, ticket, MODEL, JSON.stringify(TEXTS)], { timeout: 120_000 });
  judge(JSON.parse(stdout) as number[][]);

  // Nobody without the ticket, nor with that of another session.
  for (const apiKey of ["none", (await endpoint(rig.stack, await start())).ticket]) {
    const stranger = new OpenAI({ baseURL: base, apiKey, maxRetries: 0 });
    await assert.rejects(stranger.models.list(), (error: unknown) => error instanceof OpenAI.APIError && [401, 403].includes(error.status ?? 0));
  }

  await rig.stack.operator.end(id);
  await rig.stack.operator.reachEnd(id);
  await assert.rejects(
    new OpenAI({ baseURL: base, apiKey: ticket, maxRetries: 0 }).models.list(),
    (error: unknown) => error instanceof OpenAI.APIError && error.status === 410,
  );
}, 400_000);
