//! How many connections there may be: of all callers together, and of each address.
//!
//! **Invariant.** An address is in the table only while it has connections, so the table is no larger than
//! the number of connections.

use crate::config::CallerLimits;
use crate::rate::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// How many connections one listener takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// At a time; past it new ones wait.
    pub(crate) connections: usize,
    /// At a time of one address, or of one network of IPv6; past it new ones are closed. 0: as many as
    /// there are.
    pub(crate) per_address: usize,
}

impl Room {
    /// What the configuration says of the listeners that anyone reaches.
    pub(crate) fn of(limits: &CallerLimits) -> Self {
        Self {
            connections: limits.connections_max,
            per_address: limits.address_connections_max,
        }
    }
}

/// The connections of each address.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    most: usize,
    /// Held to count, never across an await.
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    of: Addresses,
    address: IpAddr,
}

impl Addresses {
    pub(super) fn new(room: Room) -> Self {
        Self {
            most: match room.per_address {
                0 => usize::MAX,
                most => most,
            },
            open: Arc::default(),
        }
    }

    /// Counts a connection of `address`; `None` if it has as many as it may have.
    pub(super) fn count(&self, address: IpAddr) -> Option<Counted> {
        let address = network_of(address.to_canonical());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Counted {
            of: self.clone(),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn addresses(per_address: usize) -> Addresses {
        Addresses::new(Room {
            connections: 16,
            per_address,
        })
    }

    #[test]
    fn an_address_has_its_number_and_gets_it_back() {
        let addresses = addresses(2);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = addresses.count(one).unwrap();
        let second = addresses.count("::ffff:192.0.2.1".parse().unwrap());
        assert!(addresses.count(one).is_none());
        assert!(addresses.count(other).is_some(), "another address");
        drop(first);
        assert!(addresses.count(one).is_some(), "one was closed");
        drop(second);
        assert!(addresses.open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_none_is_no_limit() {
        let limited = addresses(1);
        let _first = limited.count("2001:db8::1".parse().unwrap()).unwrap();
        assert!(limited.count("2001:db8::2".parse().unwrap()).is_none());
        let unlimited = addresses(0);
        let all: Vec<_> = (0..64)
            .map(|_| unlimited.count("192.0.2.1".parse().unwrap()))
            .collect();
        assert!(all.iter().all(Option::is_some));
    }
}
