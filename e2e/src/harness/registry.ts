/** A real registry on loopback, behind a gate that lets so many bytes of large layers through and no more. */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** An image of several hundred megabytes is compressed when it is pushed. */
const PUSH_WITHIN_MS = 120_000;
/** What is smaller passes as it comes: manifests, configurations, answers to questions. */
const LARGE_BYTES = 1024 * 1024;

function docker(...args: string[]): string {
  return execFileSync("docker", args, { encoding: "utf8", timeout: PUSH_WITHIN_MS, stdio: ["ignore", "pipe", "pipe"] }).trim();
}

export class Registry {
  private left = Infinity;
  private readonly waiting: (() => void)[] = [];
  private readonly made: string[] = [];

  private constructor(
    private readonly child: ChildProcess,
    private readonly dir: string,
    /** Where images are pushed. */
    private readonly at: string,
    private readonly gate: Server,
  ) {}

  static async start(): Promise<Registry> {
    const dir = mkdtempSync(join(tmpdir(), "nearlight-registry-"));
    const config = join(dir, "config.yml");
    const root = join(dir, "images");
    writeFileSync(config, `version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: ${root}\nhttp:\n  addr: 127.0.0.1:0\n`);
    const child = spawn("docker-registry", ["serve", config], { stdio: ["ignore", "ignore", "pipe"] });
    const at = await listening(child);
    const gate = createServer();
    const registry = new Registry(child, dir, at, gate);
    gate.on("request", (asked: IncomingMessage, answer: ServerResponse) => registry.pass(asked, answer));
    await new Promise<void>((resolve) => gate.listen(0, "127.0.0.1", resolve));
    return registry;
  }

  /** So many bytes of large layers come out from now on. */
  letThrough(bytes: number): void {
    this.left = bytes;
    for (const go of this.waiting.splice(0)) go();
  }

  /** Makes `base` with so many more bytes that nobody has, which is in the registry alone; its reference through the gate. */
  image(base: string, name: string, bytes: number): string {
    const ballast = join(this.dir, "ballast");
    writeFileSync(ballast, randomBytes(bytes), { mode: 0o644 });
    const pushed = `${this.at}/${name}:1`;
    // Never started; an image without a command of its own wants one here.
    const container = docker("create", base, "/bin/true");
    docker("cp", ballast, `${container}:/ballast`);
    docker("commit", container, pushed);
    docker("rm", container);
    docker("push", "--quiet", pushed);
    docker("rmi", pushed);
    const address = this.gate.address();
    if (address === null || typeof address === "string") throw new Error("the gate has no port");
    const image = `127.0.0.1:${address.port}/${name}:1`;
    this.made.push(image);
    return image;
  }

  stop(): void {
    this.letThrough(Infinity);
    for (const image of this.made) {
      if (isHere(image)) docker("rmi", "--force", image);
    }
    this.gate.close();
    this.gate.closeAllConnections();
    this.child.kill("SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }

  private pass(asked: IncomingMessage, answer: ServerResponse): void {
    const { method, url, headers } = asked;
    const onwards = request(`http://${this.at}${url ?? "/"}`, { method, headers }, (found) => {
      answer.writeHead(found.statusCode ?? 502, found.headers);
      if (Number(found.headers["content-length"]) < LARGE_BYTES || method === "HEAD") found.pipe(answer);
      else void this.drip(found, answer).catch(() => answer.destroy());
    });
    onwards.on("error", () => answer.destroy());
    answer.on("close", () => onwards.destroy());
    asked.pipe(onwards);
  }

  /** One piece after the other, as far as the gate is open. */
  private async drip(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const gone = new AbortController();
    to.on("close", () => gone.abort());
    for await (const chunk of from) {
      let rest = chunk as Buffer;
      while (rest.length > 0) {
        while (this.left <= 0) await new Promise<void>((go) => this.waiting.push(go));
        const piece = rest.subarray(0, Math.min(rest.length, this.left));
        this.left -= piece.length;
        rest = rest.subarray(piece.length);
        if (!to.write(piece)) await once(to, "drain", { signal: gone.signal });
      }
    }
    to.end();
  }
}

/** Whether the engine has an image. */
export function isHere(image: string): boolean {
  try {
    docker("image", "inspect", image);
    return true;
  } catch {
    return false;
  }
}

async function listening(child: ChildProcess): Promise<string> {
  if (!child.stderr) throw new Error("the registry has no log");
  const lines = createInterface({ input: child.stderr });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => reject(new Error("the registry exited")));
    // Read to the end: its log must go somewhere, or it stands still.
    lines.on("line", (line) => {
      const at = /listening on ([^"\s,]+)/.exec(line)?.[1];
      if (at !== undefined) resolve(at);
    });
  });
}
