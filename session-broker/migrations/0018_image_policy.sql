-- Which images jobs of an owner may have. `allow` is a JSON list of prefixes, empty for any; `image_key` the PEM of
-- the key that has to have signed them.
CREATE TABLE image_policy (
    owner      TEXT  NOT NULL PRIMARY KEY,
    allow      TEXT  NOT NULL,
    image_key  TEXT
);
