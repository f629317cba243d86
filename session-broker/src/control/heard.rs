//! What an edge says, as far as this build knows it.

use super::connection::StreamError;
use nearlight_protocol::control::{FromEdge, Unread};
use nearlight_protocol::id::NodeId;
use tokio_tungstenite::tungstenite::Message;

/// The messages of one stream.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Some had what only a later build knows.
    was_newer: bool,
}

impl Heard {
    /// The message in a frame, if there is one that means something here. A node that is newer than this broker goes
    /// on with what both know.
    pub(super) fn message(
        &mut self,
        frame: &Message,
        node: &NodeId,
    ) -> Result<Option<FromEdge>, StreamError> {
        match parse(frame) {
            Err(StreamError::Unread(Unread::Newer { kind, error })) => {
                crate::metrics::control_unread(kind);
                match std::mem::replace(&mut self.was_newer, true) {
                    false => tracing::warn!(node_id = %node, kind, %error,
                        "the node says what this build does not know: it is newer"),
                    true => tracing::debug!(node_id = %node, kind, %error,
                        "the node says what this build does not know"),
                }
                Ok(None)
            }
            parsed => parsed,
        }
    }
}

/// The message in a frame; `None` for pings, pongs and the close, which the library answers.
pub(super) fn parse(frame: &Message) -> Result<Option<FromEdge>, StreamError> {
    match frame {
        Message::Text(text) => Ok(Some(FromEdge::read(text)?)),
        Message::Binary(_) => Err(StreamError::Protocol("a binary message".to_owned())),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => Ok(None),
    }
}
