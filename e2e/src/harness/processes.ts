/** Processes of this machine, read from /proc. Nothing is ever ended by name: only by pid. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface Process {
  pid: number;
  parent: number;
  /** Base name of the executable, or of argv[0] where the executable cannot be read. */
  program: string;
  args: string[];
}

/** Every process that can be read. */
export function processes(): Process[] {
  const found: Process[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const process = readProcess(Number(name));
    if (process) found.push(process);
  }
  return found;
}

/** The process, unless it is gone or a zombie. */
export function readProcess(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (fields[0] === "Z" || fields[0] === "X") return undefined;
    const args = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    return { pid, parent: Number(fields[1]), program: programOf(pid, args), args };
  } catch {
    return undefined;
  }
}

function programOf(pid: number, args: string[]): string {
  const base = (path: string) => path.slice(path.lastIndexOf("/") + 1).replace(/ \(deleted\)$/, "");
  try {
    return base(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return base(args[0] ?? "");
  }
}

export function isAlive(pid: number): boolean {
  return readProcess(pid) !== undefined;
}

/** Children, their children, and so on. */
export function descendants(ancestor: number): Process[] {
  const all = processes();
  const found: Process[] = [];
  const parents = new Set([ancestor]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const process of all) {
      if (parents.has(process.parent) && !parents.has(process.pid)) {
        parents.add(process.pid);
        found.push(process);
        grew = true;
      }
    }
  }
  return found;
}

/** CPU time that the process (all its threads) has used, seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const CLOCK_TICKS_PER_SECOND = 100;
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

/** Resident memory, bytes. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(line?.[1] ?? 0) * 1024;
}

/** Open file descriptors. */
export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Sends `signal`; a process that is gone already is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
