//! Secrets at rest: those of jobs, sealed before they are written and opened to be sent to a node, and
//! those of tenants that the broker uses itself.
//!
//! The key is derived from the CA's private key, which every broker of a ledger has, which a back-up
//! holds, and without which there are no nodes. AES-256-GCM under a random nonce; what was sealed opens
//! for whom it was sealed alone: a session, or a tenant's credential for one registry.
//!
//! ```text
//!   key id (8 hex digits) "." base64url(nonce, ciphertext and tag)
//! ```
//!
//! **Invariants.** Neither key nor secret is in anything that is printed. What does not verify opens to
//! nothing. A key that was replaced opens what it sealed as long as its file is there: when the CA's is, the one for
//! secrets is kept by itself ([`keep_former`]), which signs nothing, until all is sealed again ([`Sealer::reseal`]).
//!
//! **What it does not know:** where sealed secrets lie, and for how long.

use crate::ledger::{Resealed, Sealed};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::files::write_atomic;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::work::{PullLogin, Secrets};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The CA's key, and the one that is to follow it, while a rotation is under way.
const KEY_FILES: [&str; 2] = ["ca.key.pem", "ca.next.key.pem"];
/// What sealed before the CA's key was replaced.
pub(crate) const FORMER_KEY_FILE: &str = "seal.former.key";
const FORMER_PREFIX: &str = "nearlight-seal-key-v1";
const SALT: &[u8] = b"nearlight sealed secrets v1";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealerError {
    /// The CA's key cannot be read.
    #[error("cannot read {}, from which the key for secrets is derived", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system has no randomness, or the key is none.
    #[error("cannot derive the key for secrets")]
    Crypto,
    /// A file is not what was kept.
    #[error("{} is no key that was kept here; restore it from a back-up, or remove it: what it sealed is lost then", .0.display())]
    NotKept(PathBuf),
}

/// Why sealed secrets do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Another CA's.
    #[error("they were sealed with the key of another CA; start the job again")]
    Key,
    /// Altered, or of another session.
    #[error("they do not verify; start the job again")]
    Invalid,
}

/// What only the node of a job gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(crate) struct ForNode {
    /// Its secrets.
    pub(crate) secrets: Secrets,
    /// What its image is pulled with.
    pub(crate) pull: Option<PullLogin>,
}

impl ForNode {
    /// Whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.pull.is_none()
    }
}

/// As it is sealed: secrets alone, as ever, or with what comes beside.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Both { pull: PullLogin, of: Secrets },
    Secrets(Secrets),
}

impl From<Written> for ForNode {
    fn from(written: Written) -> Self {
        match written {
            Written::Both { pull, of } => Self {
                secrets: of,
                pull: Some(pull),
            },
            Written::Secrets(secrets) => Self {
                secrets,
                pull: None,
            },
        }
    }
}

impl From<ForNode> for Written {
    fn from(ForNode { secrets, pull }: ForNode) -> Self {
        match pull {
            Some(pull) => Self::Both { pull, of: secrets },
            None => Self::Secrets(secrets),
        }
    }
}

/// Seals and opens.
#[derive(Clone)]
pub(crate) struct Sealer {
    /// The one that seals first.
    keys: Arc<Vec<Key>>,
}

struct Key {
    id: String,
    seal: LessSafeKey,
    tag: hmac::Key,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// With the keys of the CA in `pki`.
    ///
    /// # Errors
    /// [`SealerError`].
    pub(crate) fn open_in(pki: &Path) -> Result<Self, SealerError> {
        let mut keys = Vec::new();
        for (at, name) in KEY_FILES.iter().enumerate() {
            let path = pki.join(name);
            match std::fs::read(&path) {
                Ok(text) => keys.push(Key::derived(&text)?),
                Err(error) if at > 0 && error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(SealerError::File { path, source }),
            }
        }
        let path = pki.join(FORMER_KEY_FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => keys.push(Key::kept(&text).ok_or(SealerError::NotKept(path))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(SealerError::File { path, source }),
        }
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    /// Seals again what another key has sealed than the one that seals now.
    pub(crate) fn reseal(&self, of: &str, sealed: &Sealed) -> Resealed {
        let is_newest = self
            .newest()
            .is_ok_and(|key| sealed.0.split_once('.').is_some_and(|(id, _)| id == key.id));
        if is_newest {
            return Resealed::Kept;
        }
        let again = self.open_for(of, sealed).ok();
        let again = again.and_then(|text| self.seal_for(of, text).ok());
        again.map_or(Resealed::Lost, Resealed::By)
    }

    fn newest(&self) -> Result<&Key, SealerError> {
        self.keys.first().ok_or(SealerError::Crypto)
    }

    /// Seals what only a session's node gets.
    pub(crate) fn seal(&self, session: &SessionId, of: &ForNode) -> Result<Sealed, SealerError> {
        let text = serde_json::to_vec(of).map_err(|_| SealerError::Crypto)?;
        self.seal_for(session.as_str(), text)
    }

    /// Seals a text for whom `of` names.
    pub(crate) fn seal_for(&self, of: &str, mut text: Vec<u8>) -> Result<Sealed, SealerError> {
        let key = self.newest()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| SealerError::Crypto)?;
        let sealed = key.seal.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(of),
            &mut text,
        );
        sealed.map_err(|_| SealerError::Crypto)?;
        let mut whole = nonce.to_vec();
        whole.append(&mut text);
        Ok(Sealed(format!(
            "{}.{}",
            key.id,
            URL_SAFE_NO_PAD.encode(whole)
        )))
    }

    /// Opens what was sealed for `session`.
    pub(crate) fn open(&self, session: &SessionId, sealed: &Sealed) -> Result<ForNode, OpenError> {
        let text = self.open_for(session.as_str(), sealed)?;
        serde_json::from_slice(&text).map_err(|_| OpenError::Invalid)
    }

    /// Opens what was sealed for whom `of` names.
    pub(crate) fn open_for(&self, of: &str, sealed: &Sealed) -> Result<Vec<u8>, OpenError> {
        let (id, body) = sealed.0.split_once('.').ok_or(OpenError::Invalid)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or(OpenError::Key)?;
        let whole = URL_SAFE_NO_PAD.decode(body);
        let whole = whole.map_err(|_| OpenError::Invalid)?;
        let (nonce, text) = whole
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(OpenError::Invalid)?;
        let mut text = text.to_vec();
        let opened = key.seal.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(of),
            &mut text,
        );
        Ok(opened.map_err(|_| OpenError::Invalid)?.to_vec())
    }

    /// A fingerprint of a text that may hold secrets: whoever has the ledger cannot try guesses on it.
    pub(crate) fn fingerprint(&self, text: &[u8]) -> Result<[u8; 32], SealerError> {
        let tag = hmac::sign(&self.newest()?.tag, text);
        tag.as_ref().try_into().map_err(|_| SealerError::Crypto)
    }
}

/// Keeps the key for secrets of the CA in `pki`, which is about to be replaced by the next one; where there is no next
/// one there is nothing to keep.
///
/// # Errors
/// [`SealerError`].
pub(crate) fn keep_former(pki: &Path) -> Result<(), SealerError> {
    let [now, next] = KEY_FILES.map(|name| pki.join(name));
    if !next.exists() {
        return Ok(());
    }
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| SealerError::File { path, source }
    };
    let text = std::fs::read(&now).map_err(file(&now))?;
    let bytes = Bytes::derived(&text)?;
    let kept = [&bytes.id[..], &bytes.seal, &bytes.tag].concat();
    let kept = format!("{FORMER_PREFIX} {}\n", URL_SAFE_NO_PAD.encode(kept));
    let path = pki.join(FORMER_KEY_FILE);
    write_atomic(&path, kept.as_bytes(), 0o600).map_err(file(&path))
}

/// What a key is made of.
struct Bytes {
    id: [u8; 4],
    seal: [u8; 32],
    tag: [u8; 32],
}

impl Bytes {
    fn derived(from: &[u8]) -> Result<Self, SealerError> {
        let secret = Salt::new(HKDF_SHA256, SALT).extract(from);
        let derive = |what: &[u8]| {
            let mut bytes = [0; 32];
            let info = [what];
            let okm = secret.expand(&info, HKDF_SHA256);
            okm.and_then(|okm| okm.fill(&mut bytes))
                .map_err(|_| SealerError::Crypto)?;
            Ok(bytes)
        };
        let [a, b, c, d, ..]: [u8; 32] = derive(b"id")?;
        Ok(Self {
            id: [a, b, c, d],
            seal: derive(b"seal")?,
            tag: derive(b"fingerprint")?,
        })
    }
}

impl Key {
    fn derived(from: &[u8]) -> Result<Self, SealerError> {
        Self::of(&Bytes::derived(from)?)
    }

    /// One that was kept; `None` if this is none.
    fn kept(text: &str) -> Option<Self> {
        let (prefix, body) = text.trim().split_once(' ')?;
        let whole = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (id, rest) = whole.split_first_chunk::<4>()?;
        let (seal, tag) = rest.split_first_chunk::<32>()?;
        let bytes = Bytes {
            id: *id,
            seal: *seal,
            tag: tag.try_into().ok()?,
        };
        (prefix == FORMER_PREFIX).then(|| Self::of(&bytes).ok())?
    }

    fn of(bytes: &Bytes) -> Result<Self, SealerError> {
        let seal = UnboundKey::new(&AES_256_GCM, &bytes.seal);
        Ok(Self {
            id: bytes.id.iter().map(|byte| format!("{byte:02x}")).collect(),
            seal: LessSafeKey::new(seal.map_err(|_| SealerError::Crypto)?),
            tag: hmac::Key::new(hmac::HMAC_SHA256, &bytes.tag),
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn secrets() -> ForNode {
        ForNode {
            secrets: Secrets([("TOKEN".to_owned(), "hunter2".to_owned())].into()),
            pull: None,
        }
    }

    fn pki(key: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.key.pem"), key).unwrap();
        dir
    }

    #[test]
    fn what_is_sealed_opens_for_its_session_and_brokers_with_the_ca() {
        let session = nearlight_kit::ids::session();
        let one = Sealer::open_in(pki("a").path()).unwrap();
        let sealed = one.seal(&session, &secrets()).unwrap();
        assert!(!sealed.0.contains("hunter2") && format!("{sealed:?}") == "Sealed");
        let replica = Sealer::open_in(pki("a").path()).unwrap();
        assert_eq!(replica.open(&session, &sealed), Ok(secrets()));
        let other = nearlight_kit::ids::session();
        assert_eq!(replica.open(&other, &sealed), Err(OpenError::Invalid));
        let foreign = Sealer::open_in(pki("b").path()).unwrap();
        assert_eq!(foreign.open(&session, &sealed), Err(OpenError::Key));
    }

    #[test]
    fn what_was_altered_opens_to_nothing() {
        let session = nearlight_kit::ids::session();
        let sealer = Sealer::open_in(pki("a").path()).unwrap();
        let sealed = sealer.seal(&session, &secrets()).unwrap();
        let whole = sealed.0.clone();
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = Sealed(String::from_utf8(bytes).unwrap());
            assert!(sealer.open(&session, &altered).is_err(), "{at}");
        }
        for short in ["", ".", "00000000.", "x"] {
            assert!(sealer.open(&session, &Sealed(short.to_owned())).is_err());
        }
    }

    #[test]
    fn the_next_key_of_a_rotation_opens_what_a_faster_broker_sealed() {
        let session = nearlight_kit::ids::session();
        let faster = Sealer::open_in(pki("next").path()).unwrap();
        let sealed = faster.seal(&session, &secrets()).unwrap();
        let slower = pki("now");
        std::fs::write(slower.path().join("ca.next.key.pem"), "next").unwrap();
        let slower = Sealer::open_in(slower.path()).unwrap();
        assert_eq!(slower.open(&session, &sealed), Ok(secrets()));
    }

    #[test]
    fn what_a_replaced_key_sealed_opens_and_is_sealed_again_before_that_goes() {
        let dir = pki("now");
        let at = |name: &str| dir.path().join(name);
        let before = Sealer::open_in(dir.path()).unwrap();
        let sealed = before.seal_for("webhook of a", b"x".to_vec()).unwrap();
        keep_former(dir.path()).unwrap();
        assert!(!at(FORMER_KEY_FILE).exists(), "nothing is about to go");
        std::fs::write(at("ca.next.key.pem"), "next").unwrap();
        keep_former(dir.path()).unwrap();
        std::fs::rename(at("ca.next.key.pem"), at("ca.key.pem")).unwrap();
        let after = Sealer::open_in(dir.path()).unwrap();
        let opened = after.open_for("webhook of a", &sealed);
        assert_eq!(opened, Ok(b"x".to_vec()));
        let Resealed::By(again) = after.reseal("webhook of a", &sealed) else {
            panic!("it is of another key");
        };
        assert_eq!(after.reseal("webhook of a", &again), Resealed::Kept);
        assert_eq!(after.reseal("webhook of b", &sealed), Resealed::Lost);
        std::fs::remove_file(at(FORMER_KEY_FILE)).unwrap();
        let last = Sealer::open_in(dir.path()).unwrap();
        assert_eq!(last.open_for("webhook of a", &again), Ok(b"x".to_vec()));
        assert_eq!(last.reseal("webhook of a", &sealed), Resealed::Lost);
        std::fs::write(at(FORMER_KEY_FILE), "nearlight-seal-key-v1 AAAA").unwrap();
        let damaged = Sealer::open_in(dir.path());
        assert!(matches!(damaged, Err(SealerError::NotKept(_))));
    }

    #[test]
    fn a_fingerprint_is_of_the_text_and_the_key() {
        let one = Sealer::open_in(pki("a").path()).unwrap();
        let other = Sealer::open_in(pki("b").path()).unwrap();
        let of = |sealer: &Sealer, text: &[u8]| sealer.fingerprint(text).unwrap();
        assert_eq!(of(&one, b"x"), of(&one, b"x"));
        assert_ne!(of(&one, b"x"), of(&one, b"y"));
        assert_ne!(of(&one, b"x"), of(&other, b"x"));
    }

    #[test]
    fn secrets_alone_are_sealed_as_ever_and_a_login_goes_beside_them() {
        let alone = serde_json::to_string(&secrets()).unwrap();
        assert_eq!(alone, r#"{"TOKEN":"hunter2"}"#);
        let login = PullLogin {
            username: "ci".to_owned(),
            password: "horse".to_owned(),
        };
        let session = nearlight_kit::ids::session();
        let sealer = Sealer::open_in(pki("a").path()).unwrap();
        for of in [secrets(), ForNode::default()] {
            let both = ForNode {
                pull: Some(login.clone()),
                ..of
            };
            let sealed = sealer.seal(&session, &both).unwrap();
            assert_eq!(sealer.open(&session, &sealed), Ok(both));
        }
    }

    #[test]
    fn what_was_sealed_for_one_opens_for_no_other() {
        let sealer = Sealer::open_in(pki("a").path()).unwrap();
        let sealed = sealer.seal_for("registry a of b", b"x".to_vec()).unwrap();
        let opened = sealer.open_for("registry a of b", &sealed);
        assert_eq!(opened, Ok(b"x".to_vec()));
        let other = sealer.open_for("registry a of c", &sealed);
        assert_eq!(other, Err(OpenError::Invalid));
    }
}
