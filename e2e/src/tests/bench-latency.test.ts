/** `nearlight bench latency`, a small run: every press is seen, the stages add up, the report is whole. No time is judged here. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Rig } from "../harness/rig.js";
import { BINARIES } from "../harness/stack.js";

const rig = Rig.forThisFile({ name: "bench-latency" });

const PRESSES = 10;
const STAGES = ["input", "render", "capture", "encode", "pace", "network", "decode", "present"] as const;
const SUBJECTS = ["floor", "immediate", "paced"] as const;

const bench = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  promisify(execFile)(join(BINARIES, "nearlight"), ["bench", "latency", ...args], { timeout: 150_000 });

/** The lines of a CSV file, each as its cells by their names. */
function rowsOf(path: string): Record<string, string>[] {
  const [head = "", ...lines] = readFileSync(path, "utf8").trimEnd().split("\n");
  const names = head.split(",");
  return lines.map((line) => {
    const cells = line.split(",");
    assert.equal(cells.length, names.length, line);
    return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? ""]));
  });
}

const number = (row: Record<string, string>, name: string): number => {
  assert.notEqual(row[name] ?? "", "", `${name} is missing in ${JSON.stringify(row)}`);
  return Number(row[name]);
};

rig.test("every press is seen once, and its stages add up", async () => {
  const out = mkdtempSync(join(tmpdir(), "nearlight-latency-"));
  try {
    const { stdout } = await bench("--url", rig.stack.base, "--sessions", "1", "--presses", String(PRESSES), "--out", out);
    const rows = rowsOf(join(out, "presses.csv"));
    for (const subject of SUBJECTS) {
      const own = rows.filter((row) => row["subject"] === subject);
      assert.equal(own.length, PRESSES, `${subject}: presses seen`);
      assert.equal(new Set(own.map((row) => row["press_ms"])).size, PRESSES, `${subject}: presses of their own`);
      for (const row of own) assert.ok(number(row, "picture_ms") > number(row, "press_ms"), JSON.stringify(row));
    }
    const answered = rows.filter((row) => (row["ledger_ms"] ?? "") !== "");
    assert.ok(answered.some((row) => row["subject"] === "immediate") && answered.some((row) => row["subject"] === "paced"));
    assert.ok(answered.every((row) => row["subject"] !== "floor"));
    for (const row of answered) {
      const sum = STAGES.reduce((total, stage) => total + number(row, `${stage}_ms`), 0);
      // A stage between the clocks that would come out negative is 0: one for each way over the line.
      const error_ms = 2 * number(row, "clock_error_ms") + 0.1;
      assert.ok(Math.abs(sum - number(row, "ledger_ms")) <= error_ms, JSON.stringify({ sum, ...row }));
    }
    const report = JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as Record<string, number | string>;
    assert.equal(report["stream.presses_seen"], SUBJECTS.length * PRESSES);
    assert.equal(report["stream.presses_unseen"], 0);
    for (const name of ["stream.floor_ms_p50", "stream.m2p_over_floor_p99", "stream.m2p_paced_minus_floor_p50_ms", "stream.first_frame_s"]) {
      assert.equal(typeof report[name], "number", name);
      assert.ok(stdout.includes(name), `${name} is not printed`);
    }
    assert.match(String(report["machine.browser"]), /Chrom/);
    assert.match(String(report["machine.stream"]), /^\S+ \d+x\d+$/);
    const page = readFileSync(join(out, "report.html"), "utf8");
    assert.equal(page.match(/<svg/g)?.length, 3);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});

rig.test("what cannot be measured says what to do", async () => {
  const out = mkdtempSync(join(tmpdir(), "nearlight-latency-"));
  const refusal = async (...args: string[]): Promise<string> => {
    try {
      await bench("--sessions", "1", "--presses", "1", "--mode", "immediate", "--out", out, ...args);
    } catch (error) {
      return (error as { stderr: string }).stderr;
    }
    throw new Error(`bench latency ${args.join(" ")} measured something`);
  };
  try {
    const { base } = rig.stack;
    assert.match(await refusal("--url", base, "--browser", "/nonexistent/chromium"), /--browser/);
    assert.match(await refusal("--url", base, "--app", "image-missing"), /scripts\/images\.sh docker image-missing/);
    // Port 9 is discard, and nobody serves http there.
    assert.match(await refusal("--url", "http://127.0.0.1:9"), /nearlight up/);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
