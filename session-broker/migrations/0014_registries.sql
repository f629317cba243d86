-- Credentials for registries. `owner` is a tenant, or a user who has none. Removed ones stay, without
-- their password: an image that was pulled with one may lie on a node, and is not for everybody.
CREATE TABLE registry_login (
    owner       TEXT    NOT NULL,
    registry    TEXT    NOT NULL,
    username    TEXT    NOT NULL,
    sealed      TEXT,
    created_ms  BIGINT  NOT NULL,
    PRIMARY KEY (owner, registry)
);
CREATE INDEX registry_login_by_registry ON registry_login (registry);
