//! Becoming a checker of a network: coming in with a token, delegating a licence, and what is kept of it. The certificate
//! that it shows from then on is [`crate::certificate`]'s.

use crate::broker::{Broker, Refused};
use crate::certificate;
use crate::failure::Failure;
use crate::keys;
use nearlight_kit::files::write_atomic;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::{PublicKey, SecretKey};
use nearlight_proof::membership::{self, Delegation};
use nearlight_protocol::checker::{JoinChecker, JoinedChecker};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;
use std::time::UNIX_EPOCH;

const FILE: &str = "network.json";
/// Which beacons the network's rounds take their values from: the entries of its log, a line each.
const BEACONS: &str = "beacons.jsonl";
/// A day, seconds.
const DAY_S: u64 = 24 * 3600;

/// What a checker keeps of the network that it is a member of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    /// The broker.
    pub url: String,
    /// Where the broker's listener is that takes its certificate, each as `HOST:PORT`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Who runs this checker, as the directory has it.
    pub operator: String,
    /// The key of the network's directory, as it was when the checker came in.
    pub directory_key: String,
    /// The chain of rounds, as it was then: an entry that the directory's key signed.
    pub chain: String,
    /// Authorities of which the broker's certificate is, PEM; none: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

impl Network {
    /// The network that the checker of this directory came into.
    ///
    /// # Errors
    /// [`Failure::NoNetwork`], [`Failure::File`], [`Failure::Damaged`].
    pub fn load(data: &Path) -> Result<Self, Failure> {
        let path = data.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| Failure::Damaged(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Failure::NoNetwork(data.to_owned()))
            }
            Err(source) => Err(Failure::File { path, source }),
        }
    }

    pub(crate) fn save(&self, data: &Path) -> Result<(), Failure> {
        let path = data.join(FILE);
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_atomic(&path, &bytes, 0o600).map_err(|source| Failure::File { path, source })
    }

    /// Its broker as the checker of `data`, at these addresses or where it said that it is.
    ///
    /// # Errors
    /// [`Failure::NoCertificate`], [`Failure::Certificate`].
    pub fn broker(&self, data: &Path, at: Option<&str>) -> Result<Broker, Failure> {
        Broker::shown(data, &self.listener(at))
    }

    /// Where the listener is that takes certificates.
    pub(crate) fn listener(&self, at: Option<&str>) -> Vec<String> {
        at.map_or_else(|| self.addresses.clone(), |at| vec![at.to_owned()])
    }

    /// A broker that is asked for what anybody may ask: it is shown no credential, whatever its address is.
    ///
    /// # Errors
    /// [`Failure::Authorities`].
    pub fn stranger(&self, url: Option<&str>) -> Result<Broker, Failure> {
        let url = url.unwrap_or(&self.url);
        broker_of(self.authorities.as_deref(), url)
    }

    /// The key of the network's directory.
    ///
    /// # Errors
    /// [`Failure::Key`].
    pub fn authority(&self) -> Result<PublicKey, Failure> {
        let key = PublicKey::from_hex(&self.directory_key);
        key.ok_or_else(|| Failure::Key(self.directory_key.clone()))
    }

    /// The chain of rounds.
    ///
    /// # Errors
    /// [`Failure::Beacon`] for one that the directory's key did not sign.
    pub fn anchor(&self) -> Result<Anchor, Failure> {
        let key = PublicKey::from_hex(&self.directory_key);
        let anchor = key.and_then(|key| Anchor::open(self.chain.as_bytes(), &key));
        anchor.ok_or_else(|| {
            Failure::Beacon(
                "the network's chain is not signed by its directory's key; join again".to_owned(),
            )
        })
    }
}

/// What was kept of which beacons are used, and when that was, Unix milliseconds; `None` if nothing was told yet.
///
/// # Errors
/// [`Failure::File`].
pub(crate) fn beacons(data: &Path) -> Result<Option<(Vec<String>, u64)>, Failure> {
    let path = data.join(BEACONS);
    let read = || -> std::io::Result<_> {
        let text = std::fs::read_to_string(&path)?;
        Ok((text, std::fs::metadata(&path)?.modified()?))
    };
    let (text, at) = match read() {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Failure::File { path, source }),
    };
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    Ok(Some((text.lines().map(str::to_owned).collect(), at_ms)))
}

/// Keeps them: a broker that shows fewer later is not believed.
///
/// # Errors
/// [`Failure::File`].
pub(crate) fn keep_beacons(data: &Path, entries: &[String]) -> Result<(), Failure> {
    let path = data.join(BEACONS);
    let lines: String = entries.iter().map(|of| format!("{of}\n")).collect();
    write_atomic(&path, lines.as_bytes(), 0o600).map_err(|source| Failure::File { path, source })
}

/// Those of another network, or of rounds that another chain times, are none of this one.
fn forget_beacons(data: &Path, network: &Network) -> Result<(), Failure> {
    let of = |network: &Network| Some((network.directory_key.clone(), network.anchor().ok()?));
    if Network::load(data).is_ok_and(|before| of(&before) == of(network)) {
        return Ok(());
    }
    let path = data.join(BEACONS);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Failure::File { path, source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn broker_of(authorities: Option<&str>, url: &str) -> Result<Broker, Failure> {
    match authorities {
        Some(pem) => Broker::of_authorities(pem, url, ""),
        None => Ok(Broker::new(url, "")),
    }
}

/// Comes in with a token, and keeps what is told.
///
/// # Errors
/// [`Failure::Broker`] with what the broker says; whatever keeps it from being written.
pub fn join(
    data: &Path,
    url: &str,
    token: &str,
    delegation: Option<&str>,
) -> Result<Network, Failure> {
    join_by(None, data, (url, token), delegation)
}

/// The same, where the broker's certificate is of one of these authorities, PEM.
///
/// # Errors
/// Those of [`join`]; [`Failure::Authorities`].
pub fn join_by(
    authorities: Option<String>,
    data: &Path,
    (url, token): (&str, &str),
    delegation: Option<&str>,
) -> Result<Network, Failure> {
    let key = keys::load(data)?;
    let public = key.public();
    let (pending, request) = certificate::request()?;
    let asked = JoinChecker {
        token: token.trim().to_owned(),
        key: keys::hex_of(&public),
        signature: hex(&key.sign(&membership::join(token.trim(), &public, &request))),
        request,
        delegation: delegation.map(|text| text.trim().to_owned()),
    };
    let broker = broker_of(authorities.as_deref(), url)?;
    let joined: JoinedChecker = broker.join(&asked).map_err(|error| {
        Failure::Broker(match error {
            Refused::Said(_, why) | Refused::Away(why) => why,
        })
    })?;
    let network = Network {
        url: url.trim_end_matches('/').to_owned(),
        addresses: joined.certificate.addresses.clone(),
        operator: joined.operator,
        directory_key: joined.directory_key,
        chain: joined.chain.envelope,
        authorities,
    };
    network.anchor()?;
    forget_beacons(data, &network)?;
    let key_id = public.id().to_string();
    // The certificate last: without it the checker is not in, and joins again.
    network.save(data)?;
    certificate::keep(data, &pending, &joined.certificate, &key_id)?;
    Ok(network)
}

/// Says that a checker may act for the licence of this directory's key, for so many days; what it is given.
///
/// # Errors
/// [`Failure::Key`] for what is no key; whatever keeps the licence's key from being read.
pub fn delegate(data: &Path, checker: &str, days: u32) -> Result<String, Failure> {
    let licence = keys::load(data)?;
    let checker = PublicKey::from_hex(checker).ok_or_else(|| Failure::Key(checker.to_owned()))?;
    let now_s = nearlight_kit::clock::unix_ms() / 1000;
    Ok(delegation(
        &licence,
        &checker,
        now_s + u64::from(days) * DAY_S,
    ))
}

fn delegation(licence: &SecretKey, checker: &PublicKey, until_s: u64) -> String {
    Delegation::sign(licence, checker, until_s).to_string()
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::key::KeyId;

    #[test]
    fn whoever_joins_another_network_keeps_no_beacons_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let of = |n: u8, genesis_ms| {
            let authority = SecretKey::from_seed(&[n; 32]);
            let anchor = Anchor {
                anchor: KeyId([n; 32]),
                genesis_ms,
                length: 9,
                round_ms: 1_000,
            };
            Network {
                url: String::new(),
                addresses: Vec::new(),
                operator: String::new(),
                directory_key: keys::hex_of(&authority.public()),
                chain: String::from_utf8(anchor.sign(&authority).unwrap()).unwrap(),
                authorities: None,
            }
        };
        of(1, 5).save(dir.path()).unwrap();
        for (next, kept) in [(of(1, 5), true), (of(1, 6), false), (of(2, 5), false)] {
            keep_beacons(dir.path(), &["an entry".to_owned()]).unwrap();
            forget_beacons(dir.path(), &next).unwrap();
            assert_eq!(beacons(dir.path()).unwrap().is_some(), kept);
        }
        forget_beacons(dir.path(), &of(2, 5)).unwrap();
    }

    #[test]
    fn a_delegation_is_made_with_the_directorys_own_key() {
        let dir = tempfile::tempdir().unwrap();
        let (owner, _) = keys::init(dir.path()).unwrap();
        let checker = SecretKey::from_seed(&[8; 32]).public();
        let text = delegate(dir.path(), &keys::hex_of(&checker), 30).unwrap();
        let read = Delegation::parse(&text).unwrap();
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        assert_eq!(read.licence(), owner.id());
        assert!(read.holds(&checker, now_s + 29 * DAY_S));
        assert!(!read.holds(&checker, now_s + 31 * DAY_S));
        assert!(matches!(delegate(dir.path(), "x", 1), Err(Failure::Key(_))));
        assert!(matches!(
            Network::load(dir.path()),
            Err(Failure::NoNetwork(_))
        ));
    }
}
