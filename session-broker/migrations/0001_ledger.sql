-- The ledger. One text for SQLite and for what speaks PostgreSQL's protocol, but for two words:
-- {identity} is a number that the engine counts up and never uses twice; {roomy} leaves room on a page
-- for new versions of its rows, where the engine writes such: beside the old one they cost no index
-- entry, if no index speaks of what has changed.
-- Times are milliseconds since the Unix epoch. Ids are the strings of core/protocol, hashes are
-- SHA-256 in hex.
--
-- Migrations expand: they add, with defaults, what an older broker can ignore. What is to go
-- (contract) goes in a migration of its own, once no older broker runs, and raises schema_floor.

-- The oldest schema that a broker must know to work on this ledger.
CREATE TABLE schema_floor (
    version  BIGINT  NOT NULL
);
INSERT INTO schema_floor (version) VALUES (1);

-- Who writes. A broker that opens the ledger takes the next term; a transaction of an older term
-- changes nothing. `seq` counts its transactions: after a commit without an answer it says what
-- became of it.
CREATE TABLE writer (
    writer_id  TEXT    NOT NULL PRIMARY KEY,
    term       BIGINT  NOT NULL,
    seq        BIGINT  NOT NULL
);

-- Who may ask: guests by the hash of their cookie, API keys by the hash of the key.
CREATE TABLE credential (
    hash        TEXT    NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL CHECK (role IN ('guest', 'admin')),
    created_ms  BIGINT  NOT NULL,
    revoked_ms  BIGINT
);

-- Sessions that a user holds, queued ones counted. Taken with the session's row, given back when
-- the session is ending or over, each in the same transaction.
CREATE TABLE quota (
    user_id  TEXT    NOT NULL PRIMARY KEY,
    used     BIGINT  NOT NULL CHECK (used >= 0)
);

CREATE TABLE node (
    node_id      TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    region       TEXT    NOT NULL,
    build        TEXT    NOT NULL,
    inventory    TEXT    NOT NULL,
    last_seen_ms BIGINT  NOT NULL
);

-- What is left of a node. Goes down with a claim, by compare-and-swap on `rev`. Without a total of
-- the uplink nobody knows what it carries, and it rules nothing out.
CREATE TABLE node_capacity (
    node_id            TEXT    NOT NULL PRIMARY KEY,
    cpu_milli_total    BIGINT  NOT NULL,
    mem_mib_total      BIGINT  NOT NULL,
    uplink_kbps_total  BIGINT,
    cpu_milli_free     BIGINT  NOT NULL CHECK (cpu_milli_free >= 0),
    mem_mib_free       BIGINT  NOT NULL CHECK (mem_mib_free >= 0),
    uplink_kbps_free   BIGINT  CHECK (uplink_kbps_free >= 0),
    rev                BIGINT  NOT NULL
){roomy};

-- One exclusive unit of a node. `epoch` only rises; `listed` is whether the node still has it.
CREATE TABLE slot (
    slot_id  TEXT    NOT NULL PRIMARY KEY,
    node_id  TEXT    NOT NULL,
    epoch    BIGINT  NOT NULL,
    listed   BIGINT  NOT NULL
){roomy};
CREATE INDEX slot_by_node ON slot (node_id);

-- Apps as sessions were created with them, by the SHA-256 of their text: many sessions are of one.
-- None goes: there are no more than the catalogue had editions.
CREATE TABLE app_edition (
    digest  TEXT  NOT NULL PRIMARY KEY,
    app     TEXT  NOT NULL
);

-- No index speaks of `phase`, which changes some times in each session; `ended_ms` is set once.
CREATE TABLE session (
    session_id       TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL,
    app_id           TEXT    NOT NULL,
    app_digest       TEXT    NOT NULL,
    display_width    BIGINT  NOT NULL,
    display_height   BIGINT  NOT NULL,
    display_hz       BIGINT  NOT NULL,
    keyboard_layout  TEXT    NOT NULL,
    created_ms       BIGINT  NOT NULL,
    -- The lifecycle's phase and what it carries; empty columns where a phase has no such thing.
    phase            TEXT    NOT NULL,
    since_ms         BIGINT  NOT NULL,
    ready_ms         BIGINT,
    node_id          TEXT,
    slot_id          TEXT,
    epoch            BIGINT,
    viewer           TEXT,
    reason           TEXT,
    detail           TEXT    NOT NULL,
    starts_denied    BIGINT  NOT NULL,
    ended_ms         BIGINT
){roomy};
CREATE INDEX session_live ON session (session_id) WHERE ended_ms IS NULL;
CREATE INDEX session_ended ON session (ended_ms, session_id) WHERE ended_ms IS NOT NULL;

-- What a session holds on a node. The unique index is the guard against a double booking: the
-- engine itself refuses a second live claim of a slot.
CREATE TABLE claim (
    slot_id      TEXT    NOT NULL,
    epoch        BIGINT  NOT NULL,
    node_id      TEXT    NOT NULL,
    session_id   TEXT    NOT NULL,
    cpu_milli    BIGINT  NOT NULL,
    mem_mib      BIGINT  NOT NULL,
    kbps         BIGINT  NOT NULL,
    claimed_ms   BIGINT  NOT NULL,
    released_ms  BIGINT,
    PRIMARY KEY (slot_id, epoch)
);
CREATE UNIQUE INDEX claim_live_slot ON claim (slot_id) WHERE released_ms IS NULL;
CREATE INDEX claim_live_node ON claim (node_id) WHERE released_ms IS NULL;
CREATE INDEX claim_by_session ON claim (session_id);

-- From the acked start to the acked stop, or to the moment at which we gave the node up.
CREATE TABLE usage_interval (
    session_id  TEXT    NOT NULL,
    epoch       BIGINT  NOT NULL,
    user_id     TEXT    NOT NULL,
    app_id      TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    began_ms    BIGINT  NOT NULL,
    ended_ms    BIGINT,
    PRIMARY KEY (session_id, epoch)
){roomy};

-- Orders that a node has not acked. Idempotent by (session, epoch, kind). A number is never used
-- twice, or a late ack would hit a new order. The body of a start is its grant, for all else is in its
-- session; that of a stop is its reason.
CREATE TABLE outbox (
    command_id  {identity},
    node_id     TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    epoch       BIGINT  NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('start', 'stop')),
    body        TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    UNIQUE (session_id, epoch, kind)
);

CREATE TABLE idempotency (
    user_id     TEXT    NOT NULL,
    idem_key    TEXT    NOT NULL,
    body_hash   TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    PRIMARY KEY (user_id, idem_key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_ms);

-- Attach tickets that were used, and for which attachment.
CREATE TABLE ticket_spend (
    ticket_id      TEXT    NOT NULL PRIMARY KEY,
    session_id     TEXT    NOT NULL,
    attachment_id  TEXT    NOT NULL,
    spent_ms       BIGINT  NOT NULL
);
CREATE INDEX ticket_spend_by_session ON ticket_spend (session_id);

-- Links on which others watch a session. Of a link's secret only the hash is here.
CREATE TABLE watch_link (
    link_id     TEXT    NOT NULL PRIMARY KEY,
    hash        TEXT    NOT NULL UNIQUE,
    session_id  TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    expires_ms  BIGINT  NOT NULL,
    revoked_ms  BIGINT
);
CREATE INDEX watch_link_by_session ON watch_link (session_id);
