/** A second edge node of a stack, as an operator adds one: it joins with a token and dials by itself. */

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { ARTEFACTS, BINARIES } from "./places.js";
import { freeTcpPort, freeUdpPort } from "./ports.js";
import { signal } from "./processes.js";
import type { Stack } from "./stack.js";
import { Hopeless, until } from "./until.js";

const READY_WITHIN_MS = 120_000;
const DOWN_WITHIN_MS = 60_000;

export interface SecondNodeOptions {
  /** Its name and its region. */
  name: string;
  region: string;
  /** More of its configuration, TOML. */
  config?: string[];
  /** It runs in a container of this image, as docs/gpu.md says. */
  image?: string;
}

export class SecondNode {
  private child: ChildProcess;
  private said = "";

  private constructor(
    private readonly stack: Stack,
    private readonly name: string,
    private readonly data: string,
    private readonly command: readonly string[],
    public id = "",
  ) {
    this.child = this.start();
  }

  /** Joins, starts, and waits until the broker shows it online. */
  static async join(stack: Stack, { name, region, config = [], image }: SecondNodeOptions): Promise<SecondNode> {
    const made = await stack.operator.request<{ token: string }>("POST", "/v1/join-tokens", { json: { name, region } });
    if (made.status !== 201) throw new Error(`no join token: ${JSON.stringify(made.body)}`);
    const data = mkdtempSync(join(tmpdir(), "nearlight-second-"));
    execFileSync(join(BINARIES, "nearlight"), ["node", "join", "--data", data], {
      env: { ...process.env, NEARLIGHT_TOKEN: made.body.token },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const file = join(data, "edge-node.toml");
    const slots = ["[slots]", "count = 2", "cpu_milli = 8000", "mem_mib = 8192"];
    writeFileSync(file, `${readFileSync(file, "utf8")}\n${[...slots, ...config].join("\n")}\n`);
    const [rtcPort, adminPort] = [await freeUdpPort(), await freeTcpPort()];
    const args = ["--config", file, "--data", join(data, "edge"), "--pki", join(data, "pki"), "--rtc-port", String(rtcPort), "--admin", `127.0.0.1:${adminPort}`];
    const command = image === undefined ? [join(BINARIES, "edge-node"), ...args] : boxed(image, data, args);
    const node = new SecondNode(stack, name, data, command);
    await node.online();
    return node;
  }

  private start(): ChildProcess {
    const [program = "", ...args] = this.command;
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    child.stderr?.pipe(createWriteStream(join(ARTEFACTS, `${this.stack.options.name}-${this.name}.log`), { flags: "a" }));
    this.said = "";
    child.stdout?.on("data", (chunk: Buffer) => (this.said += chunk.toString()));
    return child;
  }

  private async online(): Promise<void> {
    const { name, stack } = this;
    this.id = await until(
      `the node ${name} to be ready`,
      () => {
        if (this.child.exitCode !== null) throw new Hopeless(`edge-node exited with ${this.child.exitCode}`);
        return /"node":"(nod_[0-9a-z]+)"/.exec(this.said)?.[1];
      },
      { within_ms: READY_WITHIN_MS },
    );
    await until(`the node ${name} to be online`, async () => (await stack.operator.nodes()).some(({ id, status }) => id === this.id && status === "online"));
  }

  /** Its agent dies; what it runs goes on, and nobody starts it again. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  /** After it was killed. */
  async startAgain(): Promise<void> {
    this.child = this.start();
    await this.online();
  }

  /** Ends it as a service manager does. */
  async down(): Promise<void> {
    await this.end("SIGTERM");
    for (const path of [this.data, join("/run", basename(this.data))]) rmSync(path, { recursive: true, force: true });
  }

  private async end(by: "SIGKILL" | "SIGTERM"): Promise<void> {
    const over = (): boolean => this.child.exitCode !== null || this.child.signalCode !== null;
    if (this.child.pid !== undefined && !over()) signal(this.child.pid, by);
    await until("the second node to exit", over, { within_ms: DOWN_WITHIN_MS });
  }
}

/** How a node is started in a container. Its paths are the host's: what it starts is beside it, in the host's engine. */
function boxed(image: string, data: string, args: string[]): string[] {
  // Workers are users of their own, who may not enter what was made for this test alone.
  const run = join("/run", basename(data));
  const mounts = ["/var/run/docker.sock", data, run].flatMap((path) => ["-v", `${path}:${path}`]);
  return ["docker", "run", "--rm", "--network", "host", "--pid", "host", "--cgroupns", "host", ...mounts, image, "--run", run, ...args];
}
