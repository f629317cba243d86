//! From where assets are fetched: public addresses, and networks that the operator names.
//!
//! A tenant names the URL, and the node asks it from its own network. So every name is looked up here, for each
//! connection and after each redirect, and what is dialled is what was looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A network, such as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Network {
    first: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network, such as 10.1.0.0/16 or fd00::/8");
        let (first, bits) = text.split_once('/').ok_or_else(wrong)?;
        let first: IpAddr = first.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        (bits <= most)
            .then_some(Self { first, bits })
            .ok_or_else(wrong)
    }
}

impl Network {
    fn has(self, ip: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u32| {
            let rest = width - u32::from(self.bits);
            rest >= 128 || (a ^ b) >> rest == 0
        };
        match (self.first, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Resolves names to what may be asked.
#[derive(Debug)]
pub(super) struct Allowed {
    networks: Arc<[Network]>,
    system: DefaultResolver,
}

impl Allowed {
    pub(super) fn new(networks: &[Network]) -> Self {
        Self {
            networks: networks.into(),
            system: DefaultResolver::default(),
        }
    }

    fn may(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        is_public(ip) || self.networks.iter().any(|network| network.has(ip))
    }
}

impl Resolver for Allowed {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        match found.iter().all(|address| self.may(address.ip())) {
            true => Ok(found),
            false => Err(ureq::Error::HostNotFound),
        }
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// The registries of special addresses (RFC 6890).
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
    let is_special = first == 0x2001 && second < 0x0200;
    is_global && first != 0x2002 && !is_special && !(first == 0x2001 && second == 0x0db8)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_public_addresses_and_named_networks_are_asked() {
        let none = Allowed::new(&[]);
        let may = |ip: &str| none.may(ip.parse().unwrap());
        for ip in ["1.1.1.1", "93.184.216.34", "2606:4700::1111"] {
            assert!(may(ip), "{ip}");
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
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(!may(ip), "{ip}");
        }
        let some = Allowed::new(&["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let may = |ip: &str| some.may(ip.parse().unwrap());
        for (ip, allowed) in [
            ("10.1.255.1", true),
            ("::ffff:10.1.0.1", true),
            ("fd12::1", true),
            ("10.2.0.1", false),
            ("fe80::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(may(ip), allowed, "{ip}");
        }
        assert!(Allowed::new(&["0.0.0.0/0".parse().unwrap()]).may("127.0.0.1".parse().unwrap()));
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "fd00::/129"] {
            wrong.parse::<Network>().unwrap_err();
        }
    }
}
