//! The node's side of a probe: what it takes, what it has to do for it, what it signs.
//!
//! ```text
//!   begin -> fill (start all legs) -> matrix -> frames -> reads (run the lanes) -> open -> sign
//! ```
//!
//! **Invariants.** A secret that was not committed to is refused, and so is a step out of its order: no second opening, no
//! second key of reads. What it countersigns is what it saw itself, and times that it can vouch for.

use super::super::commit::Commitment;
use super::super::memory::Reads;
use super::super::seed::seed;
use super::Step;
use super::begin::{Begin, BeginError, Bounds};
use super::opening::Plan;
use super::record::Record;
use super::said::{SaidError, Side, Transcript};
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tree::Hash;
use crate::receipt::envelope::Envelope;
use crate::receipt::predicate::{Elapsed, Finding, Porc, Predicate};
use crate::receipt::statement::{Countersign, Statement};

/// How much later than the node's own clock a checker's may have seen an answer, microseconds: the way there and
/// back.
pub const SLACK_US: u64 = 5_000_000;

/// What a node has to do for a step that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Start all three legs of this seed, and say the root of the fill.
    Start(Hash),
    /// Say the root of this leg, once it is there.
    Say(Step),
    /// Run the lanes over what is held, and say their root.
    Read(Reads),
    /// Open this, by the reads that were run.
    Open(Plan, Reads),
}

/// Why a step is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No beginning that this node takes.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// Not signed for its place.
    #[error(transparent)]
    Said(#[from] SaidError),
    /// Another step is due.
    #[error("this step is not the one that is due; begin another probe")]
    Order,
    /// Not the secret that was committed to.
    #[error("the secret is not the one that was committed to")]
    Secret,
    /// The receipt cannot be read, or is not the checker's.
    #[error("this is no receipt of the checker that asked")]
    Receipt,
    /// The receipt says something else than what happened.
    #[error("the receipt says something else than this node saw")]
    Differs,
    /// The times are not those that the node saw.
    #[error("the times are not those that this node saw")]
    Times,
    /// The node holds that it passed, or cannot judge it.
    #[error("this node does not agree that it failed")]
    Contested,
}

/// A probe, as its node holds it.
#[derive(Debug)]
pub struct Sitting {
    begin: Begin,
    checker: PublicKey,
    transcript: Transcript,
    record: Record,
    due: Option<Step>,
    /// A step that was taken and is not answered.
    open: Option<Step>,
    secrets: [Hash; 3],
    seed: Hash,
    roots: Commitment,
    seeded_us: u64,
    asked_us: u64,
    elapsed: Elapsed,
}

impl Sitting {
    /// Takes a beginning, if this node with its key, GPUs and bounds takes it on.
    ///
    /// # Errors
    /// [`BeginError`].
    pub fn begin(
        message: &[u8],
        (node, gpus): (&KeyId, &[String]),
        bounds: &Bounds,
    ) -> Result<Self, BeginError> {
        let (begin, checker) = Begin::open(message)?;
        begin.check(node, gpus, bounds)?;
        let none = [0; 32];
        Ok(Self {
            begin,
            checker,
            transcript: Transcript::new(message),
            record: Record::new(message),
            due: None,
            open: Some(Step::Begin),
            secrets: [none; 3],
            seed: none,
            roots: Commitment {
                matrix: none,
                fill: none,
                reads: none,
                frames: none,
            },
            seeded_us: 0,
            asked_us: 0,
            elapsed: Elapsed {
                compute_us: 0,
                fill_us: 0,
                read_us: 0,
                render_us: 0,
            },
        })
    }

    /// What was asked for.
    #[must_use]
    pub const fn asked(&self) -> &Begin {
        &self.begin
    }

    /// What was said so far, as evidence.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Takes a step after the first and before the last.
    ///
    /// # Errors
    /// [`Refusal::Order`], [`Refusal::Said`], [`Refusal::Secret`].
    pub fn hear(&mut self, now_us: u64, step: Step, message: &[u8]) -> Result<Todo, Refusal> {
        if self.due != Some(step) || self.open.is_some() {
            return Err(Refusal::Order);
        }
        let of = (Side::Checker, step);
        let mut after = self.transcript;
        let value = after.take(of, message, &self.checker)?;
        let secret = match step {
            Step::Fill => Some(0),
            Step::Reads => Some(1),
            Step::Open => Some(2),
            Step::Begin | Step::Matrix | Step::Frames | Step::Sign => None,
        };
        if let Some(place) = secret {
            if !self.begin.committed(place, &value) {
                return Err(Refusal::Secret);
            }
            self.secrets[place] = value;
        }
        self.transcript = after;
        self.record.add_message(Side::Checker, step, message);
        (self.due, self.open, self.asked_us) = (None, Some(step), now_us);
        let reads = Reads::new(&self.seed, &self.secrets[1], self.begin.sizes.blocks);
        Ok(match step {
            Step::Fill => {
                self.seed = seed(&self.begin.of(), &value);
                self.seeded_us = now_us;
                Todo::Start(self.seed)
            }
            Step::Reads => Todo::Read(reads),
            Step::Open => {
                let key = self.roots.open_key(&value);
                Todo::Open(Plan::draw(&self.begin.sizes, &key), reads)
            }
            Step::Begin | Step::Matrix | Step::Frames | Step::Sign => Todo::Say(step),
        })
    }

    /// The answer to the beginning: this node takes it on.
    pub fn accept(&mut self, key: &SecretKey) -> Option<Vec<u8>> {
        self.say(0, Step::Begin, &key.public().id().0, key)
    }

    /// The answer to a step that was taken: its root. `None` if that step is not open.
    pub fn say(
        &mut self,
        now_us: u64,
        step: Step,
        root: &Hash,
        key: &SecretKey,
    ) -> Option<Vec<u8>> {
        if self.open != Some(step) || step == Step::Open {
            return None;
        }
        let since = |from_us: u64| now_us.saturating_sub(from_us);
        match step {
            Step::Fill => (self.roots.fill, self.elapsed.fill_us) = (*root, since(self.seeded_us)),
            Step::Matrix => {
                (self.roots.matrix, self.elapsed.compute_us) = (*root, since(self.seeded_us));
            }
            Step::Frames => {
                (self.roots.frames, self.elapsed.render_us) = (*root, since(self.seeded_us));
            }
            Step::Reads => (self.roots.reads, self.elapsed.read_us) = (*root, since(self.asked_us)),
            Step::Begin | Step::Open | Step::Sign => {}
        }
        (self.open, self.due) = (None, step.next());
        let message = self.transcript.message(Side::Node, step, root, key);
        self.record.add_message(Side::Node, step, &message);
        Some(message)
    }

    /// The answer to [`Step::Open`]: a signature and what is opened.
    pub fn say_opening(&mut self, mut opening: Vec<u8>, key: &SecretKey) -> Option<Vec<u8>> {
        if self.open != Some(Step::Open) {
            return None;
        }
        (self.open, self.due) = (None, Some(Step::Sign));
        let value = *blake3::hash(&opening).as_bytes();
        let signature = self.transcript.say(Side::Node, Step::Open, &value, key);
        self.record.add(Side::Node, Step::Open, &value, &signature);
        opening.splice(0..0, signature);
        Some(opening)
    }

    /// The node's signature under a receipt of this probe. Asked once more it answers the same.
    ///
    /// # Errors
    /// Every [`Refusal`] about receipts: the checker records it.
    pub fn countersign(&self, receipt: &[u8], key: &SecretKey) -> Result<[u8; 64], Refusal> {
        if self.due != Some(Step::Sign) {
            return Err(Refusal::Order);
        }
        let mut envelope = Envelope::parse(receipt).map_err(|_| Refusal::Receipt)?;
        let statement = Statement::parse(&envelope).map_err(|_| Refusal::Receipt)?;
        let issuer = self.checker.id();
        let is_theirs = statement.head.issuer == issuer
            && envelope.signatures.len() == 1
            && envelope.signed_by(&self.checker);
        let Predicate::Porc(porc) = &statement.predicate else {
            return Err(Refusal::Receipt);
        };
        let node = key.public().id();
        if !is_theirs {
            return Err(Refusal::Receipt);
        }
        let about = statement.head.countersign == Countersign::Node(node);
        if !about || statement.subject.sha256 != node || !self.is_of_this(porc) {
            return Err(Refusal::Differs);
        }
        if !self.fits(&porc.elapsed) {
            return Err(Refusal::Times);
        }
        if porc.finding != Finding::Pass {
            return Err(Refusal::Contested);
        }
        envelope.sign(key);
        envelope
            .signatures
            .last()
            .map(|of| of.1)
            .ok_or(Refusal::Receipt)
    }

    fn is_of_this(&self, porc: &Porc) -> bool {
        let (begin, roots) = (&self.begin, &self.roots);
        let names = (porc.round, &porc.gpu, &porc.class, &porc.probe, porc.sizes)
            == (
                begin.round,
                &begin.gpu,
                &begin.class,
                &begin.probe,
                begin.sizes,
            );
        let fixed = [porc.beacon, porc.table, porc.checkers];
        let secrets = [porc.nonce, porc.read_secret, porc.open_secret];
        let committed = [
            porc.matrix_root,
            porc.fill_root,
            porc.read_root,
            porc.frame_root,
        ];
        names
            && fixed == [begin.beacon, begin.table, begin.checkers]
            && secrets == self.secrets.map(KeyId)
            && committed == [roots.matrix, roots.fill, roots.reads, roots.frames].map(KeyId)
    }

    /// A checker sees an answer after the node gave it, and not much after.
    fn fits(&self, theirs: &Elapsed) -> bool {
        let own = &self.elapsed;
        let pairs = [
            (own.fill_us, theirs.fill_us),
            (own.compute_us, theirs.compute_us),
            (own.render_us, theirs.render_us),
            (own.read_us, theirs.read_us),
        ];
        pairs
            .iter()
            .all(|(own, theirs)| (own..=&own.saturating_add(SLACK_US)).contains(&theirs))
    }
}
