/** The volumes of the soak of jobs: what has to be on each, and that nothing is left of them once they are deleted. */

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe } from "./api.js";
import { held, rows } from "./job-soak-left.js";
import { BACK_MS, kill, patient } from "./job-soak-strikes.js";
import type { Stack } from "./stack.js";
import { until } from "./until.js";

interface Volume {
  id: string;
  name: string;
  state: string;
}

export class Shelf {
  /** By volume: ids of jobs that have written to it, and those that may have. */
  private readonly written = new Map<string, Set<string>>();
  private readonly tried = new Map<string, Set<string>>();

  /** A job is about to write; a kill may keep anybody from knowing whether it has. */
  writes(volume: string, id: string): void {
    this.tried.set(volume, new Set([...(this.tried.get(volume) ?? []), id]));
  }

  /** What a job has found, its own line included. */
  found(volume: string, id: string, lines: string[]): void {
    const [now, tried] = [new Set(lines), this.tried.get(volume) ?? new Set()];
    const before = [...(this.written.get(volume) ?? [])];
    assert.deepEqual(before.filter((line) => !now.has(line)), [], `${volume} has lost lines before ${id}`);
    assert.deepEqual(lines.filter((line) => !tried.has(line)), [], `${volume} has lines of nobody in ${id}`);
    assert.ok(now.has(id), `${volume} has not what ${id} wrote`);
    this.written.set(volume, now);
  }

  /** How many jobs have written to how many volumes. */
  get count(): string {
    const jobs = [...this.written.values()].reduce((sum, ids) => sum + ids.size, 0);
    return `${jobs} jobs wrote to ${this.written.size} volumes`;
  }

  /** Deletes all, with the agent killed in between: then nothing is left of them. */
  async clear(stack: Stack): Promise<void> {
    const list = async (): Promise<Volume[]> => (await patient<{ volumes: Volume[] }>(stack, "GET", "/v1/volumes")).body.volumes;
    const all = await list();
    const names = all.map(({ name }) => name);
    assert.deepEqual([...this.written.keys()].filter((name) => !names.includes(name)), [], "every volume that was written to is listed");
    for (const { id, name, state } of all) {
      assert.ok(state === "ready" || !this.written.has(name), `${name} is ${state}`);
      const reply = await patient(stack, "DELETE", `/v1/volumes/${id}`);
      assert.equal(reply.status, 202, describe(reply));
    }
    await kill(stack, "edge-node");
    await until("no volume to be listed", async () => (await list()).length === 0, { within_ms: BACK_MS, instead: list });
    const left = (): string[] => [
      ...readdirSync(join(stack.data, "edge/volumes")).map((file) => `file ${file}`),
      ...held(stack),
      ...rows(stack, "volumes"),
    ];
    if (all.length > 0) await until("nothing to be left of volumes", () => left().length === 0, { within_ms: BACK_MS, instead: left });
  }
}
