//! How many connections, requests or questions there may be of each at a time: of an address, a tenant, a registry.
//!
//! **Invariant.** Who has none is not in the table, so the table is no larger than their number.

use crate::network::network_of;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What each has under way.
#[derive(Debug)]
pub struct Each<K> {
    most: usize,
    /// Held to count, never across an await.
    open: Arc<Mutex<HashMap<K, usize>>>,
}

/// One that is under way, counted until this is dropped.
#[derive(Debug)]
pub struct Counted<K: Eq + Hash = IpAddr> {
    of: Each<K>,
    whose: K,
}

// Whose they are need not be copied to share the table.
impl<K> Clone for Each<K> {
    fn clone(&self) -> Self {
        Self {
            most: self.most,
            open: self.open.clone(),
        }
    }
}

impl<K: Eq + Hash + Clone> Each<K> {
    /// At most so many of one. 0: as many as there are.
    pub fn new(most: usize) -> Self {
        Self {
            most: match most {
                0 => usize::MAX,
                most => most,
            },
            open: Arc::default(),
        }
    }

    /// Counts one of `whose`; `None` if they have as many as they may have.
    pub fn count(&self, whose: K) -> Option<Counted<K>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(whose.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted {
            of: self.clone(),
            whose,
        })
    }
}

impl<K: Eq + Hash> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.whose);
            }
        }
    }
}

/// What each address has open.
#[derive(Clone, Debug)]
pub struct Addresses(Each<IpAddr>);

impl Addresses {
    /// At most so many of one address, or of one network of IPv6. 0: as many as there are.
    pub fn new(per_address: usize) -> Self {
        Self(Each::new(per_address))
    }

    /// Counts one of `address`; `None` if it has as many as it may have.
    pub fn count(&self, address: IpAddr) -> Option<Counted> {
        self.0.count(network_of(address))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_address_has_its_number_and_gets_it_back() {
        let addresses = Addresses::new(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = addresses.count(one).unwrap();
        let second = addresses.count("::ffff:192.0.2.1".parse().unwrap());
        assert!(addresses.count(one).is_none());
        assert!(addresses.count(other).is_some(), "another address");
        drop(first);
        assert!(addresses.count(one).is_some(), "one was closed");
        drop(second);
        assert!(addresses.0.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_none_is_no_limit() {
        let limited = Addresses::new(1);
        let _first = limited.count("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limited.count("2001:db8::2".parse().unwrap()).is_none());
        let unlimited = Addresses::new(0);
        let all: Vec<_> = (0..64)
            .map(|_| unlimited.count("192.0.2.1".parse().unwrap()))
            .collect();
        assert!(all.iter().all(Option::is_some));
    }
}
