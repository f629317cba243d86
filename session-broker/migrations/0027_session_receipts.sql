-- Receipts of sessions that were played: which entry of the log is whose. The salt opens the commitment that
-- the entry has in place of the session's id.
CREATE TABLE session_receipt (
    session_id  TEXT    NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL,
    tenant_id   TEXT,
    place       BIGINT  NOT NULL,
    leaf        TEXT    NOT NULL,
    salt        TEXT    NOT NULL,
    -- agree, disagree, edge-only.
    agreement   TEXT    NOT NULL,
    logged_ms   BIGINT  NOT NULL
);
