-- What the sessions of a tenant may have together, beside their number. None: no limit.
ALTER TABLE tenant ADD COLUMN gpus_max BIGINT;
ALTER TABLE tenant ADD COLUMN cpu_milli_max BIGINT;
ALTER TABLE tenant ADD COLUMN mem_mib_max BIGINT;

-- What a session asks for from its creation to its end, of a cluster all replicas together on the first one's row.
-- The sum over a tenant's live sessions is what it has: there is no count beside that an older broker would not keep.
ALTER TABLE session ADD COLUMN gpus BIGINT NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN cpu_milli BIGINT NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN mem_mib BIGINT NOT NULL DEFAULT 0;
CREATE INDEX session_live_by_tenant ON session (tenant_id)
    WHERE tenant_id IS NOT NULL AND ended_ms IS NULL;

-- Of those that run, what they hold.
UPDATE session SET
    gpus = (SELECT COALESCE(SUM(c.gpus), 0) FROM claim c
        WHERE c.session_id = session.session_id AND c.released_ms IS NULL),
    cpu_milli = (SELECT COALESCE(SUM(c.cpu_milli), 0) FROM claim c
        WHERE c.session_id = session.session_id AND c.released_ms IS NULL),
    mem_mib = (SELECT COALESCE(SUM(c.mem_mib), 0) FROM claim c
        WHERE c.session_id = session.session_id AND c.released_ms IS NULL)
WHERE tenant_id IS NOT NULL AND ended_ms IS NULL;
