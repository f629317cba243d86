//! Kinds of rows that are over, and go some time later.

/// What is left in the ledger of what is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// Idempotency keys.
    Keys,
    /// Tickets that were used, of sessions that are over.
    Tickets,
    /// Orders that nobody acked, of sessions that are over.
    Orders,
    /// Watch links whose time is over.
    ExpiredLinks,
    /// Watch links that are void.
    RevokedLinks,
    /// Join tokens whose time is over.
    JoinTokens,
    /// Where saves were.
    Saves,
    /// Intervals of claims that can be billed no longer.
    Usage,
    /// And of volumes.
    VolumeUsage,
    /// Notices that arrived, or were dropped.
    Deliveries,
}

impl Remains {
    /// Each kind.
    pub const ALL: [Self; 10] = [
        Self::Keys,
        Self::Tickets,
        Self::Orders,
        Self::ExpiredLinks,
        Self::RevokedLinks,
        Self::JoinTokens,
        Self::Saves,
        Self::Usage,
        Self::VolumeUsage,
        Self::Deliveries,
    ];
}
