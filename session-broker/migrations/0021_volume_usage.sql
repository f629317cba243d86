-- Usage of volumes: an interval a size, from the claim that makes a volume, or makes it larger, until it is
-- deleted, lost or larger. It outlives the volume's row.
CREATE TABLE volume_usage (
    volume_id   TEXT    NOT NULL,
    size_mib    BIGINT  NOT NULL,
    -- A tenant, or a user who has none.
    owner       TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    region      TEXT    NOT NULL,
    -- JSON, those of the job that made it.
    labels      TEXT    NOT NULL,
    began_ms    BIGINT  NOT NULL,
    ended_ms    BIGINT,
    PRIMARY KEY (volume_id, began_ms, size_mib)
);
CREATE INDEX volume_usage_by_owner ON volume_usage (owner, began_ms);
CREATE INDEX volume_usage_by_beginning ON volume_usage (began_ms);

ALTER TABLE volume ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';

-- Those that are there have had their size at least since they were taken last. No card of that time has
-- a rate for volumes.
INSERT INTO volume_usage (volume_id, size_mib, owner, name, node_id, region, labels, began_ms)
SELECT v.volume_id, v.size_mib, v.owner, v.name, v.node_id, COALESCE(n.region, ''), '{}', v.used_ms
FROM volume v LEFT JOIN node n ON n.node_id = v.node_id
WHERE v.deleted_ms IS NULL AND v.lost_ms IS NULL;
