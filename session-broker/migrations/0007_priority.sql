-- Where a tenant's members stand in the queue, and each session as its tenant stood when it was created:
-- -1 late, 0 as everybody, 1 early.
ALTER TABLE tenant ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
