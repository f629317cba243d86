//! The way to the listener that takes a checker's certificate: an agent that shows it, wherever that listener is.
//!
//! The listener goes by one name, whatever its addresses: that of every broker's certificate, which the CA that came with the
//! checker's own has signed.

use super::Broker;
use crate::certificate;
use crate::failure::Failure;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::{RwLock, atomic::AtomicU64};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// What every broker's certificate says.
const URL: &str = "https://nearlight-broker";

/// Finds the listener, whoever is asked for.
#[derive(Debug)]
struct At {
    /// `HOST:PORT` each.
    addresses: Vec<String>,
    resolver: DefaultResolver,
}

impl Resolver for At {
    fn resolve(
        &self,
        _uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut all = self.empty();
        let mut failed = ureq::Error::HostNotFound;
        for address in &self.addresses {
            let Ok(uri) = format!("https://{address}/").parse::<Uri>() else {
                continue;
            };
            match self.resolver.resolve(&uri, config, timeout) {
                // Past what fits nobody is tried.
                Ok(found) => found.iter().for_each(|at| drop(all.try_push(*at))),
                Err(error) => failed = error,
            }
        }
        match all.is_empty() {
            true => Err(failed),
            false => Ok(all),
        }
    }
}

impl Broker {
    /// The broker's listener at one of these addresses, as the checker of this directory.
    ///
    /// # Errors
    /// [`Failure::NoCertificate`], [`Failure::Certificate`], [`Failure::File`].
    pub fn shown(data: &Path, addresses: &[String]) -> Result<Self, Failure> {
        Ok(Self {
            agent: RwLock::new(agent(data, addresses)?),
            url: URL.to_owned(),
            bearer: None,
            bytes: AtomicU64::new(0),
        })
    }

    /// Shows what the directory has by now, on connections that are opened from now on.
    ///
    /// # Errors
    /// Those of [`Broker::shown`]; the former certificate is shown on.
    pub fn show(&self, data: &Path, addresses: &[String]) -> Result<(), Failure> {
        let agent = agent(data, addresses)?;
        *self.agent.write().unwrap_or_else(PoisonError::into_inner) = agent;
        Ok(())
    }
}

fn agent(data: &Path, addresses: &[String]) -> Result<Agent, Failure> {
    let [own, believed] = certificate::pem(data)?;
    let (chain, key) = items(&own)?;
    let key = key.ok_or_else(unusable)?;
    let (roots, _) = items(&believed)?;
    let tls = TlsConfig::builder()
        .client_cert(Some(ClientCert::new_with_certs(&chain, key)))
        .root_certs(roots.into())
        .build();
    // A proxy would be asked for a name that no resolver knows.
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(true)
        .proxy(None)
        .tls_config(tls)
        .build();
    let at = At {
        addresses: addresses.to_vec(),
        resolver: DefaultResolver::default(),
    };
    Ok(Agent::with_parts(config, DefaultConnector::default(), at))
}

type Items = (Vec<Certificate<'static>>, Option<PrivateKey<'static>>);

fn items(pem: &str) -> Result<Items, Failure> {
    let (mut certificates, mut key) = (Vec::new(), None);
    for item in parse_pem(pem.as_bytes()) {
        match item.map_err(|_| unusable())? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            PemItem::PrivateKey(of) => key = Some(of),
            _ => {}
        }
    }
    Ok((certificates, key))
}

fn unusable() -> Failure {
    Failure::Certificate("its file holds no certificate and key; `checker join` again".to_owned())
}
