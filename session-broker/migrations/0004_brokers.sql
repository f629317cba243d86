-- Several brokers share a ledger. Each row of `node` and `session` has one holder, which alone changes
-- it and what hangs on it (slots, claims, orders, usage).

-- Where its peers reach a broker; empty for one that is alone. `stopped` is whether it said that it
-- stops, or was given up for dead. `jwk` is the public key of what it signs. `losses` counts the times
-- at which others took nodes from it.
ALTER TABLE writer ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE writer ADD COLUMN stopped BIGINT NOT NULL DEFAULT 0;
ALTER TABLE writer ADD COLUMN jwk TEXT NOT NULL DEFAULT '';
ALTER TABLE writer ADD COLUMN losses BIGINT NOT NULL DEFAULT 0;

ALTER TABLE node ADD COLUMN holder TEXT NOT NULL DEFAULT 'broker';
ALTER TABLE session ADD COLUMN holder TEXT NOT NULL DEFAULT 'broker';

-- Nodes that were taken from a broker, for it to find out which.
CREATE TABLE node_move (
    move_id   {identity},
    node_id   TEXT    NOT NULL,
    lost_by   TEXT    NOT NULL,
    moved_ms  BIGINT  NOT NULL
);
CREATE INDEX node_move_by_loser ON node_move (lost_by, move_id);
