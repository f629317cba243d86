//! Addresses: which ones the public reaches, and networks that an operator names.
//!
//! Whoever dials what a stranger named asks here first, after the name was resolved.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address and how much of it counts, such as `10.2.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Network {
    ip: IpAddr,
    bits: u8,
}

/// Who an address counts as: itself, and of IPv6 its network, for a host has 2^64 of them. One of IPv4 counts as that
/// also where a listener of both families, or a balancer, writes it as IPv6: they would all be one network.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no network; write one as 10.2.0.0/16")]
pub struct NotANetwork;

impl Network {
    /// Whether an address is in it.
    pub fn has(&self, ip: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u8| {
            self.bits == 0 || (one ^ other) >> (width - self.bits) == 0
        };
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(of), IpAddr::V4(ip)) => same(of.to_bits().into(), ip.to_bits().into(), 32),
            (IpAddr::V6(of), IpAddr::V6(ip)) => same(of.to_bits(), ip.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (ip, bits) = text.split_once('/').ok_or(NotANetwork)?;
        let ip: IpAddr = ip.parse().map_err(|_| NotANetwork)?;
        let bits: u8 = bits.parse().map_err(|_| NotANetwork)?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        (bits <= most)
            .then_some(Self { ip, bits })
            .ok_or(NotANetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

/// Whether an address is of the public Internet: in none of the registries of special addresses (RFC 6890).
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = a == 192 && b == 0 && c == 0;
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || shared
        || benchmark
        || protocol)
}

/// Global unicast, without what only carries IPv4.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_6to4 = first == 0x2002;
    let is_special = first == 0x2001 && second < 0x0200;
    let is_documentation = first == 0x2001 && second == 0x0db8;
    is_global && !is_6to4 && !is_special && !is_documentation
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_what_the_public_reaches_is_asked() {
        let public = |ip: &str| is_public(ip.parse().unwrap());
        for ip in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(public(ip), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!public(ip), "{ip}");
        }
    }

    #[test]
    fn an_address_of_ipv4_counts_as_itself_however_it_is_written() {
        let of = |ip: &str| network_of(ip.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
        assert_eq!(of("2001:db8:1:2:3::4"), "2001:db8:1:2::");
    }

    #[test]
    fn a_network_has_what_shares_its_first_bits() {
        let has = |network: &str, ip: &str| {
            let network: Network = network.parse().unwrap();
            network.has(ip.parse().unwrap())
        };
        assert!(has("10.2.0.0/16", "10.2.255.1") && !has("10.2.0.0/16", "10.3.0.1"));
        assert!(has("10.2.0.0/16", "::ffff:10.2.0.1"), "of IPv4 in IPv6");
        assert!(has("fd00::/8", "fd12::1") && !has("fd00::/8", "10.2.0.1"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && has("10.0.0.1/32", "10.0.0.1"));
        for wrong in ["10.0.0.1", "10.0.0.0/33", "x/8", "10.0.0.0/-1", ""] {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }
}
