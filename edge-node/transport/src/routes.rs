//! Which attachment a datagram is for.
//!
//! A new address is told by the ICE user name that its first STUN request carries; once that request
//! has proved itself, by the address alone. Bounded by the attachments there are, each with a bounded
//! number of addresses.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Names an attachment within the loop; never used twice.
pub(crate) type AttachmentKey = u64;

/// The two tables.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_ufrag: HashMap<String, AttachmentKey>,
    by_address: HashMap<SocketAddr, AttachmentKey>,
}

impl Routes {
    /// Expects requests for `ufrag`.
    pub(crate) fn expect(&mut self, ufrag: &str, key: AttachmentKey) {
        self.by_ufrag.insert(ufrag.to_owned(), key);
    }

    /// Notes that `address` proved to belong to `key`.
    pub(crate) fn learn(&mut self, address: SocketAddr, key: AttachmentKey) {
        self.by_address.insert(address, key);
    }

    pub(crate) fn of_ufrag(&self, ufrag: &str) -> Option<AttachmentKey> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(crate) fn of_address(&self, address: SocketAddr) -> Option<AttachmentKey> {
        self.by_address.get(&address).copied()
    }

    /// Entries of both tables.
    pub(crate) fn len(&self) -> usize {
        self.by_ufrag.len() + self.by_address.len()
    }

    /// Forgets an attachment.
    pub(crate) fn forget(
        &mut self,
        key: AttachmentKey,
        ufrag: &str,
        addresses: impl Iterator<Item = SocketAddr>,
    ) {
        self.by_ufrag.remove(ufrag);
        for address in addresses {
            self.forget_address(key, address);
        }
    }

    /// Forgets an address of an attachment's, unless it has come to belong to a newer one of the same
    /// browser.
    pub(crate) fn forget_address(&mut self, key: AttachmentKey, address: SocketAddr) {
        if self.of_address(address) == Some(key) {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_address_that_moved_on_is_not_forgotten_with_its_old_owner() {
        let address: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let mut routes = Routes::default();
        routes.expect("first", 1);
        routes.learn(address, 1);
        routes.expect("second", 2);
        routes.learn(address, 2);
        routes.forget(1, "first", [address].into_iter());
        assert_eq!(routes.of_ufrag("first"), None);
        assert_eq!(routes.of_ufrag("second"), Some(2));
        assert_eq!(routes.of_address(address), Some(2));
        routes.forget(2, "second", [address].into_iter());
        assert_eq!(routes.of_address(address), None);
    }
}
