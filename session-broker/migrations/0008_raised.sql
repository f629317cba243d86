-- The epoch of a slot that no claim of this ledger took: a node showed it, so the ledger has lost claims.
-- Nothing where the slot's epoch is that of a claim. A broker that does not know the column leaves it
-- behind the epoch, where it says nothing.
ALTER TABLE slot ADD COLUMN raised BIGINT NOT NULL DEFAULT 0;
