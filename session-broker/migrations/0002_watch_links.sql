-- Links on which others watch a session. Of a link's secret only the SHA-256 is here.
CREATE TABLE watch_link (
    link_id     TEXT    NOT NULL PRIMARY KEY,
    hash        BLOB    NOT NULL UNIQUE,
    session_id  TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    expires_ms  BIGINT  NOT NULL,
    revoked_ms  BIGINT
);
CREATE INDEX watch_link_by_session ON watch_link (session_id);
