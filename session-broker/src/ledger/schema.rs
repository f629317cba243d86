//! The ledger's schema, from nothing to what this broker knows: one file a migration, none of them ever
//! edited.

use super::dialect::Engine;
use sqlx::migrate::{Migration, MigrationType};
use sqlx::{AssertSqlSafe, SqlSafeStr};

/// Migrations, oldest first. The last number is the schema that this broker knows.
const MIGRATIONS: [(i64, &str, &str); 38] = [
    (
        1,
        "ledger",
        include_str!("../../migrations/0001_ledger.sql"),
    ),
    (
        2,
        "enrolment",
        include_str!("../../migrations/0002_enrolment.sql"),
    ),
    (
        3,
        "identity",
        include_str!("../../migrations/0003_identity.sql"),
    ),
    (
        4,
        "brokers",
        include_str!("../../migrations/0004_brokers.sql"),
    ),
    (
        5,
        "nearness",
        include_str!("../../migrations/0005_nearness.sql"),
    ),
    (6, "apps", include_str!("../../migrations/0006_apps.sql")),
    (
        7,
        "priority",
        include_str!("../../migrations/0007_priority.sql"),
    ),
    (
        8,
        "raised",
        include_str!("../../migrations/0008_raised.sql"),
    ),
    (9, "jobs", include_str!("../../migrations/0009_jobs.sql")),
    (10, "usage", include_str!("../../migrations/0010_usage.sql")),
    (11, "gpus", include_str!("../../migrations/0011_gpus.sql")),
    (
        13,
        "clusters",
        include_str!("../../migrations/0013_clusters.sql"),
    ),
    (
        14,
        "registries",
        include_str!("../../migrations/0014_registries.sql"),
    ),
    (
        15,
        "volumes",
        include_str!("../../migrations/0015_volumes.sql"),
    ),
    (
        16,
        "webhooks",
        include_str!("../../migrations/0016_webhooks.sql"),
    ),
    (17, "moves", include_str!("../../migrations/0017_moves.sql")),
    (
        18,
        "image policy",
        include_str!("../../migrations/0018_image_policy.sql"),
    ),
    (
        19,
        "reclaim",
        include_str!("../../migrations/0019_reclaim.sql"),
    ),
    (
        21,
        "volume usage",
        include_str!("../../migrations/0021_volume_usage.sql"),
    ),
    (
        22,
        "usage facts",
        include_str!("../../migrations/0022_usage_facts.sql"),
    ),
    (
        23,
        "receipts",
        include_str!("../../migrations/0023_receipts.sql"),
    ),
    (
        24,
        "checkers",
        include_str!("../../migrations/0024_checkers.sql"),
    ),
    (
        25,
        "verdicts",
        include_str!("../../migrations/0025_verdicts.sql"),
    ),
    (
        26,
        "stakes",
        include_str!("../../migrations/0026_stakes.sql"),
    ),
    (
        27,
        "session receipts",
        include_str!("../../migrations/0027_session_receipts.sql"),
    ),
    (
        30,
        "scores of claims",
        include_str!("../../migrations/0030_scores.sql"),
    ),
    (31, "seats", include_str!("../../migrations/0031_seats.sql")),
    (
        32,
        "directory pages",
        include_str!("../../migrations/0032_directory_pages.sql"),
    ),
    (
        34,
        "streams",
        include_str!("../../migrations/0034_streams.sql"),
    ),
    (
        37,
        "evidence",
        include_str!("../../migrations/0037_evidence.sql"),
    ),
    (
        38,
        "resources of tenants",
        include_str!("../../migrations/0038_tenant_resources.sql"),
    ),
    (39, "runs", include_str!("../../migrations/0039_runs.sql")),
    (
        41,
        "upkeep",
        include_str!("../../migrations/0041_upkeep.sql"),
    ),
    (
        42,
        "grounds",
        include_str!("../../migrations/0042_grounds.sql"),
    ),
    (
        46,
        "checks",
        include_str!("../../migrations/0046_checks.sql"),
    ),
    (
        47,
        "beacon",
        include_str!("../../migrations/0047_beacon.sql"),
    ),
    (
        48,
        "proved",
        include_str!("../../migrations/0048_proved.sql"),
    ),
    (
        49,
        "revocations",
        include_str!("../../migrations/0049_revocations.sql"),
    ),
];

/// The schema that this broker makes.
pub(super) fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, _, _)| *version)
}

/// All of them, as an engine reads them.
pub(super) fn migrations(engine: Engine) -> [Migration; MIGRATIONS.len()] {
    MIGRATIONS.map(|(version, what, sql)| {
        // Made of a constant of ours alone.
        let sql = AssertSqlSafe(engine.render(sql)).into_sql_str();
        Migration::new(version, what.into(), MigrationType::Simple, sql, false)
    })
}
