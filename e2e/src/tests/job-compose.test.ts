/** A compose file is a job: started by the command line, healthy by its own port, called, and ended without a trace. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { endpoint } from "../harness/jobs.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";

const rig = Rig.forThisFile({ name: "job-compose", runtime: "docker" });

/** Of `scripts/images.sh jobs jupyter`: it has a small HTTP server. */
const COMPOSE = `
services:
  server:
    image: nearlight/job-jupyter:1
    command: ["python3", "-m", "http.server", "8000", "--directory", "/etc/jupyter"]
    environment: { GREETING: hello }
    labels: { customer: acme }
    deploy: { resources: { limits: { cpus: "0.2", memory: 128M } } }
    ports:
      - target: 8000
        x-nearlight: { health: { path: / } }
    x-nearlight: { time: { max_s: 600, stop_s: 1 } }
`;

/** Runs the command line beside a file of this text; whatever it says, whether it succeeds or not. */
async function withFile(text: string, args: (file: string) => string[]): Promise<{ status: number; out: string; err: string }> {
  const dir = mkdtempSync(join(tmpdir(), "nearlight-compose-"));
  const file = join(dir, "compose.yaml");
  writeFileSync(file, text);
  const env = { ...process.env, NEARLIGHT_URL: rig.stack.base, NEARLIGHT_TOKEN: rig.stack.key };
  try {
    const { stdout, stderr } = await promisify(execFile)(join(BINARIES, "nearlight"), args(file), { env, timeout: 120_000 });
    return { status: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, out: stdout, err: stderr };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

rig.test("a compose file's service is started as a job, and answers", async () => {
  const started = await withFile(COMPOSE, (file) => ["session", "start", "-f", file]);
  assert.equal(started.status, 0, started.err);
  const id = /ses_[0-9a-z]+/.exec(started.out)?.[0];
  assert.ok(id, started.out);
  rig.stack.remember(id);
  const shown = await rig.stack.operator.request<{ state: { phase: string }; labels: object }>("GET", `/v1/sessions/${id}`);
  assert.deepEqual([shown.body.state.phase, shown.body.labels], ["ready", { customer: "acme" }]);
  const { url, ticket } = await endpoint(rig.stack, id);
  const answer = await fetch(`${url}jupyter_server_config.py`, { headers: { authorization: `Bearer ${ticket}` } });
  assert.equal(answer.status, 200);
  const said = await withFile("", () => ["session", "exec", id, "--", "sh", "-c", "echo $GREETING"]);
  assert.deepEqual([said.status, said.out], [0, "hello\n"], said.err);
});

rig.test("what a job cannot be is refused by its line, and nothing starts", async () => {
  const mounts = COMPOSE.replace("    labels:", `    volumes: ["/var/run/docker.sock:/sock"]\n    labels:`);
  const refused = await withFile(mounts, (file) => ["session", "start", "-f", file]);
  assert.notEqual(refused.status, 0);
  assert.match(refused.err, /line 7: services\.server\.volumes/);
  assert.deepEqual(await rig.stack.edgeSessions(), []);
});
