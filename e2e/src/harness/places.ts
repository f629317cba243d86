/** Where things are. */

import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root: this file runs as e2e/build/e2e/src/harness/places.js. */
export const ROOT = resolve(fileURLToPath(import.meta.url), "../../../../../..");
/** Screenshots and logs. */
export const ARTEFACTS = join(ROOT, "target/e2e");
export const BINARIES =
  process.env["NEARLIGHT_BIN_DIR"] ?? join(process.env["CARGO_TARGET_DIR"] ?? join(ROOT, "target"), "release");
