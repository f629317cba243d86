/**
 * Starts the catalogue's embeddings job, runs commands in it, copies files, and ends it.
 * NEARLIGHT_URL and NEARLIGHT_TOKEN, or `nearlight login`, say where: `node dist/examples/exec.js JOB.TOML`; Node.js 20 wants
 * `--experimental-websocket` before that.
 */

import { ProblemError } from "nearlight";
import { connect, readJob } from "nearlight/node";

const job = readJob(process.argv[2] ?? "../../configs/jobs/embeddings/job.toml");
const session = await connect().sessions.start({ job, onProgress: (at) => console.error(at.id, at.phase) });
const words = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim().split(/\s+/).join(" ");
try {
  const sorted = await session.exec(["sh", "-c", "sort; echo sorted >&2; exit 3"], { stdin: "pear\napple\n" });
  console.log("exec", sorted.status, words(sorted.stdout), words(sorted.stderr));
  // As it comes, however much it is.
  let size = 0;
  const onOutput = (_stream: string, bytes: Uint8Array): number => (size += bytes.length);
  const { status } = await session.exec(["head", "-c", "33554432", "/dev/zero"], { onOutput });
  console.log("exec", status, size, "bytes");
  const terminal = await session.exec(["sh", "-c", "test -t 1 && echo a terminal"], { tty: true, size: { cols: 100, rows: 30 } });
  console.log("exec", terminal.status, words(terminal.stdout));
  await session.exec(["sh", "-c", "mkdir /tmp/out && head -c 5000000 /dev/urandom > /tmp/out/a"]);
  await session.putFiles("/tmp/in", await new Response(await session.getFiles("/tmp/out")).blob());
  console.log("exec", (await session.exec(["cmp", "/tmp/out/a", "/tmp/in/a"])).status, "copied");
  await session.exec([""]).catch((error: unknown) => {
    if (!(error instanceof ProblemError)) throw error;
    console.log("refused", error.problemName, error.problem.detail);
  });
} finally {
  await session.end();
}
