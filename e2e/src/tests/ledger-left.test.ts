/**
 * What the soak of jobs asks a ledger, against ledgers made by hand from the broker's own migrations: one of a job that
 * is over has nothing left, and each row that is astray is found.
 */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "../harness/places.js";

const SESSION = `INSERT INTO session (session_id, user_id, app_id, app_digest, display_width, display_height, display_hz, keyboard_layout,
  created_ms, phase, since_ms, reason, detail, starts_denied, ended_ms, kind)`;
const OVER = [
  `${SESSION} VALUES ('ses_1', 'usr', 'image', '', 0, 0, 0, '', 1, 'ended', 9, 'player-ended', '', 0, 9, 'job')`,
  "INSERT INTO claim (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps, claimed_ms, released_ms) VALUES ('slt', 1, 'nod', 'ses_1', 1, 1, 0, 2, 9)",
  "INSERT INTO usage_interval (session_id, slot_id, epoch, user_id, app_id, node_id, began_ms, ended_ms) VALUES ('ses_1', 'slt', 1, 'usr', 'image', 'nod', 2, 9)",
  "INSERT INTO job_spec (session_id, spec) VALUES ('ses_1', '{}')",
  "INSERT INTO session_budget VALUES ('ses_1', 1)",
  "INSERT INTO ticket_spend VALUES ('tkt', 'ses_1', '', 3)",
  "INSERT INTO idempotency VALUES ('usr', 'key', '', 'ses_1', 1)",
  "INSERT INTO cluster_replica VALUES ('ses_1', 'ses_1', 0, 0)",
  "INSERT INTO quota VALUES ('usr', 0)",
  "INSERT INTO node_capacity VALUES ('nod', 8, 8, NULL, 8, 8, NULL, 1)",
  "INSERT INTO volume (volume_id, owner, name, node_id, size_mib, used_by, created_ms, used_ms, made_ms) VALUES ('vol', 'usr', 'work', 'nod', 16, 'ses_1', 2, 2, 3)",
  "INSERT INTO volume_usage VALUES ('vol', 16, 'usr', 'work', 'nod', '', '{}', 2, NULL)",
  "INSERT INTO webhook_delivery (delivery_id, owner, session_id, event, body, state, next_ms, created_ms) VALUES ('msg', 'usr', 'ses_1', 'session.ended', '', 'delivered', 9, 9)",
];
const NOTHING = /^$/;
/** What is done to such a ledger, what it is asked then, and what it has to say. */
const CASES: [string, string, RegExp][] = [
  ["", "left", NOTHING],
  ["", "end", NOTHING],
  ["", "unbilled ses_1", NOTHING],
  ["", "replicas ses_1", /^ses_1$/],
  ["", "volumes", /^volume: work\nopen interval of a volume: vol$/],
  ["UPDATE webhook_delivery SET state = 'waiting'", "end", /^notice that waits or was dropped: ses_1 session\.ended/],
  ["DELETE FROM usage_interval", "unbilled ses_1", /^ses_1$/],

  [`${SESSION} VALUES ('ses_2', 'usr', 'image', '', 0, 0, 0, '', 1, 'ending', 9, NULL, '', 0, NULL, 'app')`, "left", /^session without an end: ses_2$/m],
  ["UPDATE claim SET released_ms = NULL", "left", /^live claim: ses_1$/m],
  ["UPDATE claim SET released_ms = NULL", "left", /^volume that somebody has: work$/m],
  ["INSERT INTO outbox (node_id, session_id, epoch, kind, body, created_ms) VALUES ('nod', 'ses_1', 1, 'stop', '', 9)", "left", /^order: ses_1 stop$/m],
  ["INSERT INTO job_secret VALUES ('ses_1', '')", "left", /^secret: ses_1$/m],
  ["INSERT INTO claim_gpu VALUES ('nod', 'GPU-1', 'slt', 1)", "left", /^GPU: GPU-1$/m],
  ["INSERT INTO watch_link VALUES ('lnk', '', 'ses_1', 1, 9, NULL)", "left", /^watch link: ses_1$/m],
  ["UPDATE quota SET used = 1", "left", /^place in a quota: usr$/m],
  ["UPDATE node_capacity SET cpu_milli_free = 7", "left", /^capacity that is not free: nod$/m],
  ["UPDATE node_capacity SET uplink_kbps_total = 7", "left", /^capacity that is not free: nod$/m],
  ["UPDATE usage_interval SET ended_ms = NULL", "left", /^open interval: ses_1$/m],
  ["UPDATE usage_interval SET epoch = 2", "left", /^interval of no claim, or beyond it: ses_1$/m],
  ["UPDATE usage_interval SET ended_ms = 10", "left", /^interval of no claim, or beyond it: ses_1$/m],
  ["DELETE FROM job_spec", "left", /^job without its spec: ses_1$/m],
  ["UPDATE volume SET lost_ms = 9", "left", /^volume that is lost: work$/m],
  ["UPDATE volume_usage SET ended_ms = 9", "left", /^volume that is not billed once: work$/m],
  ["UPDATE ticket_spend SET session_id = 'ses_3'", "left", /^row of ticket_spend whose session is not over: ses_3$/m],
  ["UPDATE session_budget SET session_id = 'ses_3'", "left", /^row of session_budget whose session is not over: ses_3$/m],
  ["UPDATE cluster_replica SET session_id = 'ses_3'", "left", /^row of cluster_replica whose session is not over: ses_3$/m],
  ["UPDATE idempotency SET session_id = 'ses_3'", "left", /^row of idempotency whose session is not over: ses_3$/m],
];

/** Each of these ledgers is made, spoiled and asked in one process. */
const ASK = `
import contextlib, io, json, shutil, sqlite3, sys
sys.path.insert(0, sys.argv[1])
import ledger_left
whole, spoiled = sys.argv[2] + "/whole.sqlite", sys.argv[2] + "/spoiled.sqlite"
def run(path, statements):
    ledger = sqlite3.connect(path)
    ledger.execute("PRAGMA synchronous = OFF")
    ledger.executescript(statements)
    ledger.close()
run(whole, sys.argv[3])
answers = []
for statement, what in json.loads(sys.argv[4]):
    shutil.copyfile(whole, spoiled)
    run(spoiled, statement)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        ledger_left.main(spoiled, *what)
    answers.append(said.getvalue().strip())
print(json.dumps(answers))
`;

void test("a ledger of a job that is over has nothing left, and each row that is astray is found", () => {
  const dir = mkdtempSync(join(tmpdir(), "nearlight-ledger-"));
  try {
    const migrations = join(ROOT, "session-broker/migrations");
    const schema = readdirSync(migrations).sort().map((file) => readFileSync(join(migrations, file), "utf8"));
    // As the broker writes them for SQLite.
    const text = schema.join("\n").replaceAll("{identity}", "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT").replaceAll("{roomy}", "");
    const questions = CASES.map(([statement, what]) => [statement, what.split(" ")]);
    const args = ["-c", ASK, join(ROOT, "e2e/python"), dir, `BEGIN; ${text}\n${OVER.join(";\n")}; COMMIT;`, JSON.stringify(questions)];
    const answers = JSON.parse(execFileSync("python3", args, { encoding: "utf8" })) as string[];
    assert.equal(answers.length, CASES.length);
    CASES.forEach(([statement, what, words], i) => assert.match(answers[i] ?? "", words, `${what} after ${statement || "nothing"}`));
  } finally {
    rmSync(dir, { recursive: true });
  }
});
