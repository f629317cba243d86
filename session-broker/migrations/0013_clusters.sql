-- Clusters: several sessions that are claimed together and share one fate (docs/adr/0029).

-- Which replica a session is. The first is the tenant's own; its row says how often the cluster was placed
-- before. The others are made with their claims. All go when the first one is swept, so that a budget
-- counts what replicas of former runs took.
CREATE TABLE cluster_replica (
    session_id     TEXT    NOT NULL PRIMARY KEY,
    cluster_id     TEXT    NOT NULL,
    cluster_run    BIGINT  NOT NULL,
    cluster_rank   BIGINT  NOT NULL
);
-- No run has two of a number.
CREATE UNIQUE INDEX cluster_replica_of ON cluster_replica (cluster_id, cluster_run, cluster_rank);
