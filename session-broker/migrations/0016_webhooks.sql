-- What tenants' endpoints are told of their jobs. `owner` is a tenant, or a user who has none.
CREATE TABLE webhook (
    owner            TEXT    NOT NULL PRIMARY KEY,
    url              TEXT    NOT NULL,
    -- The secret that signs, and the one before it while that signs, too.
    sealed           TEXT    NOT NULL,
    former           TEXT,
    former_until_ms  BIGINT,
    created_ms       BIGINT  NOT NULL,
    -- Notices that were not kept, for too many waited.
    lost             BIGINT  NOT NULL DEFAULT 0
);

-- An outbox: written with the change that it tells of, and 'waiting' until the endpoint has it.
CREATE TABLE webhook_delivery (
    delivery_id  TEXT    NOT NULL PRIMARY KEY,
    owner        TEXT    NOT NULL,
    session_id   TEXT,
    event        TEXT    NOT NULL,
    body         TEXT    NOT NULL,
    -- 'waiting', 'delivered' or 'dropped'.
    state        TEXT    NOT NULL DEFAULT 'waiting',
    attempts     BIGINT  NOT NULL DEFAULT 0,
    -- The broker that delivers it at this moment, until next_ms at the latest.
    holder       TEXT,
    next_ms      BIGINT  NOT NULL,
    created_ms   BIGINT  NOT NULL,
    problem      TEXT    NOT NULL DEFAULT ''
){roomy};
CREATE INDEX webhook_delivery_due ON webhook_delivery (state, next_ms);
CREATE INDEX webhook_delivery_by_owner ON webhook_delivery (owner, state);
