-- Identity: tenants, API keys, players who log in, and the log of what was done. Guests, and the
-- development key, stay in `credential`.

-- An organisation. What its members hold is in `quota` under its id.
CREATE TABLE tenant (
    tenant_id     TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    sessions_max  BIGINT,
    created_ms    BIGINT  NOT NULL,
    suspended_ms  BIGINT
);

CREATE TABLE api_key (
    key_id        TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL,
    tenant_id     TEXT,
    name          TEXT    NOT NULL,
    role          TEXT    NOT NULL,
    -- Names with spaces between; none for all that the role allows.
    scopes        TEXT    NOT NULL,
    sessions_max  BIGINT,
    created_ms    BIGINT  NOT NULL,
    expires_ms    BIGINT,
    last_used_ms  BIGINT,
    revoked_ms    BIGINT
);
CREATE INDEX api_key_by_tenant ON api_key (tenant_id, key_id);

-- A key's secrets: the newest, and former ones until their overlap is over.
CREATE TABLE api_key_secret (
    hash        TEXT    NOT NULL PRIMARY KEY,
    key_id      TEXT    NOT NULL,
    prefix      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    expires_ms  BIGINT
);
CREATE INDEX api_key_secret_by_key ON api_key_secret (key_id);

-- Somebody whom an OpenID provider knows. The first login takes over the guest that it came from.
CREATE TABLE player (
    user_id        TEXT    NOT NULL PRIMARY KEY,
    issuer         TEXT    NOT NULL,
    subject        TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    created_ms     BIGINT  NOT NULL,
    last_login_ms  BIGINT  NOT NULL,
    UNIQUE (issuer, subject)
);

-- Guests that logged in as a player who was there before: their sessions are the player's, too.
CREATE TABLE player_guest (
    guest_id   TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    linked_ms  BIGINT  NOT NULL
);
CREATE INDEX player_guest_by_user ON player_guest (user_id, linked_ms);

-- A player's browsers, by the hash of their cookie.
CREATE TABLE login (
    hash        TEXT    NOT NULL PRIMARY KEY,
    user_id     TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    expires_ms  BIGINT  NOT NULL,
    ended_ms    BIGINT
);
CREATE INDEX login_by_expiry ON login (expires_ms);

-- What was done, by whom, from where. Rows are added, and deleted once they are older than the
-- operator keeps them; none is changed.
CREATE TABLE audit (
    audit_id    {identity},
    at_ms       BIGINT  NOT NULL,
    request_id  TEXT    NOT NULL,
    user_id     TEXT,
    role        TEXT,
    key_id      TEXT,
    tenant_id   TEXT,
    address     TEXT,
    action      TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,
    detail      TEXT    NOT NULL
);
CREATE INDEX audit_by_age ON audit (at_ms);

-- Of whose tenant a session is.
ALTER TABLE session ADD COLUMN tenant_id TEXT;
