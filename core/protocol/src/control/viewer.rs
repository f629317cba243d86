//! Viewers: their offers, and who may watch.

use crate::id::{AttachmentId, SessionId, WatchLinkId};
use serde::{Deserialize, Serialize};

/// The watch links of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionWatchLinks {
    /// The session.
    pub session: SessionId,
    /// Its links that work; at most [`crate::limits::WATCH_LINKS_MAX`].
    pub links: Vec<WatchLinkId>,
}

/// What a viewer asks (draft-ietf-wish-whep).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum WhepAction {
    /// A new attachment: POST.
    Offer {
        /// The id it will have.
        attachment: AttachmentId,
        /// The SDP offer.
        sdp: String,
        /// What the viewer may do.
        #[serde(flatten)]
        role: ViewerRole,
    },
    /// Trickled candidates: PATCH with `application/trickle-ice-sdpfrag` (RFC 8840).
    Patch {
        /// The attachment.
        attachment: AttachmentId,
        /// The fragment.
        fragment: String,
    },
    /// The viewer leaves: DELETE.
    Delete {
        /// The attachment.
        attachment: AttachmentId,
    },
}

/// What a viewer may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum ViewerRole {
    /// The owner, who plays; one at a time.
    Player {
        /// Whether to end the attachment that holds the session.
        take_over: bool,
    },
    /// A guest on a watch link: picture and sound, nothing the other way.
    Watcher {
        /// The link.
        link: WatchLinkId,
    },
}

/// What came of a viewer's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum WhepResult {
    /// The SDP answer to an offer.
    Answer {
        /// With every candidate of the node.
        sdp: String,
    },
    /// Done (PATCH, DELETE).
    Done,
    /// Not done.
    Refused {
        /// Why.
        reason: WhepRefusal,
        /// What to do, for the caller.
        detail: String,
    },
}

/// Why an edge refuses a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhepRefusal {
    /// Another attachment holds the session.
    AttachedElsewhere,
    /// The SDP cannot be parsed or has nothing we can send.
    InvalidOffer,
    /// No such session or attachment here.
    NotFound,
    /// The session has no picture yet.
    NotReady,
    /// As many watch the session, or check their line, as the node allows.
    TooMany,
    /// Another one: the edge is newer than who reads it.
    #[serde(other)]
    Unknown,
}
