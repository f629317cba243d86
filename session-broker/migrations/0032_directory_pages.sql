-- The edition of the directory that a key came in with: pages of the directory are filled in that order, so that a new
-- key changes the last one alone. What was there before stays in front, by key.
ALTER TABLE directory_key ADD COLUMN added BIGINT NOT NULL DEFAULT 0;
