-- From which round on rounds take their values from which beacon; before the first, and without any, from the chain.
CREATE TABLE beacon_used (
    from_round  BIGINT  NOT NULL PRIMARY KEY,
    -- `chain`, `quicknet`, or another network of drand with its key and times.
    beacon      TEXT    NOT NULL
);

-- What a beacon outside gave for a round: the signature, hex digits; nothing of a round that is void. The first row stays.
CREATE TABLE beacon_round (
    round      BIGINT  NOT NULL PRIMARY KEY,
    signature  TEXT    NOT NULL
);
