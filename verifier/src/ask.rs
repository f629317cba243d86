//! What is asked, and the files that it names.

use nearlight_proof::key::PublicKey;
use nearlight_proof::log::policy::{Policy, PolicyError};
use nearlight_proof::receipt::directory::{Directory, DirectoryError};
use nearlight_proof::receipt::verify::PolicySource;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is to be verified, and whom to believe.
#[derive(Clone, Debug, clap::Args)]
pub struct Ask {
    /// The receipt: a file as GET /v1/receipts/INDEX answers, or the envelope alone.
    pub file: PathBuf,
    /// The receipt's .tlog-proof; FILE.tlog-proof if FILE is an envelope alone.
    #[arg(long)]
    pub proof: Option<PathBuf>,
    /// Your policy (c2sp.org/tlog-policy): which logs and witnesses you believe. Without it the log's
    /// operator says so in --directory, which proves little.
    #[arg(long)]
    pub policy: Option<PathBuf>,
    /// Whose keys are whose: a file as GET /v1/directory answers, or a directory's envelope.
    #[arg(long)]
    pub directory: PathBuf,
    /// The key that signed the directory, 64 hex digits. Without it the operator says so.
    #[arg(long)]
    pub authority: Option<String>,
    /// Later entries of the log about the receipt, or about its issuer: files as FILE.
    #[arg(long)]
    pub later: Vec<PathBuf>,
}

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The policy is none.
    #[error("the policy cannot be used: {0}")]
    Policy(#[from] PolicyError),
    /// The directory is none.
    #[error("the directory cannot be used: {0}")]
    Directory(#[from] DirectoryError),
    /// Nothing says which key signed the directory.
    #[error(
        "say with --authority which key signed the directory, in 64 hex digits; only the answer of GET /v1/directory says so itself"
    )]
    Authority,
    /// Nothing says which log to believe.
    #[error(
        "say with --policy which logs to believe; only the answer of GET /v1/directory says so itself"
    )]
    NoPolicy,
}

/// Whom to believe.
pub(crate) struct Trust {
    pub(crate) policy: Policy,
    pub(crate) source: PolicySource,
    pub(crate) directory: Directory,
}

/// An entry and its proof.
pub(crate) struct Proved {
    pub(crate) envelope: Vec<u8>,
    pub(crate) proof: Vec<u8>,
}

impl Ask {
    pub(crate) fn trust(&self) -> Result<Trust, AskError> {
        let bytes = read(&self.directory)?;
        let shown: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let envelope = shown["envelope"].as_str();
        let authority = self
            .authority
            .as_deref()
            .or(shown["directory_key"].as_str());
        let authority = authority
            .and_then(PublicKey::from_hex)
            .ok_or(AskError::Authority)?;
        let directory = Directory::open(envelope.map_or(&bytes, str::as_bytes), &authority)?;
        let (text, source) = match (&self.policy, shown["log_key"].as_str()) {
            (Some(policy), _) => {
                let text = String::from_utf8_lossy(&read(policy)?).into_owned();
                (text, PolicySource::Own)
            }
            (None, Some(key)) => {
                let text = format!("log {key}\nquorum none\n");
                (text, PolicySource::LogOperator)
            }
            (None, None) => return Err(AskError::NoPolicy),
        };
        Ok(Trust {
            policy: Policy::parse(&text)?,
            source,
            directory,
        })
    }

    /// The receipt and its proof.
    pub(crate) fn receipt(&self) -> Result<Proved, AskError> {
        proved(&self.file, self.proof.as_deref())
    }

    pub(crate) fn later(&self) -> Result<Vec<Proved>, AskError> {
        self.later.iter().map(|file| proved(file, None)).collect()
    }

    /// The envelope alone.
    ///
    /// # Errors
    /// [`AskError::File`].
    pub fn envelope(file: &Path) -> Result<Vec<u8>, AskError> {
        let bytes = read(file)?;
        Ok(both(&bytes).map_or(bytes, |both| both.envelope))
    }
}

fn proved(file: &Path, proof: Option<&Path>) -> Result<Proved, AskError> {
    let bytes = read(file)?;
    if let Some(mut both) = both(&bytes) {
        if let Some(proof) = proof {
            both.proof = read(proof)?;
        }
        return Ok(both);
    }
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".tlog-proof");
        PathBuf::from(name)
    };
    let proof = read(&proof.map_or_else(beside, Path::to_owned))?;
    Ok(Proved {
        envelope: bytes,
        proof,
    })
}

/// What the API shows: an envelope has other members.
fn both(bytes: &[u8]) -> Option<Proved> {
    let shown: Value = serde_json::from_slice(bytes).ok()?;
    let text = |name: &str| Some(shown[name].as_str()?.as_bytes().to_vec());
    Some(Proved {
        envelope: text("envelope")?,
        proof: text("proof")?,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, AskError> {
    std::fs::read(file).map_err(|source| AskError::File {
        file: file.to_owned(),
        source,
    })
}
