//! Tenants, as the API has them.

use super::Priority;
use crate::id::TenantId;
use crate::unit::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize};

/// `POST /v1/tenants`: what a tenant is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantSettings {
    /// Its name, unlike every other's: 1 to 80 characters.
    #[schema(min_length = 1, max_length = 80)]
    pub name: String,
    /// Sessions that its members hold at a time, queued ones counted; no limit without it.
    #[serde(default)]
    pub sessions_max: Option<u32>,
    /// GPUs that its members' jobs have at a time, those of waiting ones counted, of a cluster those of all replicas;
    /// no limit without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus_max: Option<u32>,
    /// CPU that its members' sessions have at a time, counted alike, thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli_max: Option<u32>,
    /// Memory that they have at a time, counted alike, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_mib_max: Option<u32>,
    /// Whether its members are turned away. Their sessions go on.
    #[serde(default)]
    pub suspended: bool,
    /// Where its members stand in the queue.
    #[serde(default)]
    pub priority: Priority,
    /// What its members may spend together in a calendar month (UTC), millionths of the currency's unit; no
    /// limit without it. When it is spent, their sessions end and no new ones begin.
    #[serde(default)]
    pub budget_micro_per_month: Option<u64>,
}

/// `PATCH /v1/tenants/{id}`: what changes of a tenant, as a JSON merge patch (RFC 7396). What is left out stays as
/// it is, so that who changes one limit, or knows of fewer of them, lifts no other; `null` lifts one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantChange {
    /// See [`TenantSettings::name`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, min_length = 1, max_length = 80)]
    pub name: Option<String>,
    /// See [`TenantSettings::sessions_max`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub sessions_max: Option<Option<u32>>,
    /// See [`TenantSettings::gpus_max`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub gpus_max: Option<Option<u32>>,
    /// See [`TenantSettings::cpu_milli_max`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub cpu_milli_max: Option<Option<u32>>,
    /// See [`TenantSettings::mem_mib_max`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub mem_mib_max: Option<Option<u32>>,
    /// See [`TenantSettings::suspended`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = bool)]
    pub suspended: Option<bool>,
    /// See [`TenantSettings::priority`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Priority)]
    pub priority: Option<Priority>,
    /// See [`TenantSettings::budget_micro_per_month`].
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u64>)]
    pub budget_micro_per_month: Option<Option<u64>>,
}

/// A member that stands there, be it `null`.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// A tenant: an organisation whose members see each other's sessions, and nobody else's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tenant {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// Sessions that its members may hold at a time.
    pub sessions_max: Option<u32>,
    /// Sessions that they hold.
    pub sessions_used: u32,
    /// GPUs that their jobs may have at a time.
    #[serde(default)]
    pub gpus_max: Option<u32>,
    /// GPUs that those which wait or run ask for.
    #[serde(default)]
    pub gpus_used: u32,
    /// CPU that their sessions may have at a time, thousandths of a core.
    #[serde(default)]
    pub cpu_milli_max: Option<u32>,
    /// CPU that those which wait or run ask for, thousandths of a core.
    #[serde(default)]
    pub cpu_milli_used: u32,
    /// Memory that their sessions may have at a time, MiB.
    #[serde(default)]
    pub mem_mib_max: Option<u32>,
    /// Memory that those which wait or run ask for, MiB.
    #[serde(default)]
    pub mem_mib_used: u32,
    /// Whether its members are turned away.
    pub suspended: bool,
    /// Where its members stand in the queue.
    #[serde(default)]
    pub priority: Priority,
    /// What its members may spend together in a calendar month, millionths of the currency's unit.
    #[serde(default)]
    pub budget_micro_per_month: Option<u64>,
    /// When it was made.
    pub created_unix_ms: UnixMillis,
}

/// `GET /v1/tenants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TenantList {
    /// Those that the caller may see, oldest first.
    pub tenants: Vec<Tenant>,
}
