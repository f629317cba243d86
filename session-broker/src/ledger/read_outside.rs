//! Reading back what tenants have outside.

use super::outside::{OwnerId, RegistryKnown, RegistryRow};
use super::{Sealed, StoreError};
use nearlight_protocol::registry::ImagePolicy;
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

/// See [`super::Ledger::registries`].
pub(super) async fn registries(
    pool: &AnyPool,
    owner: OwnerId,
) -> Result<Vec<RegistryRow>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM registry_login WHERE owner = $1 AND sealed IS NOT NULL ORDER BY registry",
    )
    .bind(owner.as_str())
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?;
    rows.iter().map(registry).collect()
}

/// See [`super::Ledger::registry`].
pub(super) async fn known(
    pool: &AnyPool,
    owner: OwnerId,
    named: String,
) -> Result<RegistryKnown, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM registry_login WHERE registry = $1
         ORDER BY CASE WHEN owner = $2 THEN 0 ELSE 1 END LIMIT 1",
    )
    .bind(named)
    .bind(owner.as_str())
    .fetch_all(pool)
    .await
    .map_err(StoreError::NotApplied)?;
    let Some(row) = rows.first() else {
        return Ok(RegistryKnown::default());
    };
    let is_own = row.get::<&str, _>("owner") == owner.as_str();
    let has_login = row.get::<Option<&str>, _>("sealed").is_some();
    Ok(RegistryKnown {
        login: (is_own && has_login).then(|| registry(row)).transpose()?,
        is_guarded: true,
    })
}

/// See [`super::Ledger::image_policy`].
pub(super) async fn policy(pool: &AnyPool, owner: OwnerId) -> Result<ImagePolicy, StoreError> {
    let row = sqlx::query("SELECT * FROM image_policy WHERE owner = $1")
        .bind(owner.as_str())
        .fetch_optional(pool)
        .await
        .map_err(StoreError::NotApplied)?;
    let Some(row) = row else {
        return Ok(ImagePolicy::default());
    };
    let allow = serde_json::from_str(row.get("allow"));
    Ok(ImagePolicy {
        allow: allow.map_err(|e| StoreError::Corrupt(e.to_string()))?,
        key: row.get("image_key"),
    })
}

fn registry(row: &AnyRow) -> Result<RegistryRow, StoreError> {
    let created = u64::try_from(row.get::<i64, _>("created_ms"));
    Ok(RegistryRow {
        registry: row.get("registry"),
        username: row.get("username"),
        sealed: Sealed(row.get::<Option<String>, _>("sealed").unwrap_or_default()),
        created_ms: created.map_err(|_| StoreError::Corrupt("created_ms".to_owned()))?,
    })
}
