/**
 * `npm run record -- --scene game --seed 1`: frames of a calibrate session, as raw BGRx files of 1280
 * by 720, for programs that measure an encoder. Prints the directory that they are in.
 */

import { join } from "node:path";
import { record } from "./bench/encoder.js";

const recording = await record(["--mode", "paced", ...process.argv.slice(2)]);
console.log(join(recording, "frames"));
