//! Volumes: directories of a tenant that outlive the jobs that write them.
//!
//! A volume belongs to its [`owner`] and lives on one node, on a file system of a fixed size; the
//! first job that names it makes it. One job has it at a time. It has an id beside its name, and
//! nodes know the id alone: two tenants' volumes of one name never meet.

use crate::id::{NodeId, SessionId, TenantId, UserId, VolumeId};
use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// Whose volumes and assets those of a session are: its tenant's, or its user's who has none.
pub fn owner(tenant: Option<&TenantId>, user: &UserId) -> String {
    tenant.map_or_else(|| user.to_string(), TenantId::to_string)
}

/// Whether a text is what [`owner`] makes.
pub fn is_owner(text: &str) -> bool {
    text.parse::<TenantId>().is_ok() || text.parse::<UserId>().is_ok()
}

/// In place of an owner: what the operator of the network has nodes fetch ahead of jobs is everybody's.
pub const EVERYBODY: &str = "everybody";

/// The name under which an inventory lists an asset: whoever has fetched it, and its digest. That
/// one tenant has a file says nothing of another's right to it.
pub fn asset_name(owner: &str, digest: &str) -> String {
    format!("{owner}/{digest}")
}

/// What a job finds on its node, sent with its start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStorage {
    /// See [`owner`].
    pub owner: String,
    /// Its volumes, in the order of its spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeGrant>,
}

/// A volume that a job may mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeGrant {
    /// Its name in the job's spec.
    pub name: String,
    /// Its id.
    pub volume: VolumeId,
    /// Its size, MiB: one that is smaller grows.
    pub size_mib: u32,
    /// Whether it may be made. One that was here and is not any more is lost, and no job gets an
    /// empty one in its place.
    pub is_new: bool,
}

/// A volume that a node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeHeld {
    /// Its id.
    pub volume: VolumeId,
    /// Its size, MiB.
    pub size_mib: u32,
}

/// The volumes of a node as the ledger knows them; the newest word counts. What is in neither list
/// is nobody's: the node keeps it for days, for a ledger may be restored, and wipes it then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesKnown {
    /// To be kept.
    pub keep: Vec<VolumeId>,
    /// Deleted by their owner: to be wiped at once.
    pub wipe: Vec<VolumeId>,
}

/// A volume as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Volume {
    /// Its id.
    #[schema(value_type = String)]
    pub id: VolumeId,
    /// Its name in jobs' specs. One that is being wiped has it no more: another one may.
    pub name: String,
    /// The tenant, or the user, whose it is.
    pub owner: String,
    /// The node that it is on.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Its size, MiB. It grows with a job that asks for more, and never shrinks.
    pub size_mib: u32,
    /// How it is.
    pub state: VolumeState,
    /// The session that has it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// When it was made, Unix milliseconds.
    pub created_ms: UnixMillis,
    /// When a job had it last, Unix milliseconds.
    pub used_ms: UnixMillis,
}

/// How a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Its first job has it, and its node has not said yet that it is there.
    New,
    /// It is there.
    Ready,
    /// Its node has it no more. It comes back if the node has it again; delete it for an empty one.
    Lost,
    /// It is deleted, and its node has not wiped it yet.
    Wiping,
}

impl VolumeState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Ready => "ready",
            Self::Lost => "lost",
            Self::Wiping => "wiping",
        }
    }
}

/// `GET /v1/volumes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VolumeList {
    /// By owner and name.
    pub volumes: Vec<Volume>,
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_owner_is_an_id_and_no_path() {
        let user = UserId::from_parts(1, [0; 10]);
        let tenant = TenantId::from_parts(1, [0; 10]);
        assert_eq!(owner(Some(&tenant), &user), tenant.as_str());
        assert_eq!(owner(None, &user), user.as_str());
        assert!(is_owner(tenant.as_str()) && is_owner(user.as_str()));
        for not in ["", "..", "ten_", "ten_../../x", "a/b"] {
            assert!(!is_owner(not), "{not}");
        }
    }
}
