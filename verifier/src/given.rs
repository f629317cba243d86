//! What is verified and whom to believe, as bytes: files and pages come to this.

pub use nearlight_proof::beacon::used::Beacon;
use nearlight_proof::key::PublicKey;
use nearlight_proof::log::policy::{Policy, PolicyError};
use nearlight_proof::receipt::directory::{Directory, DirectoryError};
use nearlight_proof::receipt::report::Report;
use nearlight_proof::receipt::verify::{Given, PolicySource, verify};
use serde_json::Value;

/// Why nothing can be verified.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
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
    /// An envelope came alone.
    #[error(
        "an envelope alone says nothing of the log: give its .tlog-proof, too, or what GET /v1/receipts/INDEX answers"
    )]
    NoProof,
}

/// Whom to believe, as it is written down.
#[derive(Clone, Debug, Default)]
pub struct Believed {
    /// What GET /v1/directory answers, or a directory's envelope.
    pub directory: Vec<u8>,
    /// The key that signed the directory, 64 hex digits; otherwise the answer says so itself.
    pub authority: Option<String>,
    /// A policy (c2sp.org/tlog-policy) of one's own; otherwise the log's operator's.
    pub policy: Option<Vec<u8>>,
    /// The beacon that rounds have to take their values from; otherwise the chain or quicknet, as the log says.
    pub beacon: Option<Beacon>,
}

/// Whom to believe.
#[derive(Debug)]
pub struct Trust {
    pub(crate) policy: Policy,
    pub(crate) source: PolicySource,
    pub(crate) directory: Directory,
    /// The key that signed the directory, and the chain of rounds.
    pub(crate) authority: PublicKey,
    /// The beacon that rounds have to take their values from.
    pub(crate) beacon: Option<Beacon>,
}

impl Believed {
    /// Reads it.
    ///
    /// # Errors
    /// [`GivenError`], but for [`GivenError::NoProof`].
    pub fn trust(&self) -> Result<Trust, GivenError> {
        let shown: Value = serde_json::from_slice(&self.directory).unwrap_or(Value::Null);
        let envelope = shown["envelope"].as_str();
        let authority = self
            .authority
            .as_deref()
            .or(shown["directory_key"].as_str());
        let authority = authority
            .and_then(PublicKey::from_hex)
            .ok_or(GivenError::Authority)?;
        let bytes = envelope.map_or(self.directory.as_slice(), str::as_bytes);
        let directory = Directory::open(bytes, &authority)?;
        let (text, source) = match &self.policy {
            Some(policy) => (
                String::from_utf8_lossy(policy).into_owned(),
                PolicySource::Own,
            ),
            None => (operators_policy(&shown)?, PolicySource::LogOperator),
        };
        Ok(Trust {
            policy: Policy::parse(&text)?,
            source,
            directory,
            authority,
            beacon: self.beacon,
        })
    }
}

/// What the log's operator says to believe: its log, and its witnesses where it names any.
fn operators_policy(shown: &Value) -> Result<String, GivenError> {
    if let Some(policy) = shown["policy"].as_str() {
        return Ok(policy.to_owned());
    }
    let key = shown["log_key"].as_str().ok_or(GivenError::NoPolicy)?;
    Ok(format!("log {key}\nquorum none\n"))
}

/// An entry and its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The entry of the log.
    pub envelope: Vec<u8>,
    /// Its `.tlog-proof`.
    pub proof: Vec<u8>,
}

impl Proved {
    /// What GET /v1/receipts/INDEX answers; `None` for anything else, such as an envelope, which has other members.
    #[must_use]
    pub fn answered(bytes: &[u8]) -> Option<Self> {
        let shown: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| Some(shown[name].as_str()?.as_bytes().to_vec());
        Some(Self {
            envelope: text("envelope")?,
            proof: text("proof")?,
        })
    }

    /// An answer, or an envelope with its proof. A proof that is given counts more than the answer's.
    ///
    /// # Errors
    /// [`GivenError::NoProof`].
    pub fn of(bytes: Vec<u8>, proof: Option<Vec<u8>>) -> Result<Self, GivenError> {
        match (Self::answered(&bytes), proof) {
            (Some(answered), None) => Ok(answered),
            (answered, Some(proof)) => Ok(Self {
                envelope: answered.map_or(bytes, |answered| answered.envelope),
                proof,
            }),
            (None, None) => Err(GivenError::NoProof),
        }
    }
}

/// What a receipt comes to, by whom one believes and the later entries that one has.
#[must_use]
pub fn judge(receipt: &Proved, trust: &Trust, later: &[Proved]) -> Report {
    let later: Vec<(&[u8], &[u8])> = later
        .iter()
        .map(|of| (of.envelope.as_slice(), of.proof.as_slice()))
        .collect();
    let given = Given {
        policy: &trust.policy,
        policy_source: trust.source,
        directory: &trust.directory,
        later: &later,
    };
    verify(&receipt.envelope, &receipt.proof, &given)
}
