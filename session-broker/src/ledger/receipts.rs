//! What the ledger has of the log of receipts: its head, what stands in it, and whose keys are whose.

use super::AuditRow;
use super::stakes::Transfer;
use super::verdicts::Folded;
use nearlight_protocol::id::{SessionId, TenantId, UserId};
use nearlight_protocol::unit::UnixMillis;

/// The head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its name.
    pub origin: String,
    /// The public key that signs, 64 hex digits.
    pub key: String,
    /// How many entries it has.
    pub size: u64,
    /// The root over them, hex.
    pub root: String,
    /// The size of the last checkpoint that was witnessed.
    pub witnessed_size: u64,
    /// That checkpoint, with its cosignatures; empty if there is none.
    pub witnessed: String,
}

/// What is known of an entry without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Its place, from zero.
    pub place: u64,
    /// Its leaf, hex.
    pub leaf: String,
    /// Its kind, such as `porc/v1`.
    pub kind: String,
    /// Who issued it: a key id.
    pub issuer: String,
    /// What it is about: a key id, a commitment or a leaf, hex.
    pub about: String,
    /// When, Unix seconds.
    pub issued_at_s: u64,
}

/// What a receipt rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRow {
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
    /// Until when it is kept, Unix seconds.
    pub kept_until_s: u64,
}

/// The receipt of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReceiptRow {
    /// Which session.
    pub session: SessionId,
    /// Whose it was.
    pub user: UserId,
    /// That user's tenant.
    pub tenant: Option<TenantId>,
    /// Its place in the log.
    pub place: u64,
    /// Its leaf, hex.
    pub leaf: String,
    /// What opens its commitment, hex.
    pub salt: String,
    /// Whether node and player agree, as the receipt has it.
    pub agreement: String,
    /// When it was noted.
    pub logged_ms: UnixMillis,
}

/// Entries that were appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// Size and root before.
    pub from: (u64, String),
    /// Size and root after.
    pub to: (u64, String),
    /// The new entries.
    pub rows: Vec<ReceiptRow>,
    /// What they rest on, each hash once. A ledger that one broker alone has does not keep it: see
    /// [`LogChange::Evidence`].
    pub evidence: Vec<EvidenceRow>,
    /// When.
    pub at_ms: UnixMillis,
}

/// A key of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryKey {
    /// The key, 64 hex digits.
    pub key: String,
    /// What it may do, as the directory names it.
    pub role: String,
    /// Who runs it.
    pub operator: String,
    /// The licence that was delegated to it, by key id.
    pub licence: Option<String>,
    /// From when it counts, Unix seconds.
    pub from_s: u64,
    /// Until when, Unix seconds.
    pub until_s: u64,
    /// When it was revoked, Unix seconds.
    pub revoked_at_s: Option<u64>,
}

/// An edition of the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryRows {
    /// Which.
    pub serial: u64,
    /// Since when, Unix seconds.
    pub issued_at_s: u64,
    /// Its keys, by key and role.
    pub keys: Vec<DirectoryKey>,
}

/// A change of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogChange {
    /// A log without entries, if there is none yet.
    Begin {
        /// Its name.
        origin: String,
        /// The public key that signs, hex.
        key: String,
        /// The root over nothing, hex.
        root: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// Entries were appended; [`super::Applied::RaceLost`] if size and root are not what they were.
    Advance(Box<Advance>),
    /// An entry is the receipt of a session. Once is enough: the first stays.
    SessionReceipt(Box<SessionReceiptRow>),
    /// The log goes on under another name: what was published under the former one may be more than this
    /// ledger knows. [`super::Applied::Missing`] if there is none.
    Rename {
        /// The new name is the old one, a slash and this.
        suffix: String,
    },
    /// A checkpoint was witnessed; one that is not larger than the last is left out.
    Witnessed {
        /// Its size.
        size: u64,
        /// As it is shown.
        note: String,
    },
    /// A piece of evidence is here, that a receipt names: it is kept until then, or longer if it was to be. Rows are written as
    /// pieces come, and not as receipts name them: hashes go everywhere in an index, and a receipt names six.
    Evidence(EvidenceRow),
    /// Entries of the log were gone through; [`super::Applied::RaceLost`] if another broker did.
    Fold(Box<Folded>),
    /// Something moves between accounts.
    Transfer(Box<Transfer>),
    /// A key comes into the directory, or its window or operator changes. What is already so is
    /// [`super::Applied::Skipped`], and what is full [`super::Applied::QuotaUsedUp`].
    PutKey {
        /// The key.
        key: DirectoryKey,
        /// How many keys the directory may have.
        most: u32,
        /// When, Unix seconds.
        at_s: u64,
    },
    /// A key does not count from then on; [`super::Applied::Missing`] if it is in no role. Once is enough.
    RevokeKey {
        /// The key, hex.
        key: String,
        /// When, Unix seconds.
        at_s: u64,
    },
}

/// Which entries are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptQuery {
    /// Those about this, hex; `None` for all.
    pub about: Option<String>,
    /// Those with this leaf, hex.
    pub leaf: Option<String>,
    /// Those before this place; `None` for the newest.
    pub before: Option<u64>,
    /// How many at most.
    pub max: u32,
}

/// A change of the log with its line of the audit log.
pub(super) type Change<'a> = (super::plan::At, &'a LogChange, Option<&'a AuditRow>);
