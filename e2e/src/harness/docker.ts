/** The Docker engine as its command line shows it. */

import { execFileSync } from "node:child_process";

const DEADLINE_MS = 30_000;

function docker(...args: string[]): string {
  return execFileSync("docker", args, { encoding: "utf8", timeout: DEADLINE_MS, stdio: ["ignore", "pipe", "pipe"] }).trim();
}

/** Ids of the containers, running or not, that carry all of these labels. */
export function containersWith(...labels: string[]): string[] {
  const filters = labels.flatMap((label) => ["--filter", `label=${label}`]);
  return docker("ps", "--all", "--quiet", "--no-trunc", ...filters).split("\n").filter(Boolean);
}

/** The container's state and settings, or nothing once it is removed. */
export function inspect(container: string): ContainerState | undefined {
  try {
    return (JSON.parse(docker("inspect", container)) as ContainerState[])[0];
  } catch {
    return undefined;
  }
}

/** Its address on its network. */
export function addressOf(container: string): string {
  return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", container);
}

/** What an image takes of a disk, bytes. */
export function imageBytes(image: string): number {
  return Number(docker("image", "inspect", "--format", "{{.Size}}", image));
}

export interface ContainerState {
  Id: string;
  State: { Running: boolean; Pid: number };
  Config: { User: string; Labels: Record<string, string>; Image: string };
  HostConfig: {
    CapDrop: string[] | null;
    CapAdd: string[] | null;
    NetworkMode: string;
    Privileged: boolean;
    ReadonlyRootfs: boolean;
    SecurityOpt: string[] | null;
    Memory: number;
    NanoCpus: number;
    PidsLimit: number | null;
  };
}

export function killContainer(container: string, signal: string): void {
  docker("kill", "--signal", signal, container);
}
