-- Volumes: directories of a tenant that outlive its jobs. Each is on one node, which has held its size for
-- it since its first job was placed.
CREATE TABLE volume (
    volume_id   TEXT    NOT NULL PRIMARY KEY,
    -- A tenant, or a user who has none.
    owner       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    size_mib    BIGINT  NOT NULL,
    -- The session that took it last. It has it as long as its claim lives, and no longer.
    used_by     TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    used_ms     BIGINT  NOT NULL,
    -- When its node first said that it has it; then, if it has it no more, since when.
    made_ms     BIGINT,
    lost_ms     BIGINT,
    -- When its owner deleted it. The row stays until its node has wiped it.
    deleted_ms  BIGINT
);
-- The guard of a name: whoever makes a second one loses the race.
CREATE UNIQUE INDEX volume_by_name ON volume (owner, name) WHERE deleted_ms IS NULL;
CREATE INDEX volume_by_node ON volume (node_id);
