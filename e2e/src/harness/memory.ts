/** What a process has in memory, read from /proc. */

import { closeSync, openSync, readFileSync, readSync } from "node:fs";

const CHUNK = 1 << 20;

/** Whether `text` stands anywhere in what the process may write: heap, stacks, anonymous and shared maps. */
export function hasInMemory(pid: number, text: string): boolean {
  const wanted = Buffer.from(text);
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    const maps = readFileSync(`/proc/${pid}/maps`, "utf8").split("\n");
    const writable = maps.map((line) => /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line)).filter((found) => found !== null);
    return writable.some(([, from, to]) => mapHas(memory, parseInt(from ?? "", 16), parseInt(to ?? "", 16), wanted));
  } finally {
    closeSync(memory);
  }
}

function mapHas(memory: number, from: number, to: number, wanted: Buffer): boolean {
  // A piece begins with the end of the one before: what lies across the border is found, too.
  const piece = Buffer.alloc(CHUNK + wanted.length);
  for (let at = from; at < to; at += CHUNK) {
    let read: number;
    try {
      read = readSync(memory, piece, 0, Math.min(piece.length, to - at), at);
    } catch {
      continue; // A page that nothing is behind, such as a device's.
    }
    if (piece.subarray(0, read).includes(wanted)) return true;
  }
  return false;
}
