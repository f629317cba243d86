-- Who may come in as a node, and who may not any more.

-- Join tokens by the hash of their secret. `used_ms` is compared and swapped: a token works once. Who
-- asks again with the same key gets the same node, for an answer may be lost.
CREATE TABLE join_token (
    hash        TEXT    NOT NULL PRIMARY KEY,
    name        TEXT    NOT NULL,
    region      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    expires_ms  BIGINT  NOT NULL,
    used_ms     BIGINT,
    key_hash    TEXT,
    node_id     TEXT
);

-- What an operator has decided about a node. A node without a row may attach: its certificate says
-- so. `revoked_ms` is for good.
CREATE TABLE node_standing (
    node_id      TEXT    NOT NULL PRIMARY KEY,
    enrolled_ms  BIGINT,
    drained_ms   BIGINT,
    revoked_ms   BIGINT
);
