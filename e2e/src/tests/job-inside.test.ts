/** The inside of a job, by the command line: its log, commands with and without a terminal, files both ways; and who is kept out. */

import assert from "node:assert/strict";
import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Api, describe } from "../harness/api.js";
import { descendants, signal } from "../harness/processes.js";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";
import { until } from "../harness/until.js";

const rig = Rig.forThisFile({ name: "job-inside", runtime: "docker" });
/** It has a shell and the tools of a Debian. */
const IMAGE = "nearlight/job-embeddings:1";
const PROGRAM = join(BINARIES, "nearlight");
/** A job that says a line to each output twice a second, and does nothing else. */
const TALKS = ["sh", "-c", "i=0; while :; do echo out $i; echo err $i >&2; i=$((i+1)); sleep 0.5; done"];
const QUIET = ["sleep", "100000"];

interface Done {
  status: number | null;
  stdout: string;
  stderr: string;
}

interface AuditRow {
  action: string;
  subject: string;
  outcome: string;
  detail: string;
}

const env = (key = rig.stack.key): NodeJS.ProcessEnv => ({ ...process.env, NEARLIGHT_URL: rig.stack.base, NEARLIGHT_TOKEN: key });

/** Runs the command line to its end. */
function nearlight(args: string[], input = ""): Promise<Done> {
  return new Promise((resolve) => {
    const child = execFile(PROGRAM, args, { env: env(), timeout: 60_000, maxBuffer: 64 * 1024 * 1024 }, (_, stdout, stderr) => {
      resolve({ status: child.exitCode, stdout, stderr });
    });
    child.stdin?.end(input);
  });
}

/** A command line that goes on, and what it has said. */
function running(args: string[]): { child: ChildProcess; said: { out: string; err: string } } {
  const child = spawn(PROGRAM, args, { env: env(), stdio: ["ignore", "pipe", "pipe"] });
  const said = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said.err += chunk.toString()));
  return { child, said };
}

/** Starts a job as whoever this is, and answers its id. */
async function start(command: string[], as: Api = rig.stack.operator): Promise<string> {
  const job = { image: IMAGE, command, resources: { cpu_milli: 500, mem_mib: 256, disk_mib: 0 }, time: { stop_s: 1 } };
  const made = await as.request<{ id: string }>("POST", "/v1/sessions", { json: { job }, headers: { "idempotency-key": crypto.randomUUID() } });
  assert.equal(made.status, 201, describe(made));
  const { id } = made.body;
  rig.stack.remember(id);
  await until("the job to be ready", async () => (await as.session(id)).state.phase === "ready", {
    within_ms: 60_000,
    instead: () => as.session(id),
  });
  return id;
}

/** What runs in a job's container. */
const processes = (id: string): string[] =>
  execFileSync("docker", ["top", `nearlight-${id}`, "-eo", "pid,args"], { encoding: "utf8" }).trim().split("\n").slice(1);

async function nothingOf(id: string, word: string): Promise<void> {
  await until(`nothing of ${word} to run`, () => !processes(id).some((line) => line.includes(word)), {
    within_ms: 30_000,
    instead: () => processes(id),
  });
}

const audit = async (id: string): Promise<AuditRow[]> => {
  const page = await rig.stack.operator.request<{ entries: AuditRow[] }>("GET", "/v1/audit?limit=200");
  return page.body.entries.filter(({ subject }) => subject === id);
};

/** Every file below a directory with its digest, every link with its target. */
function digests(dir: string, below = ""): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(join(dir, below), { withFileTypes: true })) {
    const name = join(below, entry.name);
    if (entry.isDirectory()) Object.assign(found, digests(dir, name));
    else if (entry.isSymbolicLink()) found[name] = readlinkSync(join(dir, name));
    else found[name] = createHash("sha256").update(readFileSync(join(dir, name))).digest("hex");
  }
  return found;
}

rig.test("logs -f loses and doubles no line while broker and agent are killed", async () => {
  const id = await start(TALKS);
  const { child, said } = running(["session", "logs", "-f", id]);
  const count = (): number => said.out.split("\n").length - 1;
  await until("lines", () => count() >= 3, { instead: () => said });
  for (const program of ["session-broker", "edge-node"] as const) {
    const { pid } = rig.stack.role(program);
    signal(pid, "SIGKILL");
    const before = count();
    await until(`lines after the ${program} was killed`, () => descendants(rig.stack.pid).some((of) => of.program === program && of.pid !== pid) && count() > before + 4, {
      within_ms: 90_000,
      instead: () => said,
    });
  }
  const lines = said.out.trim().split("\n");
  assert.deepEqual(lines, lines.map((_, i) => `out ${i}`));
  const errors = said.err.trim().split("\n");
  assert.deepEqual(errors, errors.map((_, i) => `err ${i}`), "standard error apart");

  await rig.stack.operator.end(id);
  await until("the reader to end with its job", () => child.exitCode !== null, { within_ms: 60_000, instead: () => said });
  assert.equal(child.exitCode, 0);
}, 300_000);

rig.test("a log is read from its end and from a time, as JSON too", async () => {
  const id = await start(["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; sleep 1000"]);
  await until("five lines", async () => (await nearlight(["session", "logs", id])).stdout.split("\n").length === 6);
  assert.equal((await nearlight(["session", "logs", "--tail", "2", id])).stdout, "line 4\nline 5\n");
  assert.equal((await nearlight(["session", "logs", "--since", "1h", id])).stdout.split("\n").length, 6);
  const json = await nearlight(["session", "logs", "--json", "--tail", "1", id]);
  const { stream, text } = JSON.parse(json.stdout) as { stream: string; text: string };
  assert.deepEqual([stream, text], ["stdout", "line 5"]);

  const noted = async (): Promise<number> => (await audit(id)).filter(({ action }) => action === "session-logs").length;
  const before = await noted();
  const first = encodeURIComponent("1970-01-01T00:00:00.000000000Z-1");
  const again = await rig.stack.operator.request("GET", `/v1/sessions/${id}/logs?after=${first}`);
  assert.equal(again.status, 200, describe(again));
  assert.equal(await noted(), before + 1, "whoever claims to go on is noted, too");
});

rig.test("a flood of lines is bounded, and a reader who does not read holds nobody up", async () => {
  const id = await start(["yes", "x".repeat(200)]);
  const roles = ["session-broker", "edge-node"] as const;
  const rss = (): number[] =>
    roles.map((role) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${rig.stack.role(role).pid}/status`, "utf8"))?.[1]) / 1024);
  await nearlight(["session", "logs", "--tail", "10", id]);
  const before = rss();
  // Nobody reads what they print.
  const readers = Array.from({ length: 4 }, () => spawn(PROGRAM, ["session", "logs", "-f", id], { env: env(), stdio: ["ignore", "pipe", "ignore"] }));
  try {
    for (let i = 0; i < 15; i++) assert.equal((await nearlight(["session", "exec", id, "--", "echo", "hi"])).stdout, "hi\n");
    const grown = rss().map((now, i) => now - (before[i] ?? 0));
    assert.ok(grown.every((mib) => mib < 64), `MiB more in broker and node: ${grown.join(", ")}`);
  } finally {
    for (const reader of readers) reader.kill("SIGKILL");
  }
  const log = execFileSync("docker", ["inspect", "-f", "{{.LogPath}}", `nearlight-${id}`], { encoding: "utf8" }).trim();
  const kept = readdirSync(join(log, "..")).filter((name) => name.includes("-json.log"));
  const bytes = kept.reduce((sum, name) => sum + readFileSync(join(log, "..", name)).length, 0);
  assert.ok(bytes < 9 * 1024 * 1024, `${kept.join(", ")}: ${bytes} bytes`);
});

rig.test("a command has input, two outputs and a status, and is noted without what it said", async () => {
  const id = await start(QUIET);
  const words = ["session", "exec", "-i", id, "--", "sh", "-c", "cat; echo secret-word >&2; id -u; exit 7"];
  const done = await nearlight(words, "typed\n");
  assert.deepEqual([done.status, done.stdout], [7, "typed\n1000\n"], done.stderr);
  assert.equal(done.stderr, "secret-word\n");
  // Bytes are bytes, and there are many of them.
  const many = await nearlight(["session", "exec", id, "--", "sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x"]);
  assert.deepEqual([many.status, many.stdout.length], [0, 20_000_000]);
  const none = await nearlight(["session", "exec", id, "--", "/no/such/program"]);
  assert.ok([126, 127].includes(none.status ?? 0), JSON.stringify(none));
  assert.match(none.stdout + none.stderr, /no such file/);
  // As much as the job may, and no more.
  const locks = await nearlight(["session", "exec", id, "--", "grep", "-E", "CapEff|NoNewPrivs|Seccomp:", "/proc/self/status"]);
  assert.match(locks.stdout, /CapEff:\s+0+\nNoNewPrivs:\s+1\nSeccomp:\s+2/);

  await until("the end to be noted", async () => (await audit(id)).filter(({ action }) => action === "session-exec-end").length === 4);
  const rows = await audit(id);
  const begun = rows.findLast(({ action }) => action === "session-exec");
  assert.match(begun?.detail ?? "", /"exit|exit 7/);
  assert.match(rows.findLast(({ action }) => action === "session-exec-end")?.detail ?? "", /^status 7, 6 bytes in, \d+ bytes out$/);
  assert.ok(!JSON.stringify(rows).includes("typed"));
});

rig.test("a terminal has the size of this one, then its new size, and its command's status", async () => {
  const id = await start(QUIET);
  // An engine of before 23 sets the first size once the command runs.
  const inner = `until [ "$(stty size)" = "40 100" ]; do sleep 0.1; done; stty size; while [ "$(stty size)" = "40 100" ]; do sleep 0.1; done; stty size; tty; exit 3`;
  const shell = `stty rows 40 cols 100; exec ${PROGRAM} session exec -it ${id} -- sh -c '${inner}'`;
  const child = spawn("script", ["-qec", shell, "/dev/null"], { env: { ...env(), SHELL: "/bin/sh" }, stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await until("the first size", () => said.includes("40 100"), { instead: () => said });
  const ours = descendants(child.pid ?? 0).find(({ program }) => program === "nearlight");
  assert.ok(ours);
  const pty = readlinkSync(`/proc/${ours.pid}/fd/0`);
  execFileSync("stty", ["-F", pty, "rows", "50", "cols", "120"]);
  await until("the end", () => child.exitCode !== null, { within_ms: 30_000, instead: () => said });
  assert.equal(child.exitCode, 3, said);
  assert.match(said, /40 100\r\n50 120\r\n\/dev\/pts\/\d+\r\n/);
});

rig.test("Ctrl-C goes to the command of a terminal, and this terminal is as it was", async () => {
  const id = await start(QUIET);
  const inner = `trap "echo caught; exit 5" INT; echo ready; while :; do sleep 0.1; done`;
  const shell = `${PROGRAM} session exec -it ${id} -- sh -c '${inner}'; echo status $?; stty -a | grep -o " -*icanon"`;
  const child = spawn("script", ["-qec", shell, "/dev/null"], { env: { ...env(), SHELL: "/bin/sh" }, stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await until("the command", () => said.includes("ready"), { instead: () => said });
  child.stdin.write("\x03");
  await until("the end", () => child.exitCode !== null, { within_ms: 30_000, instead: () => said });
  assert.match(said, /caught\r\nstatus 5\r\n icanon/);
});

rig.test("nothing of a command outlives its caller, its status or the agent", async () => {
  const id = await start(QUIET);
  const before = processes(id).length;
  const one = async (): Promise<void> => {
    const done = await nearlight(["session", "exec", id, "--", "sh", "-c", "setsid sleep 7777 >/dev/null 2>&1 & sleep 7778 >/dev/null 2>&1 & echo hi"]);
    assert.deepEqual([done.status, done.stdout], [0, "hi\n"], done.stderr);
  };
  for (let round = 0; round < 13; round++) await Promise.all(Array.from({ length: 8 }, one));
  await nothingOf(id, "sleep 777");
  assert.equal(processes(id).length, before);

  // A session of its own, no environment, no parent that lives: nothing is left to know it by but where it was born.
  const shed = async (n: number): Promise<void> => {
    const done = await nearlight(["session", "exec", id, "--", "sh", "-c", `(env -i setsid sleep 666${n} >/dev/null 2>&1 &); echo hi`]);
    assert.deepEqual([done.status, done.stdout], [0, "hi\n"], done.stderr);
  };
  for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 8 }, (_, n) => shed(n)));
  await nothingOf(id, "sleep 666");
  assert.equal(processes(id).length, before);

  const left = running(["session", "exec", id, "--", "sleep", "8888"]);
  await until("the command to run", () => processes(id).some((line) => line.includes("sleep 8888")), { instead: () => left.said });
  left.child.kill("SIGKILL");
  await nothingOf(id, "sleep 8888");

  const cut = running(["session", "exec", id, "--", "sh", "-c", "(env -i setsid sleep 6669 >/dev/null 2>&1 &); exec sleep 9999"]);
  await until("the command to run", () => processes(id).some((line) => line.includes("sleep 9999")), { instead: () => cut.said });
  signal(rig.stack.role("edge-node").pid, "SIGKILL");
  await nothingOf(id, "sleep 9999");
  await nothingOf(id, "sleep 6669");
  await until("its caller to be told", () => cut.child.exitCode !== null, { within_ms: 60_000 });
  assert.equal(cut.child.exitCode, 126, cut.said.err);
  assert.match(cut.said.err, /broke off/);
}, 300_000);

rig.test("a tree goes into a job and out again as it was", async () => {
  const id = await start(QUIET);
  const dir = mkdtempSync(join(tmpdir(), "nearlight-cp-"));
  try {
    const from = join(dir, "tree");
    mkdirSync(join(from, "deep/er"), { recursive: true });
    writeFileSync(join(from, "deep/er/large"), Buffer.alloc(5_000_000, 7));
    writeFileSync(join(from, "ümlaut and blank"), "text");
    writeFileSync(join(from, "n".repeat(200)), "");
    symlinkSync("er/large", join(from, "deep/link"));
    const into = await nearlight(["session", "cp", from, `${id}:/tmp/copy`]);
    assert.equal(into.status, 0, into.stderr);
    const out = await nearlight(["session", "cp", `${id}:/tmp/copy`, join(dir, "back")]);
    assert.equal(out.status, 0, out.stderr);
    assert.deepEqual(digests(join(dir, "back")), digests(from));
    const listed = await nearlight(["session", "exec", id, "--", "sh", "-c", "cat '/tmp/copy/ümlaut and blank'; stat -c %u /tmp/copy"]);
    assert.equal(listed.stdout, "text1000\n");

    // An archive on standard output and input.
    const archive = execFileSync(PROGRAM, ["session", "cp", `${id}:/tmp/copy/deep`, "-"], { env: env(), maxBuffer: 64 * 1024 * 1024 });
    assert.match(execFileSync("tar", ["-t"], { input: archive, encoding: "utf8" }), /deep\/er\/large/);
    mkdirSync(join(dir, "empty"));
    const piped = spawn(PROGRAM, ["session", "cp", "-", `${id}:/var/tmp`], { env: env(), stdio: ["pipe", "ignore", "inherit"] });
    piped.stdin.end(archive);
    await until("the archive to be in", () => piped.exitCode !== null);
    assert.equal(piped.exitCode, 0);
    const there = await nearlight(["session", "exec", id, "--", "wc", "-c", "/var/tmp/deep/er/large"]);
    assert.match(there.stdout, /^5000000 /);
  } finally {
    rmSync(dir, { recursive: true });
  }
  const details = (await audit(id)).map(({ action, detail }) => `${action} ${detail}`);
  assert.ok(details.some((of) => /^session-files-get \d+ bytes of \/tmp\/copy$/.test(of)), details.join("\n"));
  assert.ok(details.some((of) => /^session-files-put 5000004 bytes in \d+ entries into \/tmp\/copy$/.test(of)), details.join("\n"));
});

rig.test("no path of a job leads out of it", async () => {
  const id = await start(QUIET);
  const dir = mkdtempSync(join(tmpdir(), "nearlight-cp-"));
  writeFileSync(join(dir, "file"), "mine");
  const tricks = [
    "mkdir /tmp/t; cd /tmp/t",
    "ln -s /etc/hostname absolute; ln -s ../../../../etc/hostname up; ln -s /proc/1/root proc; ln -s / root",
    "ln -s /etc dir; mkfifo pipe; echo ok > plain",
  ].join("; ");
  try {
    await nearlight(["session", "exec", id, "--", "sh", "-c", tricks]);
    // Out: links that lead away are left out, a pipe holds nobody up.
    const tree = await nearlight(["session", "cp", `${id}:/tmp/t`, join(dir, "t")]);
    assert.equal(tree.status, 0, tree.stderr);
    assert.match(tree.stderr, /5 links lead out/);
    assert.deepEqual(readdirSync(join(dir, "t")), ["plain"]);
    // A link that is named is the job's own: its /etc, not this machine's.
    const named = await nearlight(["session", "cp", `${id}:/tmp/t/absolute`, join(dir, "hostname")]);
    assert.equal(named.status, 0, named.stderr);
    assert.equal(readFileSync(join(dir, "hostname"), "utf8").trim(), "job");
    for (const [path, words] of [
      ["/proc/1/environ", /kernel/],
      ["/proc", /kernel/],
      ["/sys/kernel", /kernel/],
      ["/dev/null", /kernel/],
      ["/tmp/t/proc/etc/shadow", /Permission denied|kernel|not found|No such/i],
      ["/etc/shadow", /Permission denied/],
      ["/tmp/t/pipe", /pipe/],
      ["/nowhere", /No such file/],
      ["relative", /absolute/],
    ] as const) {
      const refused = await nearlight(["session", "cp", `${id}:${path}`, join(dir, "x")]);
      assert.equal(refused.status, 4, `${path}: ${refused.stderr}`);
      assert.match(refused.stderr, words, path);
      assert.ok(!existsSync(join(dir, "x")), path);
    }
    // In: what the job cannot write, a copy cannot.
    for (const [path, words] of [
      ["/etc/x", /Read-only file system.*\/tmp/],
      ["/tmp/t/dir/x", /Read-only file system/],
      ["/tmp/t/root/x", /Read-only file system/],
      ["/proc/self/mem", /kernel/],
      ["/tmp/no/such/x", /No such file/],
    ] as const) {
      const refused = await nearlight(["session", "cp", join(dir, "file"), `${id}:${path}`]);
      assert.equal(refused.status, 4, `${path}: ${refused.stderr}`);
      assert.match(refused.stderr, words, path);
    }
    assert.ok(!existsSync("/etc/x") && !existsSync("/x"), "nothing on this machine");
    // An archive that was made by hand.
    const archive = (flags: string[]): Buffer => execFileSync("tar", ["-c", "-P", "-C", dir, ...flags]);
    symlinkSync("/tmp", join(dir, "away"));
    for (const [bytes, words] of [
      [archive(["--transform=s,file,../file,", "file"]), /leads out/],
      [archive(["--transform=s,file,/etc/file,", "file"]), /leads out/],
      [archive(["--transform=s,away,hard,", "--hard-dereference", "/dev/null"]), /device|leads out/],
      [Buffer.from("no archive".repeat(200)), /no tar archive/],
      [archive(["file"]).subarray(0, 700), /broke off/],
    ] as const) {
      const child = spawn(PROGRAM, ["session", "cp", "-", `${id}:/tmp`], { env: env(), stdio: ["pipe", "ignore", "pipe"] });
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      child.stdin.end(bytes);
      await until("the refusal", () => child.exitCode !== null);
      assert.equal(child.exitCode, 4, said);
      assert.match(said, words);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});

rig.test("what is inside of a job is its tenant's alone", async () => {
  const admin = rig.stack.operator;
  const tenant = async (name: string, scopes: string[] = []): Promise<Api> => {
    const made = await admin.request<{ id: string }>("POST", "/v1/tenants", { json: { name } });
    const key = await admin.request<{ secret: string }>("POST", "/v1/keys", { json: { name, role: "tenant", tenant: made.body.id, scopes } });
    assert.equal(key.status, 201, describe(key));
    return new Api(rig.stack.base, key.body.secret);
  };
  const owner = await tenant("owner");
  const id = await start(QUIET, owner);
  const ask = async (as: Api, session = id): Promise<number[]> => {
    const path = `/v1/sessions/${session}`;
    const all = [
      await as.request("GET", `${path}/logs`),
      await as.request("POST", `${path}/exec`, { json: { command: ["id"] } }),
      await as.request("GET", `${path}/files?path=/etc/hostname`),
      await as.request("PUT", `${path}/files?path=/tmp/x`, { headers: { "content-type": "application/x-tar" } }),
    ];
    return all.map(({ status }) => status);
  };
  assert.deepEqual((await ask(owner)).slice(0, 3), [200, 201, 200]);
  assert.deepEqual(await ask(await tenant("stranger")), [404, 404, 404, 404]);
  // Whoever runs the network reads its log, for that says why it failed; they do not go in.
  assert.deepEqual(await ask(admin), [200, 403, 403, 403]);
  assert.deepEqual(await ask(await tenant("reader", ["sessions:read", "sessions:write"]), id), [404, 403, 403, 403]);
  const denied = (await audit(id)).filter(({ outcome }) => outcome === "denied");
  assert.ok(denied.length >= 6, JSON.stringify(denied));
  // A ticket is for one session, once, and no page of another origin opens it.
  const ticket = async (): Promise<string> => {
    const made = await owner.request<{ ticket: string }>("POST", `/v1/sessions/${id}/exec`, { json: { command: ["id"] } });
    return made.body.ticket;
  };
  const open = async (of: string, origin?: string): Promise<number> => {
    const answer = await new Promise<number>((resolve, reject) => {
      void import("node:http").then(({ get }) => {
        const headers = {
          connection: "upgrade",
          upgrade: "websocket",
          "sec-websocket-version": "13",
          "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
          "sec-websocket-protocol": `nearlight.exec.v1, nearlight.ticket.${of}`,
          ...(origin === undefined ? {} : { origin }),
        };
        const request = get(`${rig.stack.base}/v1/sessions/${id}/exec`, { headers });
        request.on("response", (response) => resolve(response.statusCode ?? 0));
        request.on("upgrade", (response, socket) => {
          socket.destroy();
          resolve(response.statusCode ?? 0);
        });
        request.on("error", reject);
      });
    });
    return answer;
  };
  const good = await ticket();
  assert.equal(await open(good, "http://evil.example"), 403);
  assert.equal(await open(good), 101);
  assert.equal(await open(good), 401, "a second time");
  assert.equal(await open("guessed"), 401);
  const app = await admin.request<{ id: string }>("POST", "/v1/sessions", { json: { app: "calibrate" }, headers: { "idempotency-key": crypto.randomUUID() } });
  rig.stack.remember(app.body.id);
  assert.deepEqual(await ask(admin, app.body.id), [400, 400, 400, 400], "an app");
});
