-- Apps as versioned entries. What a version is, is in `app_edition` under its digest; a session keeps
-- the edition that it was placed with.

-- `seeded` is the digest that the broker's files had last; empty for an app that came by the API. `rev`
-- counts the changes of the app: brokers that share the ledger look at the sum of all.
CREATE TABLE app (
    app_id          TEXT    NOT NULL PRIMARY KEY,
    live_version    BIGINT  NOT NULL,
    former_version  BIGINT,
    seeded          TEXT    NOT NULL,
    withdrawn_ms    BIGINT,
    changed_ms      BIGINT  NOT NULL,
    rev             BIGINT  NOT NULL
);

-- `by_user` is empty where the broker's files brought it.
CREATE TABLE app_version (
    app_id      TEXT    NOT NULL,
    version     BIGINT  NOT NULL,
    digest      TEXT    NOT NULL,
    by_user     TEXT,
    created_ms  BIGINT  NOT NULL,
    PRIMARY KEY (app_id, version),
    UNIQUE (app_id, digest)
);

-- Metros whose sessions get another version than the live one.
CREATE TABLE app_rollout (
    app_id    TEXT    NOT NULL,
    metro     TEXT    NOT NULL,
    version   BIGINT  NOT NULL,
    since_ms  BIGINT  NOT NULL,
    PRIMARY KEY (app_id, metro)
);
