-- The place of a check's checker in the order of its round; NULL: it was not among those who may be asked, and its
-- receipt is on record alone. What was gone through before counts as it did.
ALTER TABLE checked ADD COLUMN seat BIGINT DEFAULT 0;
