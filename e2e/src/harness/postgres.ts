/** A PostgreSQL of the tests' own, for a ledger that can be killed. */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { ROOT } from "./places.js";

const SCRIPT = join(ROOT, "scripts/postgres.sh");

export class Postgres {
  private constructor(
    readonly dir: string,
    /** What a broker takes as its ledger. */
    readonly url: string,
  ) {}

  /** Starts a new one, in `dir` if that is given. */
  static start(dir?: string): Postgres {
    const [made, url] = execFileSync(SCRIPT, ["start", ...(dir === undefined ? [] : [dir])], { encoding: "utf8" }).split("\n");
    if (made === undefined || url === undefined) throw new Error("scripts/postgres.sh names no URL");
    return new Postgres(made, url);
  }

  /** kill -9, as a crash would. */
  kill(): void {
    execFileSync(SCRIPT, ["kill", this.dir], { stdio: "ignore" });
  }

  /** Starts it again on what it has. */
  again(): void {
    execFileSync(SCRIPT, ["start", this.dir], { stdio: "ignore" });
  }

  drop(): void {
    execFileSync(SCRIPT, ["drop", this.dir], { stdio: "ignore" });
  }
}
