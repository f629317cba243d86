-- What the verdict of a settled round rests on: `majority`, `right` or `wrong`; empty while nothing settled it, and of what
-- was settled before this was kept. What rests on more settles a round anew.
ALTER TABLE verdict ADD COLUMN ground TEXT NOT NULL DEFAULT '';
-- Who filed a dispute, by its key id; empty of those that were filed before this was kept. One dispute an issuer and receipt.
ALTER TABLE dispute ADD COLUMN issuer TEXT NOT NULL DEFAULT '';
CREATE INDEX dispute_by_target ON dispute (target);
-- The latest time that any entry below `next` says it was issued at: it was later than that when the next one came, but for
-- clocks.
ALTER TABLE receipts_folded ADD COLUMN told_s BIGINT NOT NULL DEFAULT 0;
