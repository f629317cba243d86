//! What a verifier found, check by check: whose key, and what pinned it.

use serde::Serialize;

/// How a receipt stands, as of its checkpoint and the later entries that were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Outcome {
    /// Every check passed, and nothing given contests it.
    Valid,
    /// Every check passed; a dispute is open.
    Disputed,
    /// Every check passed; it was revoked, or a dispute was upheld.
    Revoked,
    /// It cannot be read.
    Malformed,
    /// A key is not in the directory, or not for this, or not then.
    UnknownKey,
    /// A signature is missing or forged.
    Forged,
    /// It is not in a log that the policy accepts.
    NotLogged,
    /// Too few witnesses saw the log.
    NotWitnessed,
}

impl Outcome {
    /// The exit code of a program that says this; 1, 2 and 64 are left to errors and wrong usage.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Malformed => 7,
            Self::UnknownKey => 3,
            Self::Forged => 4,
            Self::NotLogged => 5,
            Self::NotWitnessed => 6,
            Self::Disputed => 10,
            Self::Revoked => 11,
        }
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// Envelope and statement have the one form.
    Form,
    /// The issuer's key is in the directory for this kind and time.
    IssuerKey,
    /// The issuer signed.
    IssuerSignature,
    /// The node signed, or its refusal is recorded.
    Countersignature,
    /// A log of the policy signed the checkpoint.
    Checkpoint,
    /// The receipt is in the log.
    Inclusion,
    /// Enough witnesses cosigned.
    Witnesses,
    /// It was issued before the log had it.
    Time,
    /// What later entries say of it.
    Standing,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: CheckName,
    /// Whether it holds.
    pub passed: bool,
    /// Whose keys it rests on; empty if on none.
    pub keys: Vec<String>,
    /// What made those keys count: a policy, or a directory and its key.
    pub pinned_by: String,
    /// What was found, as a sentence.
    pub found: String,
}

/// What a reader should know, though every check passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Warning {
    /// The policy came from the log's operator.
    PolicyFromLog,
    /// Every witness that cosigned is run by the log's operator.
    WitnessesOfLog,
    /// The operator of a witness that cosigned is not known.
    WitnessUnknown,
    /// The policy asks for no witness.
    NoQuorum,
    /// The issuer is run by whom the receipt is about, or by the log's operator.
    IssuerOfLog,
    /// The issuer's key was revoked later.
    KeyRevokedLater,
    /// The node refused to sign.
    NodeRefused,
    /// A later entry was given that does not verify; it was left out.
    LaterIgnored,
}

/// What a verifier found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How the receipt stands.
    pub outcome: Outcome,
    /// Every check up to the first that failed.
    pub checks: Vec<Check>,
    /// What to know besides.
    pub warnings: Vec<Warning>,
    /// The size of the log that this is as of, if the checkpoint was verified.
    pub as_of_size: Option<u64>,
    /// The latest time that a witness saw it, Unix seconds.
    pub as_of_s: Option<u64>,
}
