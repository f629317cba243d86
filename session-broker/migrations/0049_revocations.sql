-- Which entry of the log revokes a check, by its place: it weighs nothing any more.
ALTER TABLE checked ADD COLUMN revoked BIGINT;

-- Keys of which the log says that what they signed from then on is void, and the entry that says so. Of several the
-- earliest time counts.
CREATE TABLE void_key (
    key_id  TEXT    NOT NULL PRIMARY KEY,
    from_s  BIGINT  NOT NULL,
    place   BIGINT  NOT NULL
);
