//! Fresh ids: the time now and 80 bits of chance. `core/protocol` defines the shape.

use crate::clock::unix_ms;
use nearlight_protocol::id::{
    AttachmentId, KeyId, NodeId, RequestId, SessionId, SlotId, TenantId, TunnelId, UserId,
    VolumeId, WatchLinkId,
};

/// A new session's id.
pub fn session() -> SessionId {
    SessionId::from_parts(unix_ms(), rand::random())
}

/// A new attachment's id.
pub fn attachment() -> AttachmentId {
    AttachmentId::from_parts(unix_ms(), rand::random())
}

/// A new node's id.
pub fn node() -> NodeId {
    NodeId::from_parts(unix_ms(), rand::random())
}

/// A new slot's id.
pub fn slot() -> SlotId {
    SlotId::from_parts(unix_ms(), rand::random())
}

/// A new owner's id.
pub fn user() -> UserId {
    UserId::from_parts(unix_ms(), rand::random())
}

/// A new request's id.
pub fn request() -> RequestId {
    RequestId::from_parts(unix_ms(), rand::random())
}

/// A new watch link's id.
pub fn watch_link() -> WatchLinkId {
    WatchLinkId::from_parts(unix_ms(), rand::random())
}

/// A new tenant's id.
pub fn tenant() -> TenantId {
    TenantId::from_parts(unix_ms(), rand::random())
}

/// A new API key's id.
pub fn key() -> KeyId {
    KeyId::from_parts(unix_ms(), rand::random())
}

/// A new tunnel's id.
pub fn tunnel() -> TunnelId {
    TunnelId::from_parts(unix_ms(), rand::random())
}

/// A new volume's id.
pub fn volume() -> VolumeId {
    VolumeId::from_parts(unix_ms(), rand::random())
}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_made_in_one_millisecond_differ() {
        let ids: BTreeSet<_> = (0..1000).map(|_| session()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
