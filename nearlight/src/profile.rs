//! Brokers that this user has logged in to: `~/.config/nearlight/profiles.toml`, readable by its owner
//! alone, for it holds keys.
//!
//! ```toml
//! current = "play.example.org"
//!
//! [profiles."play.example.org"]
//! url = "https://play.example.org"
//! key = "nlk_…"
//! ```
//!
//! **Invariant.** A profile's key goes to that profile's URL and nowhere else.

use nearlight_kit::files::write_atomic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Why profiles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no place for them.
    #[error("there is no home directory for profiles; set HOME or XDG_CONFIG_HOME")]
    NoHome,
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is none.
    #[error("{} is no file of profiles; correct or delete it", path.display())]
    Garbled {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// There is no such profile.
    #[error("there is no profile `{0}`; `nearlight login URL --profile {0}` makes it")]
    Unknown(String),
    /// More than one could be meant.
    #[error("several profiles are for {url}; choose one with --profile: {names}")]
    Several {
        /// The broker.
        url: String,
        /// What they are called.
        names: String,
    },
}

/// A broker and a key for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Where it is.
    pub url: String,
    /// The API key.
    pub key: String,
}

/// All profiles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profiles {
    /// The one that is used unless another one is named.
    pub current: Option<String>,
    /// By name.
    pub profiles: BTreeMap<String, Profile>,
}

/// Whether two addresses are the same broker's.
pub(crate) fn same_broker(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// Where this user's profiles and what is remembered beside them are.
///
/// # Errors
/// [`ProfileError::NoHome`].
pub(crate) fn dir() -> Result<PathBuf, ProfileError> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let config = var("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| var("HOME").map(|home| PathBuf::from(home).join(".config")));
    let config = config.ok_or(ProfileError::NoHome)?;
    Ok(config.join("nearlight"))
}

fn file() -> Result<PathBuf, ProfileError> {
    Ok(dir()?.join("profiles.toml"))
}

impl Profiles {
    /// Those of this user; none where there is no file.
    ///
    /// # Errors
    /// [`ProfileError`] if the file cannot be read.
    pub fn load() -> Result<Self, ProfileError> {
        let path = match file() {
            Ok(path) => path,
            Err(ProfileError::NoHome) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(ProfileError::File { path, source }),
        };
        toml::from_str(&text).map_err(|source| ProfileError::Garbled {
            path,
            source: Box::new(source),
        })
    }

    /// Writes them down.
    ///
    /// # Errors
    /// [`ProfileError`] if the file cannot be written.
    pub fn save(&self) -> Result<(), ProfileError> {
        let path = file()?;
        let wrong = |source| ProfileError::File {
            path: path.clone(),
            source,
        };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(wrong)?;
        }
        let text = toml::to_string(self).expect("profiles are tables of strings");
        write_atomic(&path, text.as_bytes(), 0o600).map_err(wrong)
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`].
    pub fn named(&self, name: &str) -> Result<&Profile, ProfileError> {
        let found = self.profiles.get(name);
        found.ok_or_else(|| ProfileError::Unknown(name.to_owned()))
    }

    /// The current one, if there is any.
    pub fn current(&self) -> Option<&Profile> {
        self.profiles.get(self.current.as_ref()?)
    }

    /// The key for the broker at `url`, if some profile has one: the current one's, or that of the only one.
    ///
    /// # Errors
    /// [`ProfileError::Several`].
    pub fn key_for(&self, url: &str) -> Result<Option<&str>, ProfileError> {
        let current = self.current().filter(|of| same_broker(&of.url, url));
        if let Some(profile) = current {
            return Ok(Some(&profile.key));
        }
        let of_it = self
            .profiles
            .iter()
            .filter(|(_, of)| same_broker(&of.url, url));
        let mut found: Vec<_> = of_it.collect();
        match (found.pop(), found.as_slice()) {
            (None, _) => Ok(None),
            (Some((_, profile)), []) => Ok(Some(&profile.key)),
            (Some(last), others) => {
                let names = others.iter().chain([&last]).map(|(name, _)| name.as_str());
                Err(ProfileError::Several {
                    url: url.to_owned(),
                    names: names.collect::<Vec<_>>().join(", "),
                })
            }
        }
    }

    /// Takes a profile in, as the current one.
    pub fn put(&mut self, name: &str, profile: Profile) {
        self.profiles.insert(name.to_owned(), profile);
        self.current = Some(name.to_owned());
    }

    /// Takes a profile out; the current one without a name. What it was called, if there was one.
    pub fn remove(&mut self, name: Option<&str>) -> Option<String> {
        let name = name.map(str::to_owned).or_else(|| self.current.clone())?;
        self.profiles.remove(&name)?;
        if self.current.as_ref() == Some(&name) {
            self.current = None;
        }
        Some(name)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_last_login_is_current_until_it_is_taken_out() {
        let profile = |url: &str| Profile {
            url: url.to_owned(),
            key: format!("key of {url}"),
        };
        let mut profiles = Profiles::default();
        profiles.put("a", profile("https://a"));
        profiles.put("b", profile("https://b/"));
        assert_eq!(profiles.current().unwrap().url, "https://b/");
        assert_eq!(
            profiles.key_for("https://b").unwrap(),
            Some("key of https://b/")
        );
        assert_eq!(profiles.key_for("https://c").unwrap(), None);
        let written = toml::to_string(&profiles).unwrap();
        assert_eq!(toml::from_str::<Profiles>(&written).unwrap(), profiles);
        assert_eq!(profiles.remove(None), Some("b".to_owned()));
        assert_eq!(profiles.current(), None);
        assert_eq!(profiles.remove(None), None);
        assert!(profiles.named("a").is_ok() && profiles.named("b").is_err());
    }
}
