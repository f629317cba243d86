-- Usage with all that a bill needs, so that no later change of an app, a job or a node changes it.
--
-- The key has the slot, too: an epoch is a slot's, and a session that moves to another slot can meet
-- the same number there. No engine lets go of a key alike, so the rows move to a table of the same name.
-- What an older broker writes and reads of it is still there; of its rows the slot is empty.
CREATE TABLE usage_moving (
    session_id  TEXT    NOT NULL,
    slot_id     TEXT    NOT NULL DEFAULT '',
    epoch       BIGINT  NOT NULL,
    user_id     TEXT    NOT NULL,
    tenant_id   TEXT,
    -- 'app' with the app's id in app_id, or 'job' with the job's image.
    kind        TEXT    NOT NULL DEFAULT 'app',
    app_id      TEXT    NOT NULL,
    node_id     TEXT    NOT NULL,
    region      TEXT    NOT NULL DEFAULT '',
    -- What the claim held, and the models of its GPUs as JSON.
    cpu_milli   BIGINT  NOT NULL DEFAULT 0,
    mem_mib     BIGINT  NOT NULL DEFAULT 0,
    gpus        TEXT    NOT NULL DEFAULT '[]',
    -- JSON, words of the tenant's own.
    labels      TEXT    NOT NULL DEFAULT '{}',
    began_ms    BIGINT  NOT NULL,
    ended_ms    BIGINT,
    PRIMARY KEY (session_id, slot_id, epoch)
){roomy};
INSERT INTO usage_moving (session_id, slot_id, epoch, user_id, tenant_id, app_id, node_id, region,
    cpu_milli, mem_mib, began_ms, ended_ms)
SELECT u.session_id, COALESCE(c.slot_id, ''), u.epoch, u.user_id, s.tenant_id, u.app_id, u.node_id,
    COALESCE(n.region, ''), COALESCE(c.cpu_milli, 0), COALESCE(c.mem_mib, 0), u.began_ms, u.ended_ms
FROM usage_interval u
LEFT JOIN claim c ON c.session_id = u.session_id AND c.epoch = u.epoch AND c.node_id = u.node_id
    AND c.slot_id = (SELECT MAX(d.slot_id) FROM claim d WHERE d.session_id = u.session_id
        AND d.epoch = u.epoch AND d.node_id = u.node_id)
LEFT JOIN session s ON s.session_id = u.session_id
LEFT JOIN node n ON n.node_id = u.node_id;
DROP TABLE usage_interval;
ALTER TABLE usage_moving RENAME TO usage_interval;
-- No index speaks of `ended_ms`, which is set once in each.
CREATE INDEX usage_by_tenant ON usage_interval (tenant_id, began_ms);
CREATE INDEX usage_by_beginning ON usage_interval (began_ms);

-- When a node last said what it runs, or said anything later on that stream: until then what it ran
-- is known, and billed. An attached node whose Running is not here yet has been seen, and not heard.
ALTER TABLE node ADD COLUMN heard_ms BIGINT NOT NULL DEFAULT 0;
UPDATE node SET heard_ms = last_seen_ms;

-- What things cost since when. `declared_ms` is what the operator's file says; `from_ms` the later one
-- of that and of the moment at which the first broker read it: no card reaches into the past.
CREATE TABLE rate_card (
    declared_ms  BIGINT  NOT NULL PRIMARY KEY,
    from_ms      BIGINT  NOT NULL,
    card         TEXT    NOT NULL
);

-- What a session may cost, micro-units. Few have such a limit.
CREATE TABLE session_budget (
    session_id    TEXT    NOT NULL PRIMARY KEY,
    budget_micro  BIGINT  NOT NULL
);

-- What a tenant's members may spend in a calendar month, UTC, micro-units.
ALTER TABLE tenant ADD COLUMN budget_micro_month BIGINT;
