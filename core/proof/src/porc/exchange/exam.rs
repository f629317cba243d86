//! The checker's side of a probe: what it asks next, until when, and what the answers come to.
//!
//! ```text
//!   Due(step) --ask--> Asked(step) --answer in time, signed--> Due(next) ... --opening is right--> Over(pass or fail)
//!                          |-- late, wrong, unsigned --> Over(fail)
//!                          `-- refused, broken off, out of reach --> Over(inconclusive)
//! ```
//!
//! **Invariants.** A secret is revealed after what it must not have influenced was signed. A late answer is not looked
//! at. Whoever falls silent is late; only a refusal that came in time, and an answer that breaks off, leave things open, and are
//! on record: a node that breaks off has no more of it than one that refuses.

use super::super::commit::Commitment;
use super::super::contest::{SHORT_OPENING, UNSIGNED_OPENING};
use super::super::memory::{Fill, Reads};
use super::super::score::{Class, Score};
use super::super::seed::{Secrets, seed};
use super::Step;
use super::begin::{Begin, BeginError, commitments};
use super::opening::Plan;
use super::record::Record;
use super::said::{Side, Transcript};
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::log::tree::Hash;
use crate::receipt::envelope::Envelope;
use crate::receipt::predicate::{Elapsed, Finding, Porc, Predicate, Ratios};
use crate::receipt::statement::{Assurance, Countersign, Evidence, Head, Statement, Subject};

/// For an answer that takes no work, microseconds.
pub const TALK_US: u64 = 15_000_000;
/// For the opening: megabytes over a slow uplink, microseconds.
pub const OPEN_US: u64 = 180_000_000;
/// The largest piece of evidence, bytes.
pub const PIECE_BYTES_MAX: usize = 65_536;
/// What a receipt of a probe does not say.
pub const DOES_NOT_PROVE: [&str; 2] = [
    "that no machine nearby answered in the node's place within the deadlines",
    "that the card is of the model that it says, if another card of its class is as fast",
];

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Which step.
    pub step: Step,
    /// What is sent.
    pub message: Vec<u8>,
    /// When the answer is late, on the clock that was handed in.
    pub until_us: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Not until it was due.
    Late,
    /// The node says why not, in time.
    Refused(String),
    /// It began, and broke off in time.
    BrokeOff(String),
    /// Whoever is between does not reach the node.
    Unreachable(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Due(Step),
    Asked(Step, u64),
    Over(Finding, String),
}

/// A probe, as its checker holds it.
#[derive(Debug)]
pub struct Exam<'a> {
    begin: Begin,
    first: Vec<u8>,
    secrets: Secrets,
    key: &'a SecretKey,
    node: PublicKey,
    class: &'a Class,
    transcript: Transcript,
    record: Record,
    state: State,
    seed: Hash,
    seeded_us: u64,
    asked_us: u64,
    roots: Commitment,
    elapsed: Elapsed,
    /// What of the opening is kept, once there is one.
    brief: Vec<u8>,
    /// The memory that the node says the card has, MiB.
    card_mib: Option<u64>,
}

impl<'a> Exam<'a> {
    /// A probe that begins so. The secrets' commitments are filled in here, and the key.
    ///
    /// # Errors
    /// [`BeginError`] for what no node would take.
    pub fn new(
        mut begin: Begin,
        secrets: Secrets,
        (key, node): (&'a SecretKey, PublicKey),
        class: &'a Class,
    ) -> Result<Self, BeginError> {
        begin.secrets = commitments(&secrets);
        begin.checker = crate::encoding::hex(key.public().as_bytes());
        (begin.node, begin.sizes) = (node.id(), class.sizes);
        begin.class.clone_from(&class.class);
        let first = begin.sign(key)?;
        let none = [0; 32];
        Ok(Self {
            transcript: Transcript::new(&first),
            record: Record::new(&first),
            seed: seed(&begin.of(), &secrets.nonce),
            begin,
            first,
            secrets,
            key,
            node,
            class,
            state: State::Due(Step::Begin),
            seeded_us: 0,
            asked_us: 0,
            roots: Commitment {
                matrix: none,
                fill: none,
                reads: none,
                frames: none,
            },
            elapsed: Elapsed {
                compute_us: 0,
                fill_us: 0,
                read_us: 0,
                render_us: 0,
            },
            brief: Vec::new(),
            card_mib: None,
        })
    }

    /// The same of a card that has so much memory, as the node says: what of it is not filled its receipt does not prove.
    #[must_use]
    pub fn of_card(self, card_mib: Option<u64>) -> Self {
        Self { card_mib, ..self }
    }

    /// What is asked next; `None` while something is, and once it is over.
    #[must_use]
    pub const fn due(&self) -> Option<Step> {
        match self.state {
            State::Due(step) => Some(step),
            State::Asked(..) | State::Over(..) => None,
        }
    }

    /// The next question, asked now; `None` while one is open, and once it is over.
    pub fn ask(&mut self, now_us: u64) -> Option<Ask> {
        let step = self.due()?;
        let value = match step {
            Step::Fill => self.secrets.nonce,
            Step::Reads => self.secrets.read,
            Step::Open => self.secrets.open,
            Step::Begin | Step::Matrix | Step::Frames | Step::Sign => [0; 32],
        };
        let message = match step {
            Step::Begin => self.first.clone(),
            _ => self
                .transcript
                .message(Side::Checker, step, &value, self.key),
        };
        if step != Step::Begin {
            self.record.add_message(Side::Checker, step, &message);
        }
        self.asked_us = now_us;
        if step == Step::Fill {
            self.seeded_us = now_us;
        }
        let until_us = self.until_us(step);
        self.state = State::Asked(step, until_us);
        Some(Ask {
            step,
            message,
            until_us,
        })
    }

    /// When the answer to a step that was asked now is late.
    fn until_us(&self, step: Step) -> u64 {
        let reference = &self.class.reference;
        // What passes, and not a microsecond more.
        let within = |reference_us: u64| {
            let pass = u64::from(self.class.pass_permille.max(1));
            reference_us.saturating_mul(1000).div_euclid(pass)
        };
        let (from, within_us) = match step {
            Step::Begin | Step::Sign => (self.asked_us, TALK_US),
            Step::Fill => (self.seeded_us, within(reference.fill_us)),
            Step::Matrix => (self.seeded_us, within(reference.compute_us)),
            Step::Frames => (self.seeded_us, within(reference.render_us)),
            Step::Reads => (self.asked_us, within(reference.read_us)),
            Step::Open => (self.asked_us, OPEN_US),
        };
        from.saturating_add(within_us)
    }

    /// An answer that came now.
    pub fn answer(&mut self, now_us: u64, message: &[u8]) {
        let State::Asked(step, until_us) = self.state else {
            return;
        };
        if now_us > until_us {
            return self.miss(Miss::Late);
        }
        let heard = match step {
            Step::Open => self.hear_opening(message),
            _ => self.hear_value(now_us, step, message),
        };
        match (heard, step.next()) {
            (Err(why), _) => self.state = State::Over(Finding::Fail, why),
            (Ok(()), Some(next)) if step != Step::Open => self.state = State::Due(next),
            (Ok(()), _) => self.judge(),
        }
    }

    /// There is no answer.
    pub fn miss(&mut self, miss: Miss) {
        let State::Asked(step, _) = self.state else {
            return;
        };
        let step = step.name();
        self.state = match miss {
            Miss::Late => State::Over(
                Finding::Fail,
                format!("the answer to `{step}` was later than the class allows"),
            ),
            Miss::Refused(why) => State::Over(
                Finding::Inconclusive,
                format!("the node refused `{step}`: {}", said(&why)),
            ),
            Miss::BrokeOff(why) => State::Over(
                Finding::Inconclusive,
                format!("the answer to `{step}` broke off: {}", said(&why)),
            ),
            Miss::Unreachable(why) => State::Over(
                Finding::Inconclusive,
                format!("the node was out of reach at `{step}`: {}", said(&why)),
            ),
        };
    }

    fn hear_value(&mut self, now_us: u64, step: Step, message: &[u8]) -> Result<(), String> {
        let value = self
            .transcript
            .take((Side::Node, step), message, &self.node)
            .map_err(|error| format!("the answer to `{}`: {error}", step.name()))?;
        self.record.add_message(Side::Node, step, message);
        let since = |from_us: u64| now_us.saturating_sub(from_us).max(1);
        match step {
            Step::Begin if value != self.node.id().0 => {
                return Err("another node answers than the one that was asked".to_owned());
            }
            Step::Fill => (self.roots.fill, self.elapsed.fill_us) = (value, since(self.seeded_us)),
            Step::Matrix => {
                (self.roots.matrix, self.elapsed.compute_us) = (value, since(self.seeded_us));
            }
            Step::Frames => {
                (self.roots.frames, self.elapsed.render_us) = (value, since(self.seeded_us));
            }
            Step::Reads => (self.roots.reads, self.elapsed.read_us) = (value, since(self.asked_us)),
            Step::Begin | Step::Open | Step::Sign => {}
        }
        Ok(())
    }

    fn hear_opening(&mut self, message: &[u8]) -> Result<(), String> {
        let (signature, opening) = message
            .split_first_chunk::<64>()
            .ok_or_else(|| SHORT_OPENING.to_owned())?;
        let value = *blake3::hash(opening).as_bytes();
        self.transcript
            .hear((Side::Node, Step::Open), &value, signature, &self.node)
            .map_err(|error| format!("{UNSIGNED_OPENING}{error}"))?;
        self.record.add(Side::Node, Step::Open, &value, signature);
        let key = self.roots.open_key(&self.secrets.open);
        let plan = Plan::draw(&self.begin.sizes, &key);
        let reads = Reads::new(&self.seed, &self.secrets.read, self.begin.sizes.blocks);
        // What is wrong is evidence, too.
        self.brief = plan.brief(opening).unwrap_or_default();
        let fill = Fill::new(&self.seed);
        plan.check(opening, (&self.seed, &key), (&reads, &fill), &self.roots)
            .map_err(|wrong| wrong.to_string())
    }

    fn judge(&mut self) {
        let score = self.class.score(&self.elapsed);
        self.state = if score.passes {
            State::Over(Finding::Pass, String::new())
        } else {
            let (has, needs) = (score.permille, self.class.pass_permille);
            let why = format!("the score is {has} thousandths, and the class asks for {needs}");
            State::Over(Finding::Fail, why)
        };
    }

    /// How many bytes the answer to a step has at most.
    #[must_use]
    pub fn answer_bytes_max(&self, step: Step) -> usize {
        match step {
            Step::Open => {
                let key = self.roots.open_key(&self.secrets.open);
                64 + Plan::draw(&self.begin.sizes, &key).bytes()
            }
            Step::Sign => super::ASK_BYTES_MAX,
            _ => super::said::SAID_BYTES,
        }
    }

    /// What was said so far, as evidence.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// How it ended, once it did.
    #[must_use]
    pub fn finding(&self) -> Option<(Finding, &str)> {
        match &self.state {
            State::Over(finding, why) => Some((*finding, why)),
            State::Due(_) | State::Asked(..) => None,
        }
    }

    /// What it comes to; `None` while it runs. Nothing of a probe that did not get to its end counts.
    #[must_use]
    pub fn result(&self) -> Option<Porc> {
        let (finding, reason) = self.finding()?;
        let nothing = Ratios {
            compute_permille: 0,
            memory_permille: 0,
            render_permille: 0,
        };
        let got_there = self.roots.reads != [0; 32];
        let Score {
            ratios, permille, ..
        } = self.class.score(&self.elapsed);
        let (ratios, score_permille) = if got_there {
            (ratios, permille)
        } else {
            (nothing, 0)
        };
        let begin = &self.begin;
        Some(Porc {
            round: begin.round,
            beacon: begin.beacon,
            gpu: begin.gpu.clone(),
            class: begin.class.clone(),
            table: begin.table,
            probe: begin.probe.clone(),
            checkers: begin.checkers,
            nonce: KeyId(self.secrets.nonce),
            read_secret: KeyId(self.secrets.read),
            open_secret: KeyId(self.secrets.open),
            sizes: begin.sizes,
            matrix_root: KeyId(self.roots.matrix),
            fill_root: KeyId(self.roots.fill),
            read_root: KeyId(self.roots.reads),
            frame_root: KeyId(self.roots.frames),
            elapsed: self.elapsed,
            ratios,
            score_permille,
            finding,
            reason: reason.to_owned(),
        })
    }

    /// What anybody needs to compute the openings anew, in pieces as a log takes them, each with how a receipt names
    /// it. Empty if nothing was opened.
    #[must_use]
    pub fn evidence(&self, kept_until_s: u64) -> Vec<(Evidence, &[u8])> {
        let piece = |bytes| {
            let named = Evidence {
                sha256: KeyId(crate::encoding::sha256(&[bytes])),
                bytes: bytes.len() as u64,
                kept_until_s,
            };
            (named, bytes)
        };
        self.brief.chunks(PIECE_BYTES_MAX).map(piece).collect()
    }

    /// The receipt that says so, signed by the checker alone: with [`Countersign::Node`] the node's
    /// signature is still missing. `None` while the probe runs.
    #[must_use]
    pub fn receipt(
        &self,
        (node, issued_at_s): (&str, u64),
        countersign: Countersign,
        evidence: Vec<Evidence>,
    ) -> Option<Envelope> {
        let statement = Statement {
            subject: Subject {
                name: format!("node:{node}"),
                sha256: self.node.id(),
            },
            head: Head {
                issuer: self.key.public().id(),
                issued_at_s,
                countersign,
                assurance: Assurance::Timing,
                does_not_prove: self.does_not_prove(),
                evidence,
            },
            predicate: Predicate::Porc(Box::new(self.result()?)),
        };
        let mut envelope = statement.envelope().ok()?;
        envelope.sign(self.key);
        Some(envelope)
    }

    fn does_not_prove(&self) -> Vec<String> {
        let mut all = DOES_NOT_PROVE.map(str::to_owned).to_vec();
        if let Some(card_mib) = self.card_mib
            && let Some(mib) = self.class.fills_less_than(card_mib)
        {
            all.push(format!(
                "that there is more than {mib} MiB of the {card_mib} MiB of memory that the node says its card has"
            ));
        }
        all
    }

    /// The receipt with the node's signature, if that is what the node answered to `receipt`.
    #[must_use]
    pub fn countersigned(&self, receipt: &Envelope, answer: &[u8]) -> Option<Envelope> {
        let signature: [u8; 64] = answer.try_into().ok()?;
        let mut both = receipt.clone();
        both.signatures.push((self.node.id(), signature));
        both.signed_by(&self.node).then_some(both)
    }
}

/// The most of somebody's words that a receipt repeats, bytes.
const WORDS_MAX: usize = 200;

/// What a stranger said, short and on one line.
fn said(words: &str) -> String {
    let plain = words.chars().filter(|c| !c.is_control());
    let mut short = String::new();
    for c in plain {
        if short.len() + c.len_utf8() > WORDS_MAX {
            break;
        }
        short.push(c);
    }
    short
}
