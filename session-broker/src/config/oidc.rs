//! `[oidc]`: the OpenID provider that says who players are.

use super::InvalidConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use url::{Host, Url};

/// What the file says. It explains each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct OidcFile {
    pub issuer: String,
    pub client_id: String,
    pub client_secret_file: PathBuf,
    pub scopes: Vec<String>,
    pub public_url: String,
    pub login_days: u32,
    pub ca_file: PathBuf,
}

/// What the broker runs with.
#[derive(Clone, Serialize)]
pub struct OidcSettings {
    /// The provider, as it calls itself.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// What we show it; public clients have none.
    #[serde(skip)]
    pub client_secret: Option<String>,
    /// What we ask for.
    pub scopes: Vec<String>,
    /// Where browsers reach us, if the Host does not say so.
    pub public_url: Option<String>,
    /// How long a login lasts.
    pub login_days: u32,
    /// The provider's CAs, DER, if it has its own.
    #[serde(skip)]
    pub ca: Option<Vec<Vec<u8>>>,
}

impl std::fmt::Debug for OidcSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcSettings")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl OidcFile {
    /// The settings, `None` if there is no provider.
    pub(super) fn checked(self) -> Result<Option<OidcSettings>, InvalidConfig> {
        if self.issuer.is_empty() {
            return Ok(None);
        }
        check_url("oidc.issuer", &self.issuer)?;
        if !self.public_url.is_empty() {
            check_url("oidc.public_url", &self.public_url)?;
        }
        if self.client_id.is_empty() {
            return Err(wrong(
                "oidc.client_id",
                "is missing: what the provider calls us",
            ));
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err(wrong("oidc.scopes", "lacks `openid`"));
        }
        if !(1..=365).contains(&self.login_days) {
            return Err(wrong("oidc.login_days", "is 1 to 365"));
        }
        Ok(Some(OidcSettings {
            client_secret: secret(&self.client_secret_file)?,
            ca: certificates(&self.ca_file)?,
            issuer: self.issuer,
            client_id: self.client_id,
            scopes: self.scopes,
            public_url: (!self.public_url.is_empty()).then_some(self.public_url),
            login_days: self.login_days,
        }))
    }
}

fn wrong(key: &'static str, problem: impl Into<String>) -> InvalidConfig {
    InvalidConfig::Value {
        key,
        problem: problem.into(),
    }
}

/// Plain http is for loopback: whoever is on the way could be anybody.
pub(super) fn check_url(key: &'static str, text: &str) -> Result<(), InvalidConfig> {
    let url = Url::parse(text).map_err(|error| wrong(key, format!("is no URL: {error}")))?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    };
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) {
        return Ok(());
    }
    Err(wrong(key, "is neither https:// nor on a loopback address"))
}

fn secret(file: &Path) -> Result<Option<String>, InvalidConfig> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let read = std::fs::read_to_string(file);
    let text = read.map_err(|error| {
        let problem = format!("cannot be read: {}: {error}", file.display());
        wrong("oidc.client_secret_file", problem)
    })?;
    Ok(Some(text.trim().to_owned()))
}

fn certificates(file: &Path) -> Result<Option<Vec<Vec<u8>>>, InvalidConfig> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let read: Result<Vec<CertificateDer<'static>>, _> = read;
    let found = read.map_err(|error| {
        let problem = format!("cannot be read: {}: {error:?}", file.display());
        wrong("oidc.ca_file", problem)
    })?;
    Ok(Some(found.iter().map(|der| der.to_vec()).collect()))
}

#[cfg(test)]
mod test {
    use super::*;

    fn file(change: impl FnOnce(&mut OidcFile)) -> Result<Option<OidcSettings>, InvalidConfig> {
        let mut file = OidcFile {
            issuer: "https://idp.example".to_owned(),
            client_id: "nearlight".to_owned(),
            client_secret_file: PathBuf::new(),
            scopes: vec!["openid".to_owned()],
            public_url: String::new(),
            login_days: 30,
            ca_file: PathBuf::new(),
        };
        change(&mut file);
        file.checked()
    }

    #[test]
    fn a_provider_is_off_without_an_issuer_and_on_with_all_that_it_needs() {
        assert!(file(|f| f.issuer.clear()).unwrap().is_none());
        assert!(file(|_| {}).unwrap().is_some());
        let local = file(|f| f.issuer = "http://127.0.0.1:9".to_owned());
        assert!(local.unwrap().is_some());
    }

    #[test]
    fn what_a_provider_lacks_is_named() {
        type Spoil = fn(&mut OidcFile);
        let cases: [(&str, Spoil); 7] = [
            ("oidc.issuer", |f| f.issuer = "http://idp.example".into()),
            ("oidc.issuer", |f| f.issuer = "idp".into()),
            ("oidc.public_url", |f| {
                f.public_url = "http://play.example".into()
            }),
            ("oidc.client_id", |f| f.client_id.clear()),
            ("oidc.scopes", |f| f.scopes.clear()),
            ("oidc.login_days", |f| f.login_days = 0),
            ("oidc.client_secret_file", |f| {
                f.client_secret_file = "/nowhere/secret".into();
            }),
        ];
        for (key, spoil) in cases {
            let error = file(spoil).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
