//! The catalogue of apps.

use crate::app::{Control, DisplayMode, GpuClass, Shelf};
use crate::id::AppId;
use crate::job::JobSpec;
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

/// A job that is ready to be started, as it is or changed: what `POST /v1/sessions` takes as `job`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Recipe {
    /// Its name, such as `embeddings`.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The job.
    pub job: JobSpec,
}

/// `GET /v1/recipes`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecipeList {
    /// Sorted by id.
    pub recipes: Vec<Recipe>,
}

/// `GET /v1/apps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct AppList {
    /// The catalogue, sorted by title.
    pub apps: Vec<App>,
}
