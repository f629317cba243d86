/**
 * `make soak SUITE=jobs`: SOAK_CYCLES (default 500) jobs of seeded kinds come and go while broker, agent and, beside
 * an engine of their own (scripts/engine.sh), dockerd are killed with -9 at seeded moments, from SOAK_SEED (default: the time; it is printed, and repeats the run). After each
 * nothing of it is left, and after all of them the roles hold no more than after the first ten.
 */

import { jobCycle, planned } from "./harness/job-soaking.js";
import { Random } from "./harness/random.js";
import { holdings, holdNoMoreThan } from "./harness/soaking.js";
import { Stack } from "./harness/stack.js";

const cycles = Number(process.env["SOAK_CYCLES"] || 500);
const random = new Random(Number(process.env["SOAK_SEED"] || Date.now() % 2 ** 32));
console.log(`seed ${random.seed}: repeat with SOAK_SEED=${random.seed}`);
const stack = await Stack.up({ name: "soak-jobs", runtime: "docker" });
try {
  const ends = new Map<string, number>();
  let strikes = 0;
  let first: ReturnType<typeof holdings> | undefined;
  for (let done = 1; done <= cycles; done++) {
    const cycle = planned(random);
    const reason = await jobCycle(stack, cycle);
    ends.set(reason, (ends.get(reason) ?? 0) + 1);
    strikes += cycle.strikes.length;
    if (done === 10) first = holdings(stack);
    if (done % 10 === 0) console.log(`${done} cycles, ${strikes} kills, ends ${JSON.stringify(Object.fromEntries(ends))}`);
  }
  if (first) await holdNoMoreThan(stack, first);
  console.log(`${cycles} cycles, ${strikes} kills, nothing left behind`);
} catch (error) {
  console.error(`seed ${random.seed}\n${stack.logTail()}`);
  throw error;
} finally {
  await stack.down();
}
