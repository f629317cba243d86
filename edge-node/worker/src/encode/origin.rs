//! Where a picture comes from, and whose debt it pays.

use crate::ledger::Commit;
use nearlight_protocol::worker::DropReason;

/// Where and when a picture comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When the app committed it.
    pub commit_us: u64,
    /// When it was converted.
    pub captured_us: u64,
    /// Browser time of the newest input before the commit, or 0.
    pub input_us: u64,
    /// Host time at which the agent got that input, or 0.
    pub input_host_us: u64,
}

/// Whose picture it is.
#[derive(Debug)]
pub enum Origin {
    /// Of a commit, which gets settled by what becomes of the picture.
    Commit(Commit),
    /// Of a commit that is settled already: the number of it.
    Repeat(u32),
}

impl Origin {
    /// The commit's number.
    pub(super) fn number(&self) -> u32 {
        match self {
            Self::Commit(commit) => commit.number(),
            Self::Repeat(number) => *number,
        }
    }

    /// The picture made no access unit.
    pub(super) fn dropped(self, reason: DropReason) {
        match self {
            Self::Commit(commit) => commit.dropped(reason),
            Self::Repeat(_) => {}
        }
    }
}
