//! `[jobs]`: the listener for whoever talks to jobs.

use super::InvalidConfig;
use nearlight_kit::endpoint::listen::{Asked, Listen, Wrong};
use nearlight_kit::join::is_address;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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
    pub recipes: PathBuf,
}

impl JobsFile {
    /// The settings, `None` where there is no endpoint.
    pub(super) fn checked(&self) -> Result<Option<Listen>, InvalidConfig> {
        let asked = Asked {
            listen: &self.listen,
            domain: &self.domain,
            cert: &self.cert,
            key: &self.key,
            public_port: self.public_port,
        };
        asked.checked().map_err(|wrong| {
            let (key, problem) = match wrong {
                Wrong::Listen(problem) => ("jobs.listen", problem),
                Wrong::Cert(problem) => ("jobs.cert", problem),
                Wrong::Domain(problem) => ("jobs.domain", problem),
            };
            InvalidConfig::Value { key, problem }
        })
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
