//! An audit: the whole log is read, and a node's history in it told.
//!
//! ```text
//!   checkpoint --policy--> signed, witnessed
//!       every entry, in order --> leaves --> root, which has to be the checkpoint's
//!            |                       `---> root at the size that was remembered: the same, or a fork
//!            |--> what is about the node --> each verified, standing by all that came later --> findings
//!            `--> the chain of rounds --> who was to check it, and who did --> findings
//! ```
//!
//! [`log`] reads, [`history`] collects and judges, [`said`] has the rounds, [`drawn`] the values of drand, [`duties`] works out who was assigned, [`told`] is what a broker says
//! of that, [`compare`] and, of streams, [`streams`] hold one against the other, [`words`] tells.
//!
//! **Invariants.** No entry is skipped: an entry that is left out or changed makes another root. What a source says
//! is bounded by what a tile may have.
//!
//! **What it does not know:** where files are, what time it is (handed in), whether a node was attached.

mod compare;
mod drawn;
mod duties;
mod history;
mod listed;
mod log;
mod said;
mod streams;
mod told;
pub mod words;

use crate::given::Trust;
use history::History;
pub use log::Newest;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::policy::Unsatisfied;
use serde::Serialize;

/// Where a log is read.
pub trait Source {
    /// Why it cannot be.
    type Error: std::error::Error + 'static;

    /// What is at a path of the log's server, such as `/log/checkpoint`.
    ///
    /// # Errors
    /// It does not answer, or not with that.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, Self::Error>;

    /// A piece of evidence by its SHA-256 in hex; `None` if it is not there (any more).
    ///
    /// # Errors
    /// The source does not answer.
    fn evidence(&mut self, sha256: &str) -> Result<Option<Vec<u8>>, Self::Error>;

    /// What is told of a round's assignments: `GET /v1/assignments?round=`; `None` if nothing is.
    ///
    /// # Errors
    /// The source does not answer.
    fn assignments(&mut self, round: u64) -> Result<Option<Vec<u8>>, Self::Error>;

    /// What is told of a round's value and of so many before it: `GET /v1/beacon/{round}?before=`; `None` if nothing is.
    ///
    /// # Errors
    /// The source does not answer.
    fn round(&mut self, round: u64, before: u64) -> Result<Option<Vec<u8>>, Self::Error>;

    /// What drand itself has as the signature of one of its rounds, 96 hex digits; `None` where nobody is asked, or nobody says.
    fn drand(&mut self, _round: u64) -> Option<String> {
        None
    }
}

/// Which assignments are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// None.
    Skipped,
    /// All that were due until now.
    UntilNow,
    /// All that were due until this round.
    Until(u64),
}

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError<E: std::error::Error + 'static> {
    /// The source.
    #[error(transparent)]
    Source(#[from] E),
    /// What it says is not of a log.
    #[error("{path} is no part of a log: {why}")]
    Garbled {
        /// Where.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The checkpoint that was remembered is none.
    #[error(
        "what is remembered of this log is no checkpoint of it; look at the file, and move it away to begin anew"
    )]
    Remembered,
    /// The node's key id is none.
    #[error(
        "a node is named by its key id, 64 hex digits; `nearlight receipt list` shows those of receipts"
    )]
    Node,
}

/// How an audit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Verdict {
    /// The log holds together, and nothing about the node is odd.
    Clean,
    /// The log holds together; there is something to look at.
    Findings,
    /// The checkpoint is not signed by a log of the policy.
    NotLogged,
    /// Too few witnesses of the policy saw it.
    NotWitnessed,
    /// The log contradicts what it signed, or what was seen of it before.
    Contradicted,
}

impl Verdict {
    /// The exit code of a program that says this.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::NotLogged => 5,
            Self::NotWitnessed => 6,
            Self::Findings => 12,
            Self::Contradicted => 13,
        }
    }
}

/// What is odd, in order of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// The log contradicts itself.
    Contradiction,
    /// A receipt does not verify: a key out of its window, a signature.
    NotValid,
    /// It was revoked, or a dispute over it was upheld.
    Revoked,
    /// A dispute over it is open.
    Disputed,
    /// Checkers of one round found different things.
    Disagreement,
    /// A verdict says that somebody lied.
    Liar,
    /// A verdict contradicts those who were assigned, and nothing was executed.
    AgainstAssigned,
    /// A checker came into the directory, or out of it, as of before.
    Backdated,
    /// What is told of who was assigned does not follow from the chain and the directory.
    WrongAssignment,
    /// A check was due, and nobody was assigned.
    LeftOut,
    /// A checker that was assigned missed it.
    Missed,
    /// A check of one who was not to check.
    Unassigned,
    /// Of rounds in which a check was due nothing is told.
    NotTold,
    /// No capacity check for longer than the schedule allows.
    Gap,
    /// The node did not sign what was found.
    Unsigned,
    /// Evidence that should be there is not, or is other bytes.
    EvidenceMissing,
    /// Evidence was kept for its time, and is gone.
    EvidenceExpired,
}

/// Something odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind.
    pub oddity: Oddity,
    /// The entries that it is about.
    pub entries: Vec<u64>,
    /// What it is, as a sentence.
    pub words: String,
}

/// A receipt about the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its place.
    pub index: u64,
    /// Its leaf.
    pub leaf: String,
    /// Its kind.
    pub kind: &'static str,
    /// The key id of its issuer.
    pub issuer: String,
    /// When it says it was issued, Unix seconds.
    pub issued_at_s: u64,
    /// How it stands, by the whole log.
    pub outcome: nearlight_proof::receipt::Outcome,
    /// What was found, if it is a check or a verdict.
    pub finding: Option<nearlight_proof::receipt::predicate::Finding>,
    /// The score, thousandths, if it has one.
    pub score_permille: Option<u32>,
}

/// What a round of one GPU comes to, by those who have a seat in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoundHeld {
    /// Which.
    pub round: u64,
    /// The GPU.
    pub gpu: String,
    /// `open`, `passed`, `failed` or `split`.
    pub state: &'static str,
    /// The score, thousandths, if it counts.
    pub score_permille: Option<u32>,
    /// The entries of those who have a seat.
    pub entries: Vec<u64>,
}

/// The log that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogRead {
    /// Its name.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// The root over them, hex.
    pub root: String,
    /// Witnesses of the policy that saw it.
    pub witnesses: usize,
    /// The size that was remembered from before.
    pub remembered: Option<u64>,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// How it ended.
    pub verdict: Verdict,
    /// The log, if its checkpoint was signed as the policy asks.
    pub log: Option<LogRead>,
    /// The node's key id.
    pub node: String,
    /// Everything about it, in order.
    pub receipts: Vec<Held>,
    /// What its rounds come to.
    pub rounds: Vec<RoundHeld>,
    /// Rounds of which the assignments were compared.
    pub rounds_compared: usize,
    /// Rounds that are void, and in which by drand's own value no check of the node was due.
    pub rounds_void: usize,
    /// What is odd, the weightiest first.
    pub findings: Vec<Finding>,
    /// What to know besides.
    pub warnings: Vec<&'static str>,
}

/// An audit, and the checkpoint to remember if the log held together.
#[derive(Debug)]
pub struct Audited {
    /// What was found.
    pub audit: Audit,
    /// The checkpoint, as the log signed it.
    pub checkpoint: Option<Vec<u8>>,
}

/// What an audit is to look at.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The node's key id, hex.
    pub node: &'a str,
    /// The checkpoint that was remembered.
    pub remembered: Option<&'a [u8]>,
    /// Now, Unix seconds.
    pub now_s: u64,
    /// Whether to fetch each piece of evidence that should be there.
    pub evidence: bool,
    /// Which assignments to compare.
    pub rounds: Rounds,
}

/// Reads the whole log under a checkpoint, and tells the node's history.
///
/// # Errors
/// [`AuditError`]: the log cannot be read. One that contradicts itself is a verdict, and no error.
pub fn run<S: Source>(
    source: &mut S,
    trust: &Trust,
    newest: Newest,
    wanted: Wanted<'_>,
) -> Result<Audited, AuditError<S::Error>> {
    let node = KeyId::from_hex(wanted.node).ok_or(AuditError::Node)?;
    let mut audit = Audit {
        verdict: Verdict::Clean,
        log: None,
        node: wanted.node.to_owned(),
        receipts: Vec::new(),
        rounds: Vec::new(),
        rounds_compared: 0,
        rounds_void: 0,
        findings: Vec::new(),
        warnings: warnings(trust),
    };
    let witnessed = match trust.policy.check(&newest.note) {
        Ok(witnessed) => witnessed,
        Err(why) => {
            audit.verdict = match why {
                Unsatisfied::Quorum => Verdict::NotWitnessed,
                Unsatisfied::Log(_) | Unsatisfied::Witness => Verdict::NotLogged,
            };
            audit.findings.push(Finding {
                oddity: Oddity::Contradiction,
                entries: Vec::new(),
                words: why.to_string(),
            });
            return Ok(Audited {
                audit,
                checkpoint: None,
            });
        }
    };
    let mut history = History::new(node, trust);
    let before = log::remembered(&trust.policy, &witnessed, wanted.remembered)
        .map_err(|()| AuditError::Remembered)?;
    let held = log::replay(
        source,
        &witnessed.checkpoint,
        before.as_ref(),
        |index, entry| {
            history.entry(index, entry);
        },
    )?;
    audit.log = Some(LogRead {
        origin: witnessed.checkpoint.origin.clone(),
        size: witnessed.checkpoint.size,
        root: hex(&witnessed.checkpoint.root),
        witnesses: witnessed.witnesses.len(),
        remembered: before.map(|before| before.size),
    });
    let mut findings: Vec<Finding> = held.into_iter().collect();
    let examined = duties::examine(source, &history, (wanted.rounds, wanted.now_s))?;
    findings.extend(examined.findings);
    (audit.rounds, audit.rounds_compared) = (examined.rounds, examined.told);
    audit.rounds_void = examined.void;
    let told = history.told(wanted.now_s);
    findings.extend(told.findings);
    if wanted.evidence {
        findings.extend(history::evidence(source, &told.evidence)?);
    }
    findings.sort_by_key(|finding| finding.oddity);
    audit.verdict = match findings.first().map(|first| first.oddity) {
        None => Verdict::Clean,
        Some(Oddity::Contradiction) => Verdict::Contradicted,
        Some(_) => Verdict::Findings,
    };
    let holds = audit.verdict != Verdict::Contradicted;
    (audit.receipts, audit.findings) = (told.receipts, findings);
    Ok(Audited {
        audit,
        checkpoint: holds.then_some(newest.bytes),
    })
}

/// What a reader should know of whom it believes.
fn warnings(trust: &Trust) -> Vec<&'static str> {
    use nearlight_proof::receipt::report::Warning;
    use nearlight_proof::receipt::verify::PolicySource;
    let mut warnings = Vec::new();
    if trust.source == PolicySource::LogOperator {
        warnings.push(crate::caution(Warning::PolicyFromLog));
    }
    if trust.policy.asks_nobody() {
        warnings.push(crate::caution(Warning::NoQuorum));
    }
    warnings
}

#[cfg(test)]
#[path = "audit/test.rs"]
mod test;
