-- How often a job was placed again because it lost its node.
ALTER TABLE job_spec ADD COLUMN moves BIGINT NOT NULL DEFAULT 0;
