/**
 * The report of a benchmark: a flat map from metric name to number, each name explained in docs/performance.md, which
 * also has the aims.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../harness/places.js";
import { aimsOf, isMet, text, type Aim } from "./aims.js";
import type { Spread } from "./quantiles.js";

const FILE = join(ROOT, "target/bench/report.json");
const PAGE = join(ROOT, "docs/performance.md");

export class Report {
  private readonly numbers = new Map<string, number>();

  constructor(private readonly aims: ReadonlyMap<string, Aim | undefined> = aimsOf(readFileSync(PAGE, "utf8"))) {}

  /** Adds one number. A name that docs/performance.md does not explain is an error. */
  add(name: string, value: number): void {
    if (!this.aims.has(name)) throw new Error(`docs/performance.md does not explain ${name}`);
    if (!Number.isFinite(value)) throw new Error(`${name} is ${value}`);
    this.numbers.set(name, Math.round(value * 1000) / 1000);
  }

  /** Adds the three quantiles as `<name>_p50`, `<name>_p90` and `<name>_p99`. */
  addSpread(name: string, { p50, p90, p99 }: Spread): void {
    this.add(`${name}_p50`, p50);
    this.add(`${name}_p90`, p90);
    this.add(`${name}_p99`, p99);
  }

  /** A line a figure: its number, its aim where it has one, and whether that is met. */
  lines(): string[] {
    const width = Math.max(...[...this.numbers.keys()].map((name) => name.length));
    return [...this.numbers].map(([name, value]) => {
      const aim = this.aims.get(name);
      const judged = aim ? `  ${text(aim).padEnd(9)}  ${isMet(aim, value) ? "met" : "MISSED"}` : "";
      return `${name.padEnd(width)}  ${value.toFixed(3).padStart(12)}${judged}`;
    });
  }

  /** The figures that miss their aims. What was not measured misses none. */
  missed(): string[] {
    return [...this.numbers].filter(([name, value]) => {
      const aim = this.aims.get(name);
      return aim !== undefined && !isMet(aim, value);
    }).map(([name]) => name);
  }

  /** The end of a suite: prints and writes all. A missed aim is the process's failure, unless AIMS=report asks for the report alone. */
  finish(): void {
    console.log(this.lines().join("\n"));
    console.log(this.write());
    const missed = this.missed();
    if (missed.length === 0) return;
    console.log(`missed: ${missed.join(", ")}`);
    if (process.env["AIMS"] !== "report") process.exitCode = 1;
  }

  /** Writes target/bench/report.json. Numbers of other suites that are there already stay. */
  write(): string {
    let before: Record<string, number> = {};
    try {
      before = JSON.parse(readFileSync(FILE, "utf8")) as Record<string, number>;
    } catch {
      // The first suite to report.
    }
    const suites = new Set([...this.numbers.keys()].map(suiteOf));
    const others = Object.entries(before).filter(([name]) => !suites.has(suiteOf(name)));
    mkdirSync(join(ROOT, "target/bench"), { recursive: true });
    writeFileSync(FILE, `${JSON.stringify(Object.fromEntries([...others, ...this.numbers]), null, 2)}\n`);
    return FILE;
  }
}

function suiteOf(name: string): string {
  return name.slice(0, name.indexOf("."));
}
