-- When what runs on a drained node ends, because its operator takes the capacity back, and why. It belongs to the drain
-- of `reclaim_of_ms`: one that an older broker writes has none.
ALTER TABLE node_standing ADD COLUMN reclaim_ms BIGINT;
ALTER TABLE node_standing ADD COLUMN reclaim_of_ms BIGINT;
ALTER TABLE node_standing ADD COLUMN reclaim_reason TEXT NOT NULL DEFAULT '';
