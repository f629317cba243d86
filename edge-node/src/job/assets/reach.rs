//! From where assets are fetched: public addresses, and networks that the operator names.
//!
//! A tenant names the URL, and the node asks it from its own network. So every name is looked up here, for each
//! connection and after each redirect, and what is dialled is what was looked at.

use nearlight_kit::network::{Network, is_public};
use std::net::IpAddr;
use std::sync::Arc;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

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
    }
}
