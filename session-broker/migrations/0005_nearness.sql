-- Where a session should run, JSON; empty where nothing is known. Kept with the session, so that whoever
-- takes it over from the queue places it as the first broker would have.
ALTER TABLE session ADD COLUMN wish TEXT NOT NULL DEFAULT '';
