/**
 * Test files, each in a process of its own, and what failed in them. Never rejects: what goes wrong with a file's
 * run is a failure of the file.
 */

import { basename } from "node:path";
import { finished } from "node:stream/promises";
import { run } from "node:test";
import { tap } from "node:test/reporters";

/** One test that failed, or a whole file. */
export interface Failure {
  file: string;
  name: string;
  why: string;
}

/**
 * What failed in a file. Its report goes to `out`. A test that is over its time is not ended by that, and goes on for as
 * long as anything of it does; a file that has not ended after `within_ms` is.
 */
export async function failures(path: string, out: NodeJS.WritableStream, within_ms: number): Promise<Failure[]> {
  const file = basename(path);
  const found: Failure[] = [];
  const fails = (name: string, error: unknown): void => {
    const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
    found.push({ file, name, why });
  };
  try {
    const events = run({ files: [path], concurrency: 1, signal: AbortSignal.timeout(within_ms) });
    events.on("test:fail", ({ name, details }) => {
      fails(name, details.error.cause ?? details.error.message);
    });
    const report = events.compose(tap);
    report.pipe(out, { end: false });
    await finished(report);
  } catch (error) {
    fails("the run of the file", error);
  }
  return found;
}
