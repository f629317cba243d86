//! Rows of volumes, and what is taken of them.

use nearlight_protocol::id::{NodeId, SessionId, VolumeId};
use nearlight_protocol::unit::UnixMillis;
use nearlight_protocol::volume::{Volume, VolumeState};

/// A volume's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRow {
    /// Its id.
    pub id: VolumeId,
    /// A tenant, or a user who has none.
    pub owner: String,
    /// Its name; unique for its owner, but for those that are deleted.
    pub name: String,
    /// The node that it is on.
    pub node: NodeId,
    /// MiB.
    pub size_mib: u32,
    /// The session that has it, whose claim lives.
    pub used_by: Option<SessionId>,
    /// When it was first taken.
    pub created_ms: UnixMillis,
    /// When it was last taken.
    pub used_ms: UnixMillis,
    /// Whether its node ever said that it has it.
    pub made: bool,
    /// Whether its node has it no more.
    pub lost: bool,
    /// Whether its owner has deleted it.
    pub deleted: bool,
}

impl VolumeRow {
    /// How it is.
    pub fn state(&self) -> VolumeState {
        match (self.deleted, self.lost, self.made) {
            (true, _, _) => VolumeState::Wiping,
            (false, true, _) => VolumeState::Lost,
            (false, false, true) => VolumeState::Ready,
            (false, false, false) => VolumeState::New,
        }
    }
}

impl From<VolumeRow> for Volume {
    fn from(row: VolumeRow) -> Self {
        Self {
            state: row.state(),
            id: row.id,
            name: row.name,
            owner: row.owner,
            node: row.node,
            size_mib: row.size_mib,
            session: row.used_by,
            created_ms: row.created_ms,
            used_ms: row.used_ms,
        }
    }
}

/// A volume that a claim takes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeVolume {
    /// Its id.
    pub id: VolumeId,
    /// Whose it is.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Its size from now on, MiB; a row never shrinks.
    pub size_mib: u32,
    /// Whether it has no row yet.
    pub is_new: bool,
    /// What the volumes of its owner may have together, MiB.
    pub owner_mib_max: u64,
}

/// What a node says of the volumes that the ledger has on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumesSeen {
    /// It has them.
    pub there: Vec<VolumeId>,
    /// It had them, and has them no more.
    pub lost: Vec<VolumeId>,
    /// They were deleted, and it has them no more.
    pub wiped: Vec<VolumeId>,
}

impl VolumesSeen {
    /// Whether nothing is new.
    pub fn is_empty(&self) -> bool {
        self.there.is_empty() && self.lost.is_empty() && self.wiped.is_empty()
    }
}
