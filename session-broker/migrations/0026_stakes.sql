-- Accounts of stakes and rewards, in micro-units. What an account has is credits - debits - held; it never falls
-- below nothing, but for `outside`, which stands for the world.
CREATE TABLE account (
    id             TEXT    NOT NULL PRIMARY KEY,
    credits_micro  BIGINT  NOT NULL,
    debits_micro   BIGINT  NOT NULL,
    -- Debits that are pending.
    held_micro     BIGINT  NOT NULL
);

-- Transfers, none of which ever changes. The id is of what caused it, so that nothing is moved twice.
CREATE TABLE transfer (
    id            TEXT    NOT NULL PRIMARY KEY,
    -- `posted`, `pending`, `post` or `void`; the last two end a pending one.
    kind          TEXT    NOT NULL,
    debit         TEXT    NOT NULL,
    credit        TEXT    NOT NULL,
    amount_micro  BIGINT  NOT NULL,
    -- The pending transfer that it ends.
    ends          TEXT,
    -- The places of the receipts that it rests on: JSON.
    receipts      TEXT    NOT NULL,
    -- Why, as a sentence.
    reason        TEXT    NOT NULL,
    at_ms         BIGINT  NOT NULL,
    -- When a pending one is to be ended.
    until_ms      BIGINT,
    -- The round that it follows from; empty for none.
    node          TEXT    NOT NULL,
    round         BIGINT  NOT NULL,
    gpu           TEXT    NOT NULL,
    -- The finding that it holds with: it is posted if the round comes to that, and void otherwise.
    holds_with    TEXT    NOT NULL
);
CREATE UNIQUE INDEX transfer_ends_once ON transfer (ends) WHERE ends IS NOT NULL;
CREATE INDEX transfer_by_until ON transfer (until_ms);
CREATE INDEX transfer_by_debit ON transfer (debit, at_ms);
CREATE INDEX transfer_by_credit ON transfer (credit, at_ms);
CREATE INDEX transfer_by_round ON transfer (node, round, gpu);

-- Disputes over receipts of checks, by their places in the log.
CREATE TABLE dispute (
    place       BIGINT  NOT NULL PRIMARY KEY,
    leaf        TEXT    NOT NULL,
    -- The receipt that is contested, and its round.
    target      BIGINT  NOT NULL,
    node        TEXT    NOT NULL,
    round       BIGINT  NOT NULL,
    gpu         TEXT    NOT NULL,
    claim       TEXT    NOT NULL,
    deadline_s  BIGINT  NOT NULL,
    -- The place of the verdict that ended it; null while it is open.
    verdict     BIGINT
);
CREATE UNIQUE INDEX dispute_by_leaf ON dispute (leaf);
CREATE INDEX dispute_by_round ON dispute (node, round, gpu);
CREATE INDEX dispute_open ON dispute (deadline_s) WHERE verdict IS NULL;
