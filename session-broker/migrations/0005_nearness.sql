-- Where a session should run, JSON; empty where nothing is known. Kept with the session, so that whoever
-- takes it over from the queue places it as the first broker would have.
ALTER TABLE session ADD COLUMN wish TEXT NOT NULL DEFAULT '';

-- Which node a player's saves of an app are on: where it showed a picture, and when last. The latest is the
-- one to go on with; older ones stay where they are.
CREATE TABLE save_location (
    user_id  TEXT    NOT NULL,
    app_id   TEXT    NOT NULL,
    node_id  TEXT    NOT NULL,
    used_ms  BIGINT  NOT NULL,
    PRIMARY KEY (user_id, app_id, node_id)
);
CREATE INDEX save_location_used ON save_location (used_ms);
