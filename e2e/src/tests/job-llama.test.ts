/**
 * llama.cpp as a job, with weights that are no part of its image: the node fetches them once, by digest and ahead of
 * any job, and the answers come token by token. The model is a small one whose answers are known by hand (e2e/python).
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import OpenAI from "openai";
import { create, endpoint, recipe, startFile } from "../harness/jobs.js";
import { Mirror } from "../harness/mirror.js";
import { Rig } from "../harness/rig.js";
import { ROOT } from "../harness/stack.js";
import { until } from "../harness/until.js";

/** The environment that `scripts/openai.sh` made. */
const PYTHON = process.env["NEARLIGHT_PYTHON"] ?? "";
const ANSWER = "abcdefghijklmnopqrstuvwxyz.";
const MIB = 1024 * 1024;

const dir = mkdtempSync(join(tmpdir(), "nearlight-llama-"));

function weights(): Buffer {
  assert.ok(existsSync(PYTHON), "set NEARLIGHT_PYTHON to a Python that has the package gguf: scripts/openai.sh makes one");
  const path = join(dir, "model.gguf");
  execFileSync(PYTHON, [join(ROOT, "e2e/python/successor_model.py"), path], { stdio: ["ignore", "ignore", "inherit"] });
  return readFileSync(path);
}

const model = weights();
const DIGEST = `sha256:${createHash("sha256").update(model).digest("hex")}`;
const mirror = await Mirror.start({ "model.gguf": model });

/** The recipe, with other weights. */
const manifest = join(dir, "job.toml");
const lines = {
  url: `url = "${mirror.url("model.gguf")}"`,
  digest: `digest = "${DIGEST}"`,
  size_mib: `size_mib = ${Math.ceil(model.length / MIB)}`,
};
const text = Object.entries(lines).reduce((text, [name, line]) => {
  const of = new RegExp(`^${name} = .*$`, "m");
  assert.match(text, of);
  return text.replace(of, line);
}, readFileSync(recipe("llama"), "utf8"));
writeFileSync(manifest, text);

const rig = Rig.forThisFile({
  name: "job-llama",
  runtime: "docker",
  config: ["[session-broker.jobs]", `prefetch = ["${manifest}"]`, "[edge-node.jobs]", 'asset_networks = ["127.0.0.0/8"]', `asset_roots = "${mirror.roots}"`],
});
after(() => {
  mirror.stop();
  rmSync(dir, { recursive: true });
});

rig.test("a language model answers token by token, from weights that the node fetched ahead", async () => {
  await until("the node to fetch them", () => Promise.resolve(mirror.asked.length > 0));
  const id = await startFile(rig.stack, manifest);
  const { url, ticket } = await endpoint(rig.stack, id);
  const client = new OpenAI({ baseURL: new URL("v1", url).href, apiKey: ticket });
  const asked = { model: "smollm2-360m-instruct", temperature: 0, messages: [{ role: "user" as const, content: "Say the alphabet." }] };
  assert.deepEqual((await client.models.list()).data.map((entry) => entry.id), [asked.model]);

  const whole = await client.chat.completions.create(asked);
  assert.equal(whole.choices[0]?.message.content, ANSWER);
  assert.equal(whole.choices[0]?.finish_reason, "stop");

  const pieces: string[] = [];
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    const piece = chunk.choices[0]?.delta.content;
    if (piece) pieces.push(piece);
  }
  assert.deepEqual(pieces, [...ANSWER], "each token is a piece of its own");

  // Nor did this job fetch them, nor does another one.
  const again = await startFile(rig.stack, manifest);
  assert.deepEqual(mirror.asked, ["/model.gguf"]);
  for (const session of [id, again]) {
    await rig.stack.operator.end(session);
    await rig.stack.operator.reachEnd(session);
  }
}, 400_000);

rig.test("weights that are not what their digest says start nothing, and the session says so", async () => {
  const other = `sha256:${createHash("sha256").update("other").digest("hex")}`;
  const asset = { url: mirror.url("model.gguf"), digest: other, size_mib: 3, path: "/models/model.gguf" };
  const { id } = await create(rig.stack, { image: "nearlight/job-llama:1", assets: [asset], ports: [{ name: "http", port: 8000 }] });
  assert.match(JSON.stringify(await rig.stack.operator.reachEnd(id)), new RegExp(`it is not what its digest says: ${DIGEST}`));
}, 120_000);
