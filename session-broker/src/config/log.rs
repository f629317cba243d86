//! `[log]`: the log of receipts.

use super::InvalidConfig;
use super::oidc::check_url;
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
    pub objects: ObjectsFile,
}

/// What the file says of a store of objects. It explains each.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "configs/session-broker.toml is their documentation"
)]
pub struct ObjectsFile {
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub prefix: String,
    pub access_key: String,
    pub secret_key_file: PathBuf,
}

/// A store of objects that speaks S3's protocol.
#[derive(Clone, Serialize)]
pub struct ObjectsSettings {
    /// Its URL.
    pub endpoint: String,
    /// What its signatures name.
    pub region: String,
    /// The bucket, which is there.
    pub bucket: String,
    /// What the names of the log's objects begin with.
    pub prefix: String,
    /// The id of the key.
    pub access_key: String,
    /// The key.
    #[serde(skip)]
    pub secret_key: String,
}

impl std::fmt::Debug for ObjectsSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectsSettings")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// Where the log's files are.
#[derive(Clone, Debug, Serialize)]
pub enum LogAt {
    /// In a directory.
    Directory(PathBuf),
    /// In a bucket.
    Objects(ObjectsSettings),
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
    pub at: LogAt,
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
    /// The settings, `None` where there is no log: several brokers, and neither bucket nor directory that all of
    /// them have.
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
        let objects = self.objects.checked()?;
        let given = !self.dir.as_os_str().is_empty();
        let at = match (objects, given, is_shared) {
            (Some(_), true, _) => {
                let problem = "is set beside log.objects: the log is in a directory or in a bucket";
                return Err(wrong("log.dir", problem.to_owned()));
            }
            (Some(objects), false, _) => LogAt::Objects(objects),
            (None, true, _) => LogAt::Directory(self.dir.clone()),
            (None, false, false) => LogAt::Directory(data.join("log")),
            (None, false, true) => return Ok(None),
        };
        Ok(Some(LogSettings {
            at,
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

impl ObjectsFile {
    /// The settings, `None` without a bucket.
    fn checked(&self) -> Result<Option<ObjectsSettings>, InvalidConfig> {
        if self.bucket.is_empty() {
            return Ok(None);
        }
        check_url("log.objects.endpoint", &self.endpoint)?;
        let wrong = |key, problem: String| InvalidConfig::Value { key, problem };
        if self.access_key.is_empty() {
            let problem = "is missing: the id of a key that may read, write, list and remove below the prefix";
            return Err(wrong("log.objects.access_key", problem.to_owned()));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
        if !self.prefix.bytes().all(is_plain) {
            let problem = "has other characters than letters, digits, `-`, `.`, `_` and `/`";
            return Err(wrong("log.objects.prefix", problem.to_owned()));
        }
        let file = self.secret_key_file.display();
        let secret = std::fs::read_to_string(&self.secret_key_file).map_err(|error| {
            let problem = format!("cannot be read: {file}: {error}; write the secret key into it");
            wrong("log.objects.secret_key_file", problem)
        })?;
        Ok(Some(ObjectsSettings {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            access_key: self.access_key.clone(),
            secret_key: secret.trim().to_owned(),
        }))
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
            objects: ObjectsFile::default(),
        };
        let checked = |file: &LogFile| file.checked(Path::new("/d"), false);
        let two = [format!("{} https://w.example/log/", key(1)), key(2)];
        let good = checked(&file(&two, 2)).unwrap().unwrap();
        assert!(matches!(&good.at, LogAt::Directory(dir) if dir == Path::new("/d/log")));
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
    #[test]
    fn a_bucket_is_reached_over_tls_with_a_key_and_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "s3cret\n").unwrap();
        let good = LogFile {
            dir: PathBuf::new(),
            origin: String::new(),
            operator: "o".to_owned(),
            witnesses: Vec::new(),
            quorum: 0,
            objects: ObjectsFile {
                endpoint: "https://s3.example".to_owned(),
                region: "eu-1".to_owned(),
                bucket: "receipts".to_owned(),
                prefix: "region/log".to_owned(),
                access_key: "id".to_owned(),
                secret_key_file: secret,
            },
        };
        let checked = |file: &LogFile| file.checked(Path::new("/d"), true);
        let settings = checked(&good).unwrap().unwrap();
        assert!(matches!(settings.at, LogAt::Objects(at) if at.secret_key == "s3cret"));
        type Change = fn(&mut LogFile);
        let wrong: [(&str, Change); 5] = [
            ("log.dir", |f| f.dir = "/shared".into()),
            ("log.objects.endpoint", |f| {
                f.objects.endpoint = "http://s3.example".to_owned();
            }),
            ("log.objects.access_key", |f| f.objects.access_key.clear()),
            ("log.objects.prefix", |f| {
                f.objects.prefix = "a b".to_owned()
            }),
            ("log.objects.secret_key_file", |f| {
                f.objects.secret_key_file = "/nowhere/secret".into();
            }),
        ];
        for (key, change) in wrong {
            let mut file = good.clone();
            change(&mut file);
            let error = checked(&file).unwrap_err().to_string();
            assert!(error.contains(key), "{key}: {error}");
        }
    }
}
