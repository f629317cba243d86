//! The broker's signed order to an edge. On the wire an EdDSA JWT whose claims are [`Grant`].

use crate::app::DisplayMode;
use crate::id::{AppId, NodeId, SessionId, SlotId, TenantId, UserId};
use crate::job::JobSpec;
use crate::unit::{U64, UnixMillis};
use serde::{Deserialize, Serialize};

/// The `iss` of every token that a broker signs.
pub const ISSUER: &str = "nearlight-broker";
/// The `typ` header of a grant, so that no other token passes for one (RFC 8725 section 3.11).
pub const GRANT_TYP: &str = "nearlight-grant+jwt";
/// The `typ` header of an attach ticket.
pub const TICKET_TYP: &str = "nearlight-ticket+jwt";

/// The `typ` header of an endpoint ticket, which opens a port of a job.
pub const ENDPOINT_TYP: &str = "nearlight-endpoint+jwt";
/// The `typ` header of one with a scope, or for an address at a node. Brokers before that knew neither: with a type
/// of its own they refuse what they would have taken for a whole ticket.
pub const ENDPOINT_SCOPED_TYP: &str = "nearlight-endpoint-scoped+jwt";

/// The right of one session to one slot of one node, under one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// [`ISSUER`].
    pub iss: String,
    /// The session that may run.
    pub session: SessionId,
    /// The node that may run it.
    pub node: NodeId,
    /// The slot it runs in.
    pub slot: SlotId,
    /// The fencing epoch of the slot. An edge never goes back to a smaller one.
    pub epoch: U64,
    /// Whose session it is: saves are kept by user and app.
    pub user: UserId,
    /// When it was signed.
    pub iat_ms: UnixMillis,
    /// The UUIDs of the GPUs that a job has, and no other session: the node gives it these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// What the ledger says of the session beside. Brokers before it did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<GrantRow>,
}

/// What brings a session's row back, where the ledger has lost it and its node still runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRow {
    /// Its user's tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What it runs.
    #[serde(flatten)]
    pub work: GrantWork,
    /// When it was created.
    pub created_ms: UnixMillis,
    /// CPU that its claim takes, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory that its claim takes, MiB.
    pub mem_mib: u32,
    /// Uplink that its claim takes, kbit/s.
    pub kbps: u32,
    /// Disk that its claim takes, MiB.
    #[serde(default)]
    pub disk_mib: u32,
    /// GPUs that its claim takes.
    #[serde(default)]
    pub gpus: u32,
}

/// What a session runs, as its grant has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum GrantWork {
    /// An app, of which the ledger has the description.
    App {
        /// The app.
        app: AppId,
        /// Its edition: SHA-256 of its description as the ledger keeps it, in hex.
        edition: String,
        /// Its display.
        display: DisplayMode,
        /// Its keyboard.
        keyboard_layout: String,
    },
    /// A job, whole: what the ledger had of it went with its row.
    Job {
        /// Its spec.
        job: Box<JobSpec>,
    },
}

/// The largest spec of a job that a grant carries, bytes of JSON: a node shows all grants when it
/// attaches, in as many messages as that takes. A job with a larger one is stopped where its row is lost.
pub const GRANT_JOB_BYTES_MAX: usize = 4096;
