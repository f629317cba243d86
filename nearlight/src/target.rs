//! Which broker a command asks, and as whom.
//!
//! **Invariants.** A key goes to the broker that it is for, and nowhere else: a profile's to that profile's URL; the
//! development key of a data directory, which is an administrator's, to the `nearlight up` of that directory, or, where
//! the directory was named, to a broker on this machine. What was named is what counts: a profile brings its own
//! key, and of several profiles of one broker none is guessed.
//!
//! **Does not know** whether anybody answers there, or takes the key.

use crate::cli::Broker;
use crate::client::{ClientError, DEFAULT_DATA};
use crate::profile::{Profiles, same_broker};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use ureq::http::Uri;

/// Where `nearlight up` listens unless it is told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// A broker, and the key for it; empty if there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Target {
    /// What the command line, the environment, the profiles and the data directory come to.
    pub(crate) fn of(broker: &Broker, profiles: &Profiles) -> Result<Self, ClientError> {
        let profile = match (&broker.profile, &broker.url, &broker.data) {
            (Some(name), _, _) => Some(profiles.named(name)?),
            (None, None, None) => profiles.current(),
            (None, _, _) => None,
        };
        let data = data_of(broker);
        let url = match (&broker.url, profile) {
            (Some(url), _) => url.clone(),
            (None, Some(profile)) => profile.url.clone(),
            (None, None) => url_of(&data),
        };
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(ClientError::BadUrl(url));
        }
        let key = match (&broker.token, profile) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(profile)) if same_broker(&profile.url, &url) => Some(profile.key.clone()),
            (None, Some(profile)) => {
                return Err(ClientError::ProfileElsewhere {
                    of: profile.url.clone(),
                    named: url,
                });
            }
            (None, None) if broker.url.is_none() => match development_key(broker, &data, &url) {
                Some(key) => Some(key),
                None => profiles.key_for(&url)?.map(str::to_owned),
            },
            (None, None) => match profiles.key_for(&url)? {
                Some(key) => Some(key.to_owned()),
                None => development_key(broker, &data, &url),
            },
        };
        let key = plain_key(key.as_deref().unwrap_or_default())?.to_owned();
        Ok(Self { url, key })
    }
}

/// Where a `nearlight up` on this machine keeps everything.
pub(crate) fn data_of(broker: &Broker) -> PathBuf {
    broker.data.clone().unwrap_or_else(|| DEFAULT_DATA.into())
}

/// The broker of the `nearlight up` under `data`.
pub(crate) fn url_of(data: &Path) -> String {
    crate::up::running_url(data).unwrap_or_else(|| DEFAULT_URL.to_owned())
}

/// The key without what is around it: what is in it goes into a header.
pub(crate) fn plain_key(key: &str) -> Result<&str, ClientError> {
    let key = key.trim();
    match key.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(key),
        false => Err(ClientError::BadKey),
    }
}

/// The development key under `data`, if it is for the broker at `url`.
fn development_key(broker: &Broker, data: &Path, url: &str) -> Option<String> {
    let is_of_up = crate::up::running_url(data).is_some_and(|of| is_same(&of, url));
    let is_named = broker.data.is_some() && port_here(url).is_some();
    let is_for_it = is_of_up || is_named;
    is_for_it.then(|| std::fs::read_to_string(data.join("dev.key")).ok())?
}

/// Whether two addresses are the same broker's; this machine has several names.
fn is_same(a: &str, b: &str) -> bool {
    let (a_here, b_here) = (port_here(a), port_here(b));
    same_broker(a, b) || (a_here.is_some() && a_here == b_here)
}

/// The port of an address on this machine; 0 for the scheme's.
fn port_here(url: &str) -> Option<u16> {
    let uri = url.parse::<Uri>().ok()?;
    let host = uri.host()?;
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    let is_here = host == "localhost" || address.parse().is_ok_and(is_loopback);
    is_here.then(|| uri.port_u16().unwrap_or(0))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::profile::{Profile, ProfileError};

    fn nobody() -> Broker {
        Broker {
            url: None,
            profile: None,
            token: None,
            data: None,
            json: false,
        }
    }

    /// Two keys of one broker and one of another; the last is current.
    fn profiles() -> Profiles {
        let mut profiles = Profiles::default();
        for (name, url) in [
            ("admin", "https://a.example"),
            ("ci", "https://a.example"),
            ("other", "https://b.example/"),
        ] {
            let key = format!("nlk_{name}");
            profiles.put(
                name,
                Profile {
                    url: url.into(),
                    key,
                },
            );
        }
        profiles
    }

    fn key(broker: &Broker, profiles: &Profiles) -> String {
        Target::of(broker, profiles).unwrap().key
    }

    #[test]
    fn a_profile_brings_its_own_key() {
        let mut profiles = profiles();
        let ci = Broker {
            profile: Some("ci".into()),
            ..nobody()
        };
        assert_eq!(key(&ci, &profiles), "nlk_ci");
        assert_eq!(key(&nobody(), &profiles), "nlk_other");
        let at = |url: &str| Broker {
            url: Some(url.into()),
            ..nobody()
        };
        assert_eq!(key(&at("https://b.example"), &profiles), "nlk_other");
        // Neither is meant more than the other, until one of them is the current one.
        let refused = Target::of(&at("https://a.example/"), &profiles).unwrap_err();
        let ClientError::Profile(ProfileError::Several { names, .. }) = refused else {
            panic!("{refused}");
        };
        assert_eq!(names, "admin, ci");
        profiles.current = Some("ci".into());
        assert_eq!(key(&at("https://a.example"), &profiles), "nlk_ci");
        let contradiction = Broker {
            url: Some("https://b.example".into()),
            ..ci
        };
        assert!(matches!(
            Target::of(&contradiction, &profiles),
            Err(ClientError::ProfileElsewhere { .. })
        ));
    }

    #[test]
    fn the_development_key_stays_on_its_machine() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dev.key"), "nlk_dev\n").unwrap();
        let asked = |url: Option<&str>| Broker {
            url: url.map(str::to_owned),
            data: Some(dir.path().to_owned()),
            ..nobody()
        };
        let none = Profiles::default();
        for at_home in [None, Some("http://[::1]:9/"), Some("http://localhost:9")] {
            assert_eq!(key(&asked(at_home), &none), "nlk_dev", "{at_home:?}");
        }
        for stranger in [
            "https://a.example",
            "http://127.0.0.1.example",
            "http://10.0.0.1:8080",
        ] {
            assert_eq!(key(&asked(Some(stranger)), &none), "", "{stranger}");
        }
        // Without a word of the directory only its own `up` is meant, whatever listens where one would.
        std::fs::write(dir.path().join("up.url"), "http://127.0.0.1:9").unwrap();
        for (url, is_its) in [
            ("http://localhost:9", true),
            ("http://[::1]:9/", true),
            ("http://127.0.0.1:10", false),
        ] {
            let unnamed = Broker {
                url: Some(url.to_owned()),
                ..nobody()
            };
            let found = development_key(&unnamed, dir.path(), url);
            assert_eq!(found.is_some(), is_its, "{url}");
        }
        // Its own `up` may listen anywhere.
        std::fs::write(dir.path().join("up.url"), "http://10.0.0.1:8080").unwrap();
        assert_eq!(key(&asked(Some("http://10.0.0.1:8080/")), &none), "nlk_dev");
    }

    #[test]
    fn a_key_that_is_no_header_is_named() {
        assert_eq!(plain_key("nlk_a\n").unwrap(), "nlk_a");
        for key in ["nlk_a\nb", "nlk a", "nlk_é"] {
            assert!(
                matches!(plain_key(key), Err(ClientError::BadKey)),
                "{key:?}"
            );
        }
    }
}
