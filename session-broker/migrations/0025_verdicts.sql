-- How far the log of receipts has been gone through: entries below `next` have done what they do. `one` is 1.
CREATE TABLE receipts_folded (
    one   BIGINT  NOT NULL PRIMARY KEY,
    next  BIGINT  NOT NULL
);

-- What checkers found, of receipts that count, by their place in the log.
CREATE TABLE checked (
    place           BIGINT  NOT NULL PRIMARY KEY,
    -- The node's key, by its id.
    node            TEXT    NOT NULL,
    round           BIGINT  NOT NULL,
    gpu             TEXT    NOT NULL,
    checker         TEXT    NOT NULL,
    leaf            TEXT    NOT NULL,
    -- `pass`, `fail` or `inconclusive`.
    finding         TEXT    NOT NULL,
    score_permille  BIGINT  NOT NULL,
    issued_at_s     BIGINT  NOT NULL,
    reason          TEXT    NOT NULL
);
CREATE INDEX checked_by_round ON checked (node, round, gpu);
CREATE INDEX checked_by_leaf ON checked (leaf);

-- What a round of one GPU has come to.
CREATE TABLE verdict (
    node            TEXT    NOT NULL,
    round           BIGINT  NOT NULL,
    gpu             TEXT    NOT NULL,
    -- `open`, `passed`, `failed`, `split` or `settled`.
    state           TEXT    NOT NULL,
    -- What counts: `pass`, `fail`, or `inconclusive` as long as nothing does.
    finding         TEXT    NOT NULL,
    score_permille  BIGINT  NOT NULL,
    -- When the newest receipt of it was issued.
    at_s            BIGINT  NOT NULL,
    -- The places of its receipts, and the keys whose word was refuted: JSON.
    places          TEXT    NOT NULL,
    liars           TEXT    NOT NULL,
    -- `next` of the folding that wrote it.
    rev             BIGINT  NOT NULL,
    PRIMARY KEY (node, round, gpu)
);
CREATE INDEX verdict_by_rev ON verdict (rev);
CREATE INDEX verdict_by_node ON verdict (node, at_s);
