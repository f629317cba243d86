-- The log of receipts that the brokers of this ledger write together. `one` is 1: there is one. Size and
-- root are compared and swapped by each append, and nothing is signed that they have not been.
CREATE TABLE receipt_log (
    one             BIGINT  NOT NULL PRIMARY KEY,
    origin          TEXT    NOT NULL,
    -- The public key that signs, in hex: brokers with another one keep away.
    log_key         TEXT    NOT NULL,
    size            BIGINT  NOT NULL,
    root            TEXT    NOT NULL,
    changed_ms      BIGINT  NOT NULL,
    -- The last checkpoint that enough witnesses have cosigned, as it is shown, and its size.
    witnessed_size  BIGINT  NOT NULL DEFAULT 0,
    witnessed       TEXT    NOT NULL DEFAULT ''
);

-- What stands in the log, by place. The envelopes are in its tiles.
CREATE TABLE receipt (
    place        BIGINT  NOT NULL PRIMARY KEY,
    leaf         TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    issuer       TEXT    NOT NULL,
    -- What it is about: a node's key, a session's commitment, a leaf or a key.
    about        TEXT    NOT NULL,
    issued_at_s  BIGINT  NOT NULL
);
CREATE UNIQUE INDEX receipt_by_leaf ON receipt (leaf);
CREATE INDEX receipt_by_about ON receipt (about, place);

-- What receipts rest on: what may be put beside the log, and until when it is kept.
CREATE TABLE evidence (
    sha256        TEXT    NOT NULL PRIMARY KEY,
    bytes         BIGINT  NOT NULL,
    kept_until_s  BIGINT  NOT NULL
);
CREATE INDEX evidence_by_end ON evidence (kept_until_s);

-- The directory: whose keys are whose. Rows are never taken out; a key that is revoked stays.
CREATE TABLE directory_key (
    key_hex       TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    operator      TEXT    NOT NULL,
    licence       TEXT,
    from_s        BIGINT  NOT NULL,
    until_s       BIGINT  NOT NULL,
    revoked_at_s  BIGINT,
    PRIMARY KEY (key_hex, role)
);

-- Which edition of the directory that is, and since when. `one` is 1.
CREATE TABLE directory_edition (
    one           BIGINT  NOT NULL PRIMARY KEY,
    serial        BIGINT  NOT NULL,
    issued_at_s   BIGINT  NOT NULL
);
