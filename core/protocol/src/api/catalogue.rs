//! The catalogue of apps.

use crate::app::{Control, DisplayMode, GpuClass, Shelf};
use crate::id::AppId;
use serde::{Deserialize, Serialize};

/// One app as the lobby shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct App {
    /// Its name in URLs.
    #[schema(value_type = String)]
    pub id: AppId,
    /// Its name for people.
    pub title: String,
    /// One or two sentences.
    pub summary: String,
    /// URL path of its picture.
    pub picture: String,
    /// Which shelf it stands on.
    pub shelf: Shelf,
    /// What its keys do.
    pub controls: Vec<Control>,
    /// The GPU class it needs.
    pub gpu: GpuClass,
    /// The display it is started with.
    pub display: DisplayMode,
    /// Whether some node can run it now or later.
    pub available: bool,
    /// Whether its saves persist.
    pub saves: bool,
}

/// `GET /v1/apps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct AppList {
    /// The catalogue, sorted by title.
    pub apps: Vec<App>,
}
