/** Twenty jobs come and go while roles are killed; `make soak SUITE=jobs` has five hundred. */

import { jobCycle, planned } from "../harness/job-soaking.js";
import { Random } from "../harness/random.js";
import { Rig } from "../harness/rig.js";

const CYCLES = 20;

const rig = Rig.forThisFile({ name: "job-cycles", runtime: "docker" });

rig.test("jobs that come and go while broker and agent are killed leave nothing behind", async () => {
  const random = new Random(Date.now() % 2 ** 32);
  console.log(`seed ${random.seed}`);
  for (let done = 0; done < CYCLES; done++) await jobCycle(rig.stack, planned(random));
}, 900_000);
