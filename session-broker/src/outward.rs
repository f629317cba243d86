//! What this broker dials because a tenant named it: public addresses, and what the operator allows.
//!
//! A name is resolved once for a connection, every address that it has is checked, and one of those
//! is dialled: there is no second look-up that could say otherwise.
//!
//! **What it does not know:** what is asked there.

use nearlight_kit::network::{Network, is_public};
use std::net::IpAddr;
use std::sync::Arc;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Resolves names to addresses that may be dialled.
#[derive(Debug)]
pub(crate) struct Outward {
    /// `HOST` or `HOST:PORT` of whatever address.
    pub(crate) names: Arc<[String]>,
    /// Addresses of whatever name.
    pub(crate) networks: Arc<[Network]>,
    system: DefaultResolver,
}

impl Outward {
    /// Public addresses, and these.
    pub(crate) fn new(names: Arc<[String]>, networks: Arc<[Network]>) -> Self {
        Self {
            names,
            networks,
            system: DefaultResolver::default(),
        }
    }
}

impl Resolver for Outward {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        let named = uri.authority().map_or("", |authority| authority.as_str());
        let may = |ip: IpAddr| is_public(ip) || self.networks.iter().any(|of| of.has(ip));
        let is_named = self.names.iter().any(|name| name == named);
        match is_named || found.iter().all(|address| may(address.ip())) {
            true => Ok(found),
            false => Err(ureq::Error::HostNotFound),
        }
    }
}
