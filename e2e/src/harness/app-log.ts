/** What an app of the sandbox writes to its log, which is gone from the disk with its session. */

import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";

export class AppLog {
  private constructor(private readonly file: number) {}

  /** The log of a session that runs; nothing if there is none, or not yet. */
  static of(session: string): AppLog | undefined {
    const runs = readdirSync("/run").filter((name) => name.startsWith("nearlight-"));
    const path = runs.map((name) => `/run/${name}/${session}/app.log`).find((one) => existsSync(one));
    return path === undefined ? undefined : new AppLog(openSync(path, "r"));
  }

  /** All of it, also when the session is over; and closes it. */
  take(): string {
    try {
      return readFileSync(this.file, "utf8");
    } finally {
      closeSync(this.file);
    }
  }
}
