-- Checkers that play streams, and the sessions in which they do; and what a checker's checks came to.

-- Since when a checker has said, each time that it asked, that it plays streams; 0: it does not.
ALTER TABLE checker ADD COLUMN plays_since_ms BIGINT NOT NULL DEFAULT 0;

-- The session that was made for an assignment: its checker's player has no other one on that node. Empty for none.
ALTER TABLE assignment ADD COLUMN session_id TEXT NOT NULL DEFAULT '';
-- 1 of a missed one that nobody could have done: nobody stands in.
ALTER TABLE assignment ADD COLUMN void BIGINT NOT NULL DEFAULT 0;

-- A checker asks how its word compares with what its rounds came to.
CREATE INDEX checked_by_checker ON checked (checker, issued_at_s);
