-- What a job used of what it had, as its node says: facts, and not money. NULL where nobody can tell.
ALTER TABLE usage_interval ADD COLUMN cpu_ms BIGINT;
ALTER TABLE usage_interval ADD COLUMN mem_mib_peak BIGINT;
ALTER TABLE usage_interval ADD COLUMN gpu_mem_mib_peak BIGINT;
ALTER TABLE usage_interval ADD COLUMN gpu_mem_mib_mean BIGINT;
ALTER TABLE usage_interval ADD COLUMN gpu_busy_percent_mean BIGINT;
