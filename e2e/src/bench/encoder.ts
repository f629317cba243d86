/**
 * The bare encoder: what a frame costs with no session around it. The frames are a session's: a
 * session worker records what calibrate commits, then the same program converts and encodes them at
 * the display's rate with the encoder, bit rate and threads of a session.
 */

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { signal } from "../harness/processes.js";
import { BINARIES } from "../harness/stack.js";
import { until } from "../harness/until.js";
import type { Spread } from "./quantiles.js";

const WORKER = join(BINARIES, "edge-worker");
const RECORDED_FRAMES = 120;
const MEASURED_FRAMES = 1_200;
/** As configs/edge-node.toml has them. */
const KBPS = "8000";
const THREADS = String(Math.max(1, Math.min(cpus().length, 4)));
const DISPLAY = ["--width", "1280", "--height", "720", "--hz", "60"];

/** Frames of a calibrate session in a directory of their own. */
export async function record(calibrateArgs: readonly string[]): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "nlb-"));
  const frames = join(dir, "frames");
  mkdirSync(join(dir, "desk/app"), { recursive: true });
  mkdirSync(frames);
  const session = `ses_${"0".repeat(26)}`;
  const worker = spawn(
    WORKER,
    ["--session", session, "--dir", join(dir, "desk"), ...DISPLAY, "--kbps", KBPS, "--threads", THREADS, "--record-frames", frames, "--record-count", String(RECORDED_FRAMES)],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const started = [worker.pid];
  let agent: Socket | undefined;
  try {
    agent = await until("the worker's socket", () => attach(join(dir, "desk/agent.sock")));
    const app = spawn(join(BINARIES, "calibrate"), calibrateArgs, {
      stdio: "ignore",
      env: {
        ...process.env,
        WAYLAND_DISPLAY: join(dir, "desk/app/wayland-0"),
        PULSE_SERVER: `unix:${join(dir, "desk/app/pulse")}`,
        XDG_RUNTIME_DIR: dir,
      },
    });
    started.push(app.pid);
    await until(`${RECORDED_FRAMES} recorded frames`, () => readdirSync(frames).length >= RECORDED_FRAMES, {
      instead: () => readdirSync(frames).length,
    });
  } finally {
    agent?.destroy();
    for (const pid of started) if (pid !== undefined) signal(pid, "SIGKILL");
  }
  return dir;
}

/** Connects as an agent does and asks for H.264 (core/protocol/src/worker.rs); what comes is thrown away. */
function attach(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      const json = Buffer.from(JSON.stringify({ codec: "H264", target: { kbps: Number(KBPS), scale_percent: 100, fps_max: 240 } }));
      const head = Buffer.alloc(5);
      head.writeUInt32LE(json.length + 1);
      head.writeUInt8(0x01, 4);
      socket.write(Buffer.concat([head, json]));
      socket.resume();
      resolve(socket);
    });
    socket.on("error", () => resolve(undefined));
  });
}

/** Milliseconds per frame, from its pixels to its access unit, and the CPU that it takes, percent of a core. */
export function measure(recording: string): Spread & { cpu_percent: number } {
  const out = execFileSync(
    WORKER,
    ["--bench-encoder", join(recording, "frames"), ...DISPLAY, "--kbps", KBPS, "--threads", THREADS, "--frames", String(MEASURED_FRAMES), "--json"],
    { encoding: "utf8", timeout: 120_000, stdio: ["ignore", "pipe", "inherit"] },
  );
  const { total, frames, cpu_percent } = JSON.parse(out) as { total: Record<"p50" | "p90" | "p99", number>; frames: number; cpu_percent: number };
  return { p50: total.p50 / 1000, p90: total.p90 / 1000, p99: total.p99 / 1000, count: frames, cpu_percent };
}

export function forget(recording: string): void {
  rmSync(recording, { recursive: true, force: true });
}
