/**
 * `make soak SUITE=jobs`: SOAK_CYCLES (default 500) jobs of seeded kinds come and go while broker, agent and, beside
 * an engine of their own (scripts/engine.sh), dockerd are killed with -9 at seeded moments, from SOAK_SEED (default: the
 * time; it is printed, and repeats the run). After each nothing of it is left, and after all of them the volumes that
 * they shared go without a trace, every notice was sent, and the roles hold no more than after the first ten.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rows } from "./harness/job-soak-left.js";
import { Notices } from "./harness/job-soak-notices.js";
import { planned } from "./harness/job-soak-plan.js";
import { Shelf } from "./harness/job-soak-volumes.js";
import { add, jobCycle, type Books } from "./harness/job-soaking.js";
import { Random } from "./harness/random.js";
import { holdings, holdNoMoreThan } from "./harness/soaking.js";
import { Stack } from "./harness/stack.js";

/** Budgets take amounts, and amounts a rate card. */
const CARD = `currency = "EUR"\n[[card]]\nvalid_from = 2026-01-01T00:00:00Z\nslot = 1\ncpu_core = 1\nmem_gib = 1\ngpu_other = 1\n`;

const cycles = Number(process.env["SOAK_CYCLES"] || 500);
const random = new Random(Number(process.env["SOAK_SEED"] || Date.now() % 2 ** 32));
console.log(`seed ${random.seed}: repeat with SOAK_SEED=${random.seed}`);
const dir = mkdtempSync(join(tmpdir(), "nearlight-rates-"));
const rates = join(dir, "rates.toml");
writeFileSync(rates, CARD);
const config = ["[session-broker]", 'webhook_networks = ["127.0.0.0/8"]', "[session-broker.rates]", `file = "${rates}"`];
const stack = await Stack.up({ name: "soak-jobs", runtime: "docker", config });
let notices: Notices | undefined;
try {
  notices = await Notices.listen(stack);
  const books: Books = { shelf: new Shelf(), notices, ids: [], ready: [], uses: new Map(), spent: new Map(), engineIsShaken: false };
  const [ends, kills] = [new Map<string, number>(), new Map<string, number>()];
  const said = (of: Map<string, number>): string => [...of].map(([what, count]) => `${count} ${what}`).join(", ") || "none";
  let first: ReturnType<typeof holdings> | undefined;
  for (let done = 1; done <= cycles; done++) {
    const cycle = planned(random);
    add(ends, await jobCycle(stack, cycle, books));
    for (const { role } of cycle.strikes) add(kills, role);
    if (done === 10) first = holdings(stack);
    if (done % 10 > 0 && done < cycles) continue;
    const seconds = [...books.spent].map(([what, ms]) => `${what} ${(ms / 1000 / done).toFixed(2)}`).join(", ");
    console.log(`${done} cycles; kills: ${said(kills)}; ends: ${said(ends)}; uses: ${said(books.uses)}; seconds a cycle until ${seconds}`);
  }
  await notices.complete(stack, books.ids);
  assert.deepEqual(rows(stack, "unbilled", ...books.ready), [], "each job that was ready is billed for");
  console.log(`${rows(stack, "counts").join("")}; ${books.shelf.count}`);
  await books.shelf.clear(stack);
  if (first) await holdNoMoreThan(stack, first);
  console.log(`${cycles} cycles, nothing left behind`);
} catch (error) {
  console.error(`seed ${random.seed}\n${stack.logTail()}`);
  throw error;
} finally {
  notices?.close();
  await stack.down();
  rmSync(dir, { recursive: true });
}
