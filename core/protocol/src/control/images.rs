//! Images that nodes keep ready.

use crate::app::DisplayMode;
use crate::id::AppId;
use serde::{Deserialize, Serialize};

/// The images that a node is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesWanted {
    /// To be fetched where they are missing, most wanted first; at most
    /// [`crate::limits::IMAGES_WANTED_MAX`].
    pub pull: Vec<String>,
    /// Not to be removed, but not to be fetched either; as many at most.
    pub keep: Vec<String>,
    /// Desktops to be kept ready while there is room, most wanted first; at most
    /// [`crate::limits::WARM_WANTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warm: Vec<WarmWanted>,
    /// Assets of jobs to be fetched for everybody ([`crate::volume::EVERYBODY`]), most wanted first; at most
    /// [`crate::limits::ASSETS_WANTED_MAX`]. Their paths mean nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<crate::job::Asset>,
}

/// Desktops to be kept ready for an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmWanted {
    /// For which app.
    pub app: AppId,
    /// The display that its sessions start with.
    pub display: DisplayMode,
    /// How many.
    pub count: u32,
}

/// Desktops that are ready for an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmReady {
    /// For which app.
    pub app: AppId,
    /// How many.
    pub count: u32,
}

/// An image that a node was to fetch and could not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct ImageFault {
    /// Which.
    pub image: String,
    /// Why, for the operator.
    pub detail: String,
}
