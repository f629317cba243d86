//! `[jobs]`: the listener for whoever talks to jobs.

use super::{InvalidConfig, TlsFiles};
use nearlight_kit::join::is_address;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a browser resolves to loopback, with every name below it (RFC 6761 section 6.3).
const LOCAL: &str = "localhost";

/// What the file says. It explains each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct JobsFile {
    pub listen: String,
    pub domain: String,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub public_port: u16,
    pub tunnel_address: String,
    pub volumes_mib_max: u64,
    pub prefetch: Vec<PathBuf>,
}

/// What the broker runs with.
#[derive(Clone, Debug, Serialize)]
pub struct JobsSettings {
    /// The listener.
    pub listen: SocketAddr,
    /// The names of sessions are below it.
    pub domain: String,
    /// Its certificate.
    pub tls: Option<TlsFiles>,
    /// The port that callers use; `None` for the listener's own.
    pub public_port: Option<u16>,
}

impl JobsFile {
    /// The settings, `None` where there is no endpoint.
    pub(super) fn checked(&self) -> Result<Option<JobsSettings>, InvalidConfig> {
        let wrong = |key, problem: String| InvalidConfig::Value { key, problem };
        if self.listen.is_empty() {
            return Ok(None);
        }
        let listen: SocketAddr = self.listen.parse().map_err(|_| {
            let problem = format!("is `{}`; give an address such as 0.0.0.0:8444", self.listen);
            wrong("jobs.listen", problem)
        })?;
        let (has_cert, has_key) = (
            !self.cert.as_os_str().is_empty(),
            !self.key.as_os_str().is_empty(),
        );
        if has_cert != has_key {
            return Err(wrong(
                "jobs.cert",
                "needs jobs.key beside it, or neither".to_owned(),
            ));
        }
        let tls = has_cert.then(|| TlsFiles {
            cert: self.cert.clone(),
            key: self.key.clone(),
        });
        if tls.is_none() && !listen.ip().is_loopback() {
            let problem = format!(
                "is {listen}, which others can reach: plain http is for loopback only. Set jobs.cert and \
                 jobs.key, for a certificate of *.DOMAIN, or listen on 127.0.0.1"
            );
            return Err(wrong("jobs.listen", problem));
        }
        let domain = match self.domain.as_str() {
            "" if tls.is_none() => LOCAL.to_owned(),
            "" => {
                let problem = "is missing; give the name below which sessions get theirs, such as \
                               jobs.example.org"
                    .to_owned();
                return Err(wrong("jobs.domain", problem));
            }
            domain => domain.to_ascii_lowercase(),
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if !domain.bytes().all(is_name) || domain.starts_with('.') || domain.ends_with('.') {
            let problem = format!("is `{domain}`; give a name such as jobs.example.org");
            return Err(wrong("jobs.domain", problem));
        }
        Ok(Some(JobsSettings {
            listen,
            domain,
            tls,
            public_port: (self.public_port != 0).then_some(self.public_port),
        }))
    }

    /// Where nodes reach this very broker; `None` for where they dialled it.
    pub(super) fn tunnel_address(&self) -> Result<Option<String>, InvalidConfig> {
        let address = &self.tunnel_address;
        if !address.is_empty() && !is_address(address) {
            return Err(InvalidConfig::Value {
                key: "jobs.tunnel_address",
                problem: format!(
                    "is `{address}`; give HOST:PORT, such as broker-a.example.org:8443"
                ),
            });
        }
        Ok((!address.is_empty()).then(|| address.clone()))
    }
}
