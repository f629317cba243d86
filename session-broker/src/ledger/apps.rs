//! What the ledger keeps of apps: their versions and where each is live; and the changes of them. These
//! are few, and carried out one by one.
//!
//! **Invariants.** A version is never changed and never goes. The same description is the same version.

use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::{AppId, UserId};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use std::sync::Arc;

/// An app with everything that is known of its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct AppRow {
    /// Its id.
    pub id: AppId,
    /// The version that is live wherever no other one is staged.
    pub live: u32,
    /// The one that was live before.
    pub former: Option<u32>,
    /// Whether it cannot be started: its file is gone.
    pub withdrawn: bool,
    /// Metros with another version, by name.
    pub staged: Vec<(String, u32)>,
    /// Its versions, oldest first.
    pub versions: Vec<VersionRow>,
}

impl AppRow {
    /// One of its versions.
    pub fn version(&self, number: u32) -> Option<&VersionRow> {
        self.versions.iter().find(|row| row.version == number)
    }
}

/// A version of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionRow {
    /// Its number, from 1.
    pub version: u32,
    /// SHA-256 of the description, in hex.
    pub digest: String,
    /// Who added it; `None` where the broker's files brought it.
    pub by: Option<UserId>,
    /// When.
    pub created_ms: UnixMillis,
    /// The description.
    pub app: Arc<AppSpec>,
}

/// A change of apps.
#[derive(Clone, Debug, PartialEq)]
pub enum AppChange {
    /// What the broker's files have. An app whose live version came from a file follows it: a new text
    /// is live at once, and without a file it is withdrawn. What an operator has rolled out stays.
    Seed {
        /// All of them.
        apps: Vec<Arc<AppSpec>>,
        /// When.
        at: MonoTime,
    },
    /// A version, which is not live but for the app's first; [`super::Applied::AppVersion`].
    Add {
        /// The description.
        app: Box<AppSpec>,
        /// Who adds it.
        by: UserId,
        /// When.
        at: MonoTime,
    },
    /// A version is for sessions in some metros, or without any for all; [`super::Applied::Missing`]
    /// if there is none of that number.
    Roll {
        /// The app.
        app: AppId,
        /// The version.
        version: u32,
        /// Where.
        metros: Vec<String>,
        /// When.
        at: MonoTime,
    },
    /// What is staged is not any more; where nothing is, the former version is live again.
    /// [`super::Applied::Missing`] without such an app, [`super::Applied::Skipped`] if there is nothing
    /// to go back to.
    RollBack {
        /// The app.
        app: AppId,
        /// When.
        at: MonoTime,
    },
}
