-- Whose reports count, and who checks whom.

-- The keys that nodes sign receipts with, as each has proved on its control stream. `until_s` is far away for
-- the one that a node has now. A key is of one node.
CREATE TABLE node_key (
    key_hex   TEXT    NOT NULL PRIMARY KEY,
    key_id    TEXT    NOT NULL,
    node_id   TEXT    NOT NULL,
    operator  TEXT    NOT NULL,
    from_s    BIGINT  NOT NULL,
    until_s   BIGINT  NOT NULL
);
CREATE INDEX node_key_by_node ON node_key (node_id);

-- Who runs a node, if it is somebody else than who runs the network: told with the join token.
ALTER TABLE join_token ADD COLUMN operator TEXT NOT NULL DEFAULT '';
ALTER TABLE node_standing ADD COLUMN operator TEXT NOT NULL DEFAULT '';

-- Licences by the key of their owner, who delegates them to checkers.
CREATE TABLE licence (
    key_hex     TEXT    NOT NULL PRIMARY KEY,
    key_id      TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    revoked_ms  BIGINT
);

-- Who may come in as a checker, by the hash of a secret. `used_ms` is compared and swapped: a token works once.
-- Who asks again with the same key is the same checker.
CREATE TABLE checker_token (
    hash        TEXT    NOT NULL PRIMARY KEY,
    operator    TEXT    NOT NULL,
    licence     TEXT,
    created_ms  BIGINT  NOT NULL,
    expires_ms  BIGINT  NOT NULL,
    used_ms     BIGINT,
    key_hex     TEXT
);

-- The checkers. Rows are never taken out: who could be assigned in a round can be asked for years.
CREATE TABLE checker (
    key_hex            TEXT    NOT NULL PRIMARY KEY,
    key_id             TEXT    NOT NULL,
    operator           TEXT    NOT NULL,
    licence            TEXT,
    -- Its API key, and the user of that.
    api_key            TEXT    NOT NULL,
    user_id            TEXT    NOT NULL,
    joined_s           BIGINT  NOT NULL,
    revoked_s          BIGINT,
    -- The copy of it that runs, and until when no other one may.
    instance           TEXT    NOT NULL DEFAULT '',
    instance_until_ms  BIGINT  NOT NULL DEFAULT 0
);
CREATE INDEX checker_by_user ON checker (user_id);

-- The chain of hashes that rounds take their values from, and when its round 1 began. `one` is 1.
CREATE TABLE beacon_chain (
    one         BIGINT  NOT NULL PRIMARY KEY,
    anchor      TEXT    NOT NULL,
    genesis_ms  BIGINT  NOT NULL,
    round_ms    BIGINT  NOT NULL,
    length      BIGINT  NOT NULL
);

-- Who is to check which node in which round, and what came of it.
CREATE TABLE assignment (
    round       BIGINT  NOT NULL,
    -- The node's key, and the checker's: key ids.
    node_key    TEXT    NOT NULL,
    duty        TEXT    NOT NULL,
    checker     TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    -- The place in the round's order: those behind the committee stand in for one that missed.
    place       BIGINT  NOT NULL,
    due_ms      BIGINT  NOT NULL,
    until_ms    BIGINT  NOT NULL,
    -- `due`, `done` or `missed`.
    state       TEXT    NOT NULL,
    -- Why it was missed.
    why         TEXT    NOT NULL DEFAULT '',
    -- The leaf of its receipt, if it has one.
    leaf        TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (round, node_key, duty, checker)
);
CREATE INDEX assignment_by_checker ON assignment (checker, until_ms);
CREATE INDEX assignment_by_node ON assignment (node_key, round);
CREATE INDEX assignment_by_state ON assignment (state, until_ms);
