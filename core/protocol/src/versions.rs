//! Versions of apps and where they are live, as the HTTP API has them. The descriptions themselves are
//! [`crate::app`]'s.

use crate::id::AppId;
use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// One version of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppVersion {
    /// Its number, from 1.
    pub version: u32,
    /// SHA-256 of its description, in hex: the same description is the same version.
    pub digest: String,
    /// The image that it runs.
    pub image: String,
    /// When it was added.
    pub created_unix_ms: UnixMillis,
    /// Who added it; nobody where it came with the broker's files.
    pub added_by: Option<String>,
    /// Whether sessions get it.
    pub state: VersionState,
}

/// Whether sessions get a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// Wherever no other one is staged.
    Live,
    /// In some metros.
    Staged,
    /// It was live before the one that is now; a rollback makes it live again.
    Former,
    /// No.
    Idle,
}

/// A metro that has another version than the live one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StagedMetro {
    /// The region, as its nodes say it.
    pub metro: String,
    /// What sessions that are placed there get.
    pub version: u32,
}

/// `GET /v1/apps/{app}/versions`: an app and its versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppVersions {
    /// The app.
    #[schema(value_type = String)]
    pub id: AppId,
    /// Its name for people, as the live version has it.
    pub title: String,
    /// Whether it can be started: an app whose file is gone cannot.
    pub withdrawn: bool,
    /// The live version.
    pub live: u32,
    /// What a rollback makes live, where no metro is staged.
    pub former: Option<u32>,
    /// Metros with another version, by name.
    pub staged: Vec<StagedMetro>,
    /// Its versions, newest first.
    pub versions: Vec<AppVersion>,
}

/// `PUT /v1/apps/{app}/rollout`: who gets a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollOut {
    /// Which.
    pub version: u32,
    /// Sessions that are placed in these metros, beside what was staged before; without any, all
    /// sessions everywhere, and nothing is staged any more.
    #[serde(default)]
    pub metros: Vec<String>,
}
