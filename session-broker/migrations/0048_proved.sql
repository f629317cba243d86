-- Blocks of memory, of 64 KiB each, that a check had filled, and the least of a round's; NULL of those from before this was kept.
ALTER TABLE checked ADD COLUMN blocks BIGINT;
ALTER TABLE verdict ADD COLUMN blocks BIGINT;
-- The last copy of a checker that said that it stops, once another one has come.
ALTER TABLE checker ADD COLUMN stopped TEXT;
