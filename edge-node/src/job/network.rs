//! A network of a job's own: its name, its bridge, its addresses.
//!
//! Engines have thirty-one networks to give by themselves, so each is chosen from a range that the operator may
//! set: sixteen addresses, of which the host has the first and the container the second. What two nodes of one
//! host choose may meet; the engine refuses, and another one is tried.

use nearlight_protocol::id::SessionId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// Bits of a job's network.
const SUBNET_BITS: u32 = 28;
/// Letters of a session's id that tell networks apart on one host: sixty random bits.
const TAIL: usize = 12;

/// The addresses that jobs' networks are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub(crate) struct Pool {
    first: u32,
    bits: u32,
}

impl FromStr for Pool {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "takes a private IPv4 network of 8 to 26 bits, such as 10.231.0.0/16";
        let (address, bits) = text.split_once('/').ok_or(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong)?;
        let bits: u32 = bits.parse().map_err(|_| wrong)?;
        let first = u32::from(address);
        let is_whole = (8..=26).contains(&bits) && first & (u32::MAX >> bits) == 0;
        if is_whole && address.is_private() {
            Ok(Self { first, bits })
        } else {
            Err(wrong)
        }
    }
}

impl From<Pool> for String {
    fn from(pool: Pool) -> Self {
        format!("{}/{}", Ipv4Addr::from(pool.first), pool.bits)
    }
}

impl Pool {
    /// The network to try for a session at an attempt.
    pub(crate) fn subnet(&self, session: &SessionId, attempt: u32) -> Subnet {
        let first = self.range(session.as_str(), SUBNET_BITS, attempt);
        Subnet(first.unwrap_or_else(|| Ipv4Addr::from(self.first)))
    }

    /// The first address of a network of so many bits, to be tried for `name` at an attempt; `None` if
    /// there is none so large.
    pub(crate) fn range(&self, name: &str, bits: u32, attempt: u32) -> Option<Ipv4Addr> {
        let count = 1_u32 << bits.checked_sub(self.bits)?;
        // FNV-1a: any hash that spreads will do.
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let index = hash.wrapping_add(attempt) % count;
        Some(Ipv4Addr::from(self.first + (index << (32 - bits))))
    }
}

/// The network of one job, by its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Subnet(Ipv4Addr);

impl Subnet {
    /// The host's address on its bridge.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0) + 1)
    }

    /// The container's.
    pub(crate) fn container(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.0) + 2)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{SUBNET_BITS}", self.0)
    }
}

/// The network's name at the engine.
pub(crate) fn name(session: &SessionId) -> String {
    format!("nearlight-{session}")
}

/// The name of its bridge: all that the kernel allows, 15 bytes.
pub(crate) fn bridge(session: &SessionId) -> String {
    format!("nl-{}", tail_of(session).to_ascii_lowercase())
}

/// The name of its chain of rules for what goes to the host itself.
pub(crate) fn chain_inward(session: &SessionId) -> String {
    format!("NI-{}", tail_of(session).to_ascii_uppercase())
}

/// The name of its chain of rules for what goes further.
pub(crate) fn chain(session: &SessionId) -> String {
    format!("NL-{}", tail_of(session).to_ascii_uppercase())
}

/// What of a session's id tells it apart on one host.
pub(crate) fn tail_of(session: &SessionId) -> &str {
    let id = session.as_str();
    &id[id.len().saturating_sub(TAIL)..]
}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn networks_come_from_the_range_and_differ() {
        let pool: Pool = "10.231.0.0/24".parse().unwrap();
        assert_eq!(String::from(pool), "10.231.0.0/24");
        let session = nearlight_kit::ids::session();
        let all: BTreeSet<_> = (0..16)
            .map(|n| pool.subnet(&session, n).to_string())
            .collect();
        assert_eq!(all.len(), 16);
        assert!(
            all.iter()
                .all(|s| s.starts_with("10.231.0.") && s.ends_with("/28"))
        );
        let subnet = Subnet(Ipv4Addr::new(10, 231, 0, 16));
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 231, 0, 17));
        assert_eq!(subnet.container(), Ipv4Addr::new(10, 231, 0, 18));
        for bad in [
            "",
            "10.231.0.0",
            "10.231.0.0/27",
            "10.231.0.1/24",
            "203.0.113.0/24",
            "fd00::/8",
            "10.0.0.0/7",
        ] {
            bad.parse::<Pool>().unwrap_err();
        }
    }

    #[test]
    fn names_fit_and_tell_sessions_apart() {
        let (one, two) = (nearlight_kit::ids::session(), nearlight_kit::ids::session());
        assert_eq!(bridge(&one).len(), 15);
        assert!(chain(&one).len() <= 28);
        assert_ne!(bridge(&one), bridge(&two));
        assert_ne!(chain(&one), chain(&two));
    }
}
