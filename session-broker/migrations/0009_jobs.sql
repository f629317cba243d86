-- Jobs: sessions that run a tenant's container in place of an app.

-- 'app' or 'job'. Of a job `app_id`, `app_digest` and `keyboard_layout` are empty, and the display is 0:
-- a broker that does not know the column finds no edition for it, and leaves it alone.
ALTER TABLE session ADD COLUMN kind TEXT NOT NULL DEFAULT 'app';

-- What a job is, image pinned. One a session, and it goes with its session: there is no end of them.
CREATE TABLE job_spec (
    session_id  TEXT  NOT NULL PRIMARY KEY,
    spec        TEXT  NOT NULL
);

-- The values of a job's secrets, sealed. Gone once its start is acked, or it is over.
CREATE TABLE job_secret (
    session_id  TEXT  NOT NULL PRIMARY KEY,
    sealed      TEXT  NOT NULL
);

-- A job's labels, which filter usage.
CREATE TABLE session_label (
    session_id  TEXT  NOT NULL,
    name        TEXT  NOT NULL,
    value       TEXT  NOT NULL,
    PRIMARY KEY (session_id, name)
);
CREATE INDEX session_label_by_value ON session_label (name, value, session_id);

-- What a job's claim takes beside. The unique index is the guard of a node's GPUs: until they are claimed
-- one by one, one job has them all.
ALTER TABLE claim ADD COLUMN disk_mib BIGINT NOT NULL DEFAULT 0;
ALTER TABLE claim ADD COLUMN gpus BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX claim_live_gpus ON claim (node_id) WHERE released_ms IS NULL AND gpus > 0;

-- When the operator of this network vetted a node: jobs go to such, unless they say otherwise.
ALTER TABLE node_standing ADD COLUMN vetted_ms BIGINT;
