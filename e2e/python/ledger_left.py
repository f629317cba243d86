"""What a broker's ledger (SQLite) says of sessions that are over, one line each.

    ledger_left.py LEDGER left              rows that say that something goes on, while no session lives
    ledger_left.py LEDGER end               the same, and notices that were not delivered
    ledger_left.py LEDGER volumes           volumes, and what runs of them
    ledger_left.py LEDGER replicas CLUSTER  sessions of a cluster's runs
    ledger_left.py LEDGER unbilled ID...    those of these sessions whose last claim has no interval
    ledger_left.py LEDGER counts            sessions, claims, intervals and notices, in a line

Rows that stay (claims, intervals, specs, labels, budgets, replicas, spent tickets, keys, notices, receipts) name a session
that is over. Which tables these are is asked of the ledger itself: whatever has a `session_id` is looked at.
"""

import contextlib
import sqlite3
import sys

# Of each kind so many are shown.
ROWS_MAX = 10

OVER = "SELECT s.session_id FROM session s WHERE s.ended_ms IS NOT NULL AND s.phase = 'ended'"

LEFT = {
    "session without an end": "SELECT session_id FROM session WHERE ended_ms IS NULL OR phase <> 'ended'",
    "live claim": "SELECT session_id FROM claim WHERE released_ms IS NULL",
    "order": "SELECT session_id || ' ' || kind FROM outbox",
    "secret": "SELECT session_id FROM job_secret",
    "GPU": "SELECT gpu_uuid FROM claim_gpu",
    "place in a quota": "SELECT user_id FROM quota WHERE used <> 0",
    "capacity that is not free": """SELECT node_id FROM node_capacity WHERE cpu_milli_free <> cpu_milli_total
        OR mem_mib_free <> mem_mib_total OR uplink_kbps_free IS NOT uplink_kbps_total""",
    "open interval": "SELECT session_id FROM usage_interval WHERE ended_ms IS NULL",
    "interval of no claim, or beyond it": """SELECT u.session_id FROM usage_interval u WHERE NOT EXISTS (SELECT 1 FROM claim c
        WHERE c.session_id = u.session_id AND c.slot_id = u.slot_id AND c.epoch = u.epoch AND c.node_id = u.node_id
        AND c.claimed_ms <= u.began_ms AND u.ended_ms <= c.released_ms)""",
    "job without its spec": "SELECT session_id FROM session WHERE kind = 'job' AND session_id NOT IN (SELECT session_id FROM job_spec)",
    "volume that somebody has": """SELECT v.name FROM volume v JOIN claim c ON c.session_id = v.used_by
        WHERE c.released_ms IS NULL""",
    "volume that is lost": "SELECT name FROM volume WHERE lost_ms IS NOT NULL",
    "volume that is not billed once": """SELECT v.name FROM volume v WHERE v.deleted_ms IS NULL AND v.made_ms IS NOT NULL
        AND 1 <> (SELECT count(*) FROM volume_usage u WHERE u.volume_id = v.volume_id AND u.ended_ms IS NULL)""",
    "watch link": "SELECT session_id FROM watch_link",
}

NOTICES = {"notice that waits or was dropped": "SELECT session_id || ' ' || event || ' ' || problem FROM webhook_delivery WHERE state <> 'delivered'"}

VOLUMES = {
    "volume": "SELECT name FROM volume",
    "open interval of a volume": "SELECT volume_id FROM volume_usage WHERE ended_ms IS NULL",
}

UNBILLED = """SELECT c.session_id FROM claim c LEFT JOIN usage_interval u ON u.session_id = c.session_id AND u.slot_id = c.slot_id
    AND u.epoch = c.epoch WHERE u.session_id IS NULL AND c.claimed_ms = (SELECT max(d.claimed_ms) FROM claim d WHERE d.session_id = c.session_id)"""

COUNTS = {
    "sessions": "SELECT count(*) FROM session",
    "claims": "SELECT count(*) FROM claim",
    "intervals": "SELECT count(*) FROM usage_interval",
    "claims that never started": """SELECT count(*) FROM claim c WHERE NOT EXISTS (SELECT 1 FROM usage_interval u
        WHERE c.session_id = u.session_id AND c.slot_id = u.slot_id AND c.epoch = u.epoch)""",
    "replicas": "SELECT count(*) FROM cluster_replica",
    "spent tickets": "SELECT count(*) FROM ticket_spend",
    "budgets": "SELECT count(*) FROM session_budget",
    "notices": "SELECT count(*) FROM webhook_delivery",
}


def strangers(ledger: sqlite3.Connection) -> dict[str, str]:
    """A query for each table that names sessions: rows whose session is not over, or not there."""
    tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    named = {table for table in tables if any(row[1] == "session_id" for row in ledger.execute(f"PRAGMA table_info({table})"))}
    assert named >= {"claim", "usage_interval", "job_spec", "session_budget", "cluster_replica", "ticket_spend", "idempotency"}, named
    return {
        f"row of {table} whose session is not over": f"SELECT session_id FROM {table} WHERE session_id <> '' AND session_id NOT IN ({OVER})"
        for table in sorted(named - {"session"})
    }


def main(path: str, what: str, *more: str) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as ledger:
        ask(ledger, what, *more)


def ask(ledger: sqlite3.Connection, what: str, *more: str) -> None:
    # One state of it, not one for each question.
    ledger.execute("BEGIN")
    if what == "replicas":
        for (session,) in ledger.execute("SELECT session_id FROM cluster_replica WHERE cluster_id = ?", more):
            print(session)
    elif what == "unbilled":
        claimed = {session for (session,) in ledger.execute("SELECT session_id FROM claim")}
        without = {session for (session,) in ledger.execute(UNBILLED)} | (set(more) - claimed)
        print("\n".join(sorted(without & set(more))))
    elif what == "counts":
        print(", ".join(f"{ledger.execute(query).fetchone()[0]} {name}" for name, query in COUNTS.items()))
    else:
        asked = {"left": LEFT | strangers(ledger), "end": LEFT | NOTICES | strangers(ledger), "volumes": VOLUMES}[what]
        for name, query in asked.items():
            for (row,) in ledger.execute(query).fetchmany(ROWS_MAX):
                print(f"{name}: {row}")


if __name__ == "__main__":
    main(*sys.argv[1:])
