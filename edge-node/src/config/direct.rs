//! `[jobs.direct]`: the listener for callers of this node's jobs.

use super::ConfigError;
use nearlight_kit::endpoint::listen::{Asked, Listen, Wrong};
use serde::Deserialize;
use std::path::PathBuf;

/// What the file says. It explains each.
#[derive(Debug, Deserialize)]
pub(super) struct DirectFile {
    listen: String,
    domain: String,
    cert: PathBuf,
    key: PathBuf,
    public_port: u16,
}

impl DirectFile {
    /// Where callers are taken; `None` for nowhere.
    pub(super) fn checked(&self) -> Result<Option<Listen>, ConfigError> {
        let asked = Asked {
            listen: &self.listen,
            domain: &self.domain,
            cert: &self.cert,
            key: &self.key,
            public_port: self.public_port,
        };
        asked.checked().map_err(|wrong| match wrong {
            Wrong::Listen(problem) => ConfigError::Direct("listen", problem),
            Wrong::Cert(problem) => ConfigError::Direct("cert", problem),
            Wrong::Domain(problem) => ConfigError::Direct("domain", problem),
        })
    }
}
