//! A witness of the network's log of receipts: it cosigns heads that go on from each other, and no others.
//!
//! ```text
//!   Unnamed --the operator's policy names this key--> Watching --head, each 2 s--> kept on the disk -> signed -> handed in
//!      ^  looks again after ten minutes                 |-- nothing new: the same head again after a minute
//!      |                                                |-- the broker is away: asked again, after longer each time
//!      `-- its line is not taken any more --------------|-- a head that contradicts: kept as evidence, said loudly, not signed
//!                                                       `-- a disk that cannot be written: nothing is signed
//! ```
//!
//! [`Kept`] has what must outlive the program. The decision is core/proof's, `log::witness`.
//!
//! **Invariants.** What is signed is one history of each log, whatever the log or the broker says, and whenever this
//! program is killed. At most one line in two seconds. The log's key is the one that the network's directory names, whose own key
//! the checker was told when it came in, or the one that was given; a log that was cosigned keeps its key.
//!
//! **What it does not know:** whether what a receipt says is true; what other witnesses signed.

mod alone;
mod kept;

pub use alone::run;
pub use kept::{Kept, Unsigned, key_in, standing};

use crate::broker::{Broker, Refused};
use crate::failure::Failure;
use crate::member::Network;
use nearlight_kit::clock::unix_ms;
use nearlight_proof::key::PublicKey;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::note::VerifierKey;
use nearlight_proof::log::policy::Policy;
use nearlight_proof::log::witness::{Candidate, NotCosigned};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_protocol::problem::ProblemType;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two questions for a head.
const EVERY: Duration = Duration::from_secs(2);
/// Until a head that was handed in is signed once more: a broker that was started again has forgotten the line.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Between two tries to open what another process has.
const OPENED_EVERY: Duration = Duration::from_secs(5);
/// Between two looks whether the log's operator has named this witness.
const NAMED_EVERY: Duration = Duration::from_secs(600);

/// Between two such looks after one that a line was not taken, or that the head is not the log's.
const DOUBTS_EVERY: Duration = Duration::from_secs(60);

/// Whom the log's key is believed of.
#[derive(Clone, Debug)]
pub enum Pinned {
    /// It was given.
    Log(VerifierKey),
    /// The network's directory, by the key that signs it.
    Directory(PublicKey),
}

/// What a look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Looked {
    /// The log's operator asks for no line of this witness.
    Unnamed,
    /// There is nothing to cosign that was not handed in a moment ago.
    Nothing,
    /// The line for a head of so many entries was taken.
    Cosigned(u64),
}

/// Why a look came to nothing.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the broker: {0}")]
    Broker(#[from] Refused),
    #[error("the log's key is not believed: {0}")]
    Log(&'static str),
    #[error("the broker asks for something else than a head")]
    Garbled,
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
}

/// See the module.
#[derive(Debug)]
pub struct Witness {
    kept: Kept,
    pinned: Pinned,
    /// The log, once the operator's policy has named this witness.
    log: Option<VerifierKey>,
    /// When it was asked last whether that is so still: the answer is the whole directory.
    doubted: Option<Instant>,
    /// The last line that was taken, and when.
    handed_in: Option<(Checkpoint, Instant)>,
    /// What was said last of a look that came to nothing: once is enough.
    said: String,
}

/// Opens a witness, and has it watch. While another process on this machine has it, such as one that is ending, it is tried
/// again.
pub fn watch(
    open: impl Fn() -> Result<Witness, Failure>,
    broker: &Broker,
    wait: impl Fn(Duration) -> bool,
) {
    loop {
        match open() {
            Ok(witness) => return witness.watch(broker, wait),
            Err(error @ Failure::WitnessRuns(_)) => {
                tracing::warn!(%error, "nothing is cosigned here until that one ends");
            }
            Err(error) => return tracing::error!(%error, "this checker witnesses nothing"),
        }
        if wait(OPENED_EVERY) {
            return;
        }
    }
}

impl Witness {
    /// The witness that `kept` is, for the log that `pinned` says.
    #[must_use]
    pub fn new(kept: Kept, pinned: Pinned) -> Self {
        Self {
            kept,
            pinned,
            log: None,
            doubted: None,
            handed_in: None,
            said: String::new(),
        }
    }

    /// The witness of a member of a network.
    ///
    /// # Errors
    /// Those of [`Kept::open`]; [`Failure::Key`].
    pub fn of_member(data: &Path, network: &Network) -> Result<Self, Failure> {
        let authority = network.authority()?;
        Ok(Self::new(Kept::open(data)?, Pinned::Directory(authority)))
    }

    /// Cosigns until `wait` says that it is to stop; the wait for so long is its as well.
    pub fn watch(mut self, broker: &Broker, wait: impl Fn(Duration) -> bool) {
        let mut failed = 0;
        loop {
            let pause = match self.look(broker) {
                Ok(Looked::Unnamed) => {
                    let key = self.kept.key();
                    tracing::info!(%key, "the log's operator does not name this witness; looking again later");
                    NAMED_EVERY
                }
                Ok(looked) => {
                    tracing::debug!(?looked, "witness");
                    failed = 0;
                    EVERY
                }
                Err(error @ LookError::Unsigned(_)) => {
                    self.say(&error);
                    EVERY
                }
                Err(error) => {
                    self.say(&error);
                    failed += 1;
                    crate::run::backoff(failed, rand::random()).max(EVERY)
                }
            };
            if wait(pause) {
                return;
            }
        }
    }

    fn look(&mut self, broker: &Broker) -> Result<Looked, LookError> {
        let log = match self.log.clone() {
            Some(log) => log,
            None => match self.named(broker)? {
                Some(log) => {
                    if self.kept.is_new(&log) {
                        tracing::warn!(
                            log = log.name(),
                            "another log is cosigned from here on, as after a restore"
                        );
                    }
                    self.log.insert(log).clone()
                }
                None => return Ok(Looked::Unnamed),
            },
        };
        let old = self.kept.seen(&log).map_or(0, |head| head.size);
        let mut text = broker.candidate(old)?;
        if text.is_none() && old > 0 {
            // There is no head, or a smaller one than was cosigned.
            text = broker.candidate(0)?;
        }
        let Some(text) = text else {
            return Ok(Looked::Nothing);
        };
        let candidate = Candidate::parse(&text).map_err(|_| LookError::Garbled)?;
        if self.is_handed_in(&candidate) {
            return Ok(Looked::Nothing);
        }
        let now_s = unix_ms() / 1000;
        let (head, line) = match self.kept.cosign(&log, &candidate, now_s) {
            Ok(signed) => signed,
            Err(error) => {
                self.refuse(broker, (&log, &candidate), (&error, now_s));
                return Err(error.into());
            }
        };
        if let Err(error) = broker.cosigned(&line.to_string()) {
            // Perhaps it is named no more.
            if matches!(error, Refused::Said(ProblemType::BadRequest, _)) {
                self.doubt();
            }
            return Err(error.into());
        }
        let size = head.size;
        self.handed_in = Some((head, Instant::now()));
        self.said.clear();
        Ok(Looked::Cosigned(size))
    }

    /// The log, if its operator asks for lines of this witness.
    fn named(&self, broker: &Broker) -> Result<Option<VerifierKey>, LookError> {
        let shown = broker.directory()?;
        let policy = Policy::parse(&shown.policy).map_err(|_| LookError::Garbled)?;
        let key = self.kept.key();
        if !policy.witnesses().iter().any(|of| of.key == key) {
            return Ok(None);
        }
        let log = VerifierKey::parse(&shown.log_key).ok_or(LookError::Garbled)?;
        match &self.pinned {
            Pinned::Log(given) if *given == log => Ok(Some(log)),
            Pinned::Log(_) => Err(LookError::Log(
                "it is not the one that was given with --log",
            )),
            Pinned::Directory(authority) => {
                let directory = Directory::open(shown.envelope.as_bytes(), authority);
                let directory = directory.map_err(|_| {
                    LookError::Log("the directory is not signed by the network's key; join again")
                })?;
                match directory.find(&log.key().id(), Role::Log) {
                    Some(_) => Ok(Some(log)),
                    None => Err(LookError::Log("the network's directory does not have it")),
                }
            }
        }
    }

    /// Asks again whether the log's operator names it, and who the log is; but not at each look.
    fn doubt(&mut self) {
        if self.doubted.is_none_or(|at| at.elapsed() >= DOUBTS_EVERY) {
            self.doubted = Some(Instant::now());
            self.log = None;
        }
    }

    fn is_handed_in(&self, candidate: &Candidate) -> bool {
        let Some((head, at)) = &self.handed_in else {
            return false;
        };
        at.elapsed() < AGAIN_AFTER && candidate.note.text() == head.to_string()
    }

    /// What is done about a head that is not signed, besides saying so.
    fn refuse(
        &mut self,
        broker: &Broker,
        (log, candidate): (&VerifierKey, &Candidate),
        (error, now_s): (&Unsigned, u64),
    ) {
        let Unsigned::Refused(why) = error else {
            return;
        };
        match why {
            // The log may have another name since.
            NotCosigned::Head(_) => self.doubt(),
            // The log has to know that it signed more than it has; what it says to that changes nothing here.
            NotCosigned::Behind { .. } => {
                let last = self.kept.last(log, now_s);
                let _ = last.map(|last| broker.cosigned(&last.to_string()));
            }
            NotCosigned::OtherStart { .. } => {}
            NotCosigned::Fork { .. } | NotCosigned::NotProven { .. } => {
                self.keep(log, candidate, (why, now_s));
            }
        }
    }

    fn keep(&self, log: &VerifierKey, candidate: &Candidate, (why, now_s): (&NotCosigned, u64)) {
        match self.kept.keep_evidence(log, candidate, (why, now_s)) {
            Ok(file) if self.said != why.to_string() => {
                tracing::error!(log = log.name(), %why, file = %file.display(), "THE LOG CONTRADICTS ITSELF: nothing is signed; both heads are in the file");
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "what contradicts cannot be kept: {candidate}"),
        }
    }

    fn say(&mut self, error: &LookError) {
        let text = error.to_string();
        if self.said == text {
            return;
        }
        match error {
            // It is said where it is kept.
            LookError::Unsigned(Unsigned::Refused(why)) if why.contradicts() => {}
            LookError::Unsigned(Unsigned::Refused(why)) => {
                tracing::warn!(%why, "the head is not cosigned");
            }
            LookError::Unsigned(Unsigned::Disk(cause)) => {
                tracing::error!(%error, because = %cause, "nothing is signed");
            }
            LookError::Unsigned(_) | LookError::Log(_) => {
                tracing::error!(%error, "nothing is signed");
            }
            LookError::Broker(_) | LookError::Garbled => {
                tracing::warn!(%error, "nothing was cosigned; asking again");
            }
        }
        self.said = text;
    }
}
