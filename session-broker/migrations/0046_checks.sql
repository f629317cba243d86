-- By what the newest checks of a node's capacity are found, and not one row of each round in which it was asked whether it is there.
CREATE INDEX assignment_of_capacity ON assignment (node_key, round) WHERE duty <> 'alive' AND duty <> 'stream';
-- What was folded before the time of the log was kept has a part in it, as an audit reads it.
UPDATE receipts_folded SET told_s =
    (SELECT COALESCE(MAX(r.issued_at_s), 0) FROM receipt r WHERE r.place < receipts_folded.next);
