-- What a session holds of its node's uplink. Without a total, nobody knows what the uplink carries,
-- and it rules nothing out.
ALTER TABLE claim ADD COLUMN kbps BIGINT NOT NULL DEFAULT 0;
ALTER TABLE node_capacity ADD COLUMN uplink_kbps_total BIGINT;
ALTER TABLE node_capacity ADD COLUMN uplink_kbps_free BIGINT;
