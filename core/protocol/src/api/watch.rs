//! Links to watch a session, and what a watcher learns.

#[cfg(doc)]
use super::Ticket;
use crate::attach::IceServer;
use crate::id::WatchLinkId;
use crate::unit::UnixMillis;
use serde::{Deserialize, Serialize};

/// `POST /v1/sessions/{id}/watch-links`: the owner lets others watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWatchLink {
    /// Seconds for which the link works, 1 to [`crate::limits::WATCH_LINK_S_MAX`]. It also ends with
    /// its session.
    pub expires_s: u32,
}

/// A watch link that was just made. Its address is told this once: the broker keeps only a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct NewWatchLink {
    /// Its id, to revoke it.
    #[schema(value_type = String)]
    pub id: WatchLinkId,
    /// Path of the page that watches, such as `/watch/<token>`. Whoever has it watches.
    pub url: String,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_unix_ms: UnixMillis,
}

/// A watch link that works, as its owner sees it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct WatchLink {
    /// Its id, to revoke it.
    #[schema(value_type = String)]
    pub id: WatchLinkId,
    /// When it was made.
    #[ts(type = "number")]
    pub created_unix_ms: UnixMillis,
    /// It is void from then on.
    #[ts(type = "number")]
    pub expires_unix_ms: UnixMillis,
}

/// `GET /v1/sessions/{id}/watch-links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct WatchLinkList {
    /// Those that work, oldest first.
    pub links: Vec<WatchLink>,
}

/// `GET /v1/watch/{token}`: what whoever has the link may know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS, utoipa::ToSchema)]
pub struct Watched {
    /// The app's name for people.
    pub title: String,
    /// Whether there is a picture to watch now.
    pub live: bool,
    /// The link is void from then on.
    #[ts(type = "number")]
    pub expires_unix_ms: UnixMillis,
    /// As in [`Ticket`].
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
}
