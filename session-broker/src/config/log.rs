//! `[log]`: the log of receipts.

use super::InvalidConfig;
use nearlight_proof::key::SecretKey;
use nearlight_proof::log::note::{Algorithm, VerifierKey};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Witnesses that are asked.
const WITNESSES_MAX: usize = 32;

/// What the file says. It explains each.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct LogFile {
    pub dir: PathBuf,
    pub origin: String,
    pub operator: String,
    pub witnesses: Vec<String>,
    pub quorum: usize,
}

/// A witness.
#[derive(Clone, Debug)]
pub struct WitnessSettings {
    /// Its key.
    pub key: VerifierKey,
    /// Where it is asked; `None` for one that asks.
    pub url: Option<String>,
}

/// What the broker runs with.
#[derive(Clone, Debug, Serialize)]
pub struct LogSettings {
    /// Where tiles are.
    pub dir: PathBuf,
    /// The name of a log that is begun here; `None` for one that is made of its key.
    pub origin: Option<String>,
    /// Who runs it.
    pub operator: String,
    /// Who cosigns checkpoints.
    #[serde(skip)]
    pub witnesses: Vec<WitnessSettings>,
    /// How many of them have to, for a checkpoint to be shown as witnessed.
    pub quorum: usize,
}

impl LogFile {
    /// The settings, `None` where there is no log: several brokers, and no directory that all of them have.
    pub(super) fn checked(
        &self,
        data: &Path,
        is_shared: bool,
    ) -> Result<Option<LogSettings>, InvalidConfig> {
        let wrong = |key, problem: String| InvalidConfig::Value { key, problem };
        // Whether it is a name does not depend on the key.
        let any = SecretKey::from_seed(&[0; 32]).public();
        let origin = (!self.origin.is_empty()).then(|| self.origin.clone());
        if let Some(origin) = &origin
            && VerifierKey::new(origin, Algorithm::Ed25519, any).is_none()
        {
            let problem = format!(
                "is `{origin}`; give a name without spaces and plus signs, such as example.org/receipts"
            );
            return Err(wrong("log.origin", problem));
        }
        if self.operator.is_empty() || self.operator.len() > 64 {
            let problem = "is empty or too long; say in up to 64 bytes who runs this network";
            return Err(wrong("log.operator", problem.to_owned()));
        }
        let given = !self.dir.as_os_str().is_empty();
        let dir = match (given, is_shared) {
            (true, _) => self.dir.clone(),
            (false, false) => data.join("log"),
            (false, true) => return Ok(None),
        };
        Ok(Some(LogSettings {
            dir,
            origin,
            operator: self.operator.clone(),
            witnesses: self.witnesses()?,
            quorum: self.quorum,
        }))
    }

    fn witnesses(&self) -> Result<Vec<WitnessSettings>, InvalidConfig> {
        let wrong = |key, problem: String| Err(InvalidConfig::Value { key, problem });
        let mut known: Vec<WitnessSettings> = Vec::new();
        for line in &self.witnesses {
            let (key, url) = match line.split_once(' ') {
                Some((key, url)) => (key, Some(url.trim().trim_end_matches('/').to_owned())),
                None => (line.as_str(), None),
            };
            let key = VerifierKey::parse(key);
            let Some(key) = key.filter(|key| key.algorithm() == Algorithm::CosignatureV1) else {
                let problem = format!(
                    "has `{line}`; write NAME+ID+KEY of a witness, as c2sp.org/tlog-cosignature has it, and a space and its URL if it is to be asked"
                );
                return wrong("log.witnesses", problem);
            };
            let is_url = |url: &String| url.starts_with("https://") || url.starts_with("http://");
            if url.as_ref().is_some_and(|url| !is_url(url)) {
                return wrong(
                    "log.witnesses",
                    format!("has `{line}`; its URL begins with https://"),
                );
            }
            if known.iter().any(|other| other.key.key() == key.key()) {
                return wrong(
                    "log.witnesses",
                    format!("has the key of `{}` twice", key.name()),
                );
            }
            known.push(WitnessSettings { key, url });
        }
        if known.len() > WITNESSES_MAX || self.quorum > known.len() {
            let problem = format!(
                "is {} of {} witnesses; at most {WITNESSES_MAX} of them make a quorum",
                self.quorum,
                known.len()
            );
            return wrong("log.quorum", problem);
        }
        Ok(known)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_witness_has_a_key_of_its_own_and_perhaps_a_url() {
        let key = |seed| {
            let key = SecretKey::from_seed(&[seed; 32]).public();
            let key = VerifierKey::new("w", Algorithm::CosignatureV1, key);
            key.unwrap().to_string()
        };
        let file = |witnesses: &[String], quorum| LogFile {
            dir: PathBuf::new(),
            origin: String::new(),
            operator: "o".to_owned(),
            witnesses: witnesses.to_vec(),
            quorum,
        };
        let checked = |file: &LogFile| file.checked(Path::new("/d"), false);
        let two = [format!("{} https://w.example/log/", key(1)), key(2)];
        let good = checked(&file(&two, 2)).unwrap().unwrap();
        assert_eq!(good.dir, Path::new("/d/log"));
        assert_eq!(
            good.witnesses[0].url.as_deref(),
            Some("https://w.example/log")
        );
        assert!(good.witnesses[1].url.is_none());
        for (witnesses, quorum) in [
            (vec![key(1), key(1)], 1),
            (vec!["w".to_owned()], 1),
            (vec![format!("{} ftp://w", key(1))], 1),
            (vec![key(1)], 2),
        ] {
            assert!(
                checked(&file(&witnesses, quorum)).is_err(),
                "{witnesses:?} {quorum}"
            );
        }
        let shared = file(&[], 0).checked(Path::new("/d"), true).unwrap();
        assert!(
            shared.is_none(),
            "brokers that share no directory keep no log"
        );
        let mut named = file(&[], 0);
        named.origin = "two words".to_owned();
        assert!(checked(&named).is_err());
    }
}
