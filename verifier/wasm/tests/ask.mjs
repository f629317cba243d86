// Asks the module what stands on each line of standard input, as a page does. Prints an answer a line.
// `node ask.mjs MODULE [--time N]`: with N it asks the first line N times, and prints the microseconds of one.
import { readFileSync, writeSync } from "node:fs";

const [path, , rounds] = process.argv.slice(2);
const { instance } = await WebAssembly.instantiate(readFileSync(path));
const { memory, verify_room, verify_asked, verify_answer } = instance.exports;

function ask(question) {
  const at = verify_room(question.length);
  new Uint8Array(memory.buffer, at, question.length).set(question);
  const length = verify_asked();
  return Buffer.from(memory.buffer, verify_answer(), length);
}

const lines = readFileSync(0, "utf8").split("\n").filter((line) => line !== "");
if (rounds === undefined) {
  for (const line of lines) writeSync(1, `${ask(Buffer.from(line)).toString("utf8")}\n`);
} else {
  const question = Buffer.from(lines[0]);
  const times = [];
  for (let round = 0; round < Number(rounds); round++) {
    const before = process.hrtime.bigint();
    ask(question);
    times.push(Number(process.hrtime.bigint() - before) / 1000);
  }
  times.sort((a, b) => a - b);
  writeSync(1, `${JSON.stringify({ us: times[times.length >> 1], outcome: JSON.parse(ask(question)).report.outcome })}\n`);
}
