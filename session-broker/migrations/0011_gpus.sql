-- GPUs one by one: a row for each that a live claim has, and none else. The key is the guard: the engine
-- itself refuses to give a GPU, or a MIG slice, to two claims.
CREATE TABLE claim_gpu (
    node_id   TEXT    NOT NULL,
    gpu_uuid  TEXT    NOT NULL,
    slot_id   TEXT    NOT NULL,
    epoch     BIGINT  NOT NULL,
    PRIMARY KEY (node_id, gpu_uuid)
);
CREATE INDEX claim_gpu_by_claim ON claim_gpu (slot_id, epoch);

-- One job had all of a node's. A broker of before still takes it so: its claims name none, and then all
-- are taken.
DROP INDEX claim_live_gpus;
