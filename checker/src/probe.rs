//! One probe: secrets, steps, receipt. The decisions are core/proof's; here is the clock and the way. Those of a node's GPUs
//! begin [`together`]; of many that are under way a [`few`] open at a time.

pub(crate) mod few;
pub(crate) mod together;

use crate::beacon::Beacon;
use crate::broker::{Broker, NoAnswer};
use crate::cli::RunArgs;
use crate::failure::Failure;
use few::Few;
use nearlight_kit::files::write_atomic;
use nearlight_proof::key::{KeyId, PublicKey, SecretKey};
use nearlight_proof::porc::committee::{Checker, set_root};
use nearlight_proof::porc::exchange::Step;
use nearlight_proof::porc::exchange::begin::Begin;
use nearlight_proof::porc::exchange::exam::{Exam, Miss, TALK_US};
use nearlight_proof::porc::schedule::CPU;
use nearlight_proof::porc::score::{Class, Table};
use nearlight_proof::porc::seed::Secrets;
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porc};
use nearlight_proof::receipt::statement::{Countersign, EVIDENCE_MAX, Evidence};
use nearlight_protocol::prove::{CreateProbe, NewProbe};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bytes of a piece of evidence, and how many a receipt names.
const PIECE_BYTES: usize = 60_000;
/// How long evidence is asked to be kept, seconds: the time in which one can dispute.
const EVIDENCE_S: u64 = 90 * 24 * 3600;
/// Openings at a time: 17 MB each at full size, and up to three minutes on the way.
pub(crate) const OPENINGS_MAX: usize = 4;

/// What a probe came to.
#[derive(Debug)]
pub struct Found {
    /// The receipt: signed by the checker, and by the node if it agrees.
    pub receipt: Envelope,
    /// What it says.
    pub porc: Porc,
    /// Why the node did not sign, if it did not.
    pub unsigned: Option<String>,
    /// What the broker's log said, if it was handed in.
    pub logged: Option<Result<String, String>>,
    /// What stands beside the receipt, for whoever computes the check anew; named in it.
    pub evidence: Vec<Vec<u8>>,
}

impl Found {
    /// For people: what was found, and whether it is in the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let logged = match &self.logged {
            None => "not handed in".to_owned(),
            Some(Ok(place)) => format!("in the log: {place}"),
            Some(Err(why)) => format!("not in the log: {why}"),
        };
        format!("{}\n{logged}", self.findings().join("\n"))
    }

    /// What was found, a line each.
    pub(crate) fn findings(&self) -> [String; 3] {
        let Porc {
            finding,
            score_permille,
            reason,
            ratios,
            ..
        } = &self.porc;
        let finding = match finding {
            Finding::Pass => "pass".to_owned(),
            Finding::Fail => format!("fail: {reason}"),
            Finding::Inconclusive => format!("inconclusive: {reason}"),
        };
        let signed = match &self.unsigned {
            None => "the node signed".to_owned(),
            Some(why) => format!("the node did not sign: {why}"),
        };
        let score = format!(
            "score {score_permille} (compute {}, memory {}, render {})",
            ratios.compute_permille, ratios.memory_permille, ratios.render_permille
        );
        [finding, score, signed]
    }

    /// 0 passed, 2 failed, 3 nothing can be said.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.porc.finding {
            Finding::Pass => ExitCode::SUCCESS,
            Finding::Fail => ExitCode::from(2),
            Finding::Inconclusive => ExitCode::from(3),
        }
    }
}

/// Probes a node as the command line says, writes the receipt and hands it in.
///
/// # Errors
/// What keeps a probe from beginning, or its receipt from being written.
pub fn once(
    args: &RunArgs,
    key: &SecretKey,
    table: &Table,
    beacon: &Beacon,
) -> Result<Found, Failure> {
    let broker = Broker::new(&args.url, &args.token);
    let node = args.node.parse();
    let node = node.map_err(|_| Failure::Broker(format!("`{}` is no node's id", args.node)))?;
    let gpu = (args.gpu != CPU).then(|| args.gpu.clone());
    let probe = broker.open(&CreateProbe { node, gpu })?;
    let found = examine(
        &broker,
        &probe,
        (&args.gpu, &args.class),
        key,
        table,
        beacon,
    );
    broker.end(&probe);
    let mut found = found?;
    let bytes = found.receipt.to_bytes();
    let file = |source| Failure::File {
        path: args.out.clone(),
        source,
    };
    write_atomic(&args.out, &bytes, 0o644).map_err(file)?;
    found.logged = Some(broker.hand_in(&bytes).and_then(|place| {
        let mut pieces = found.evidence.iter();
        let put = pieces.try_for_each(|piece| broker.put_evidence(piece, None));
        put.map_err(|why| format!("its evidence is not taken: {why}"))?;
        Ok(place)
    }));
    Ok(found)
}

/// What a probe is held to, and what its receipt has to say of the round.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Which GPU of the node, by its own id.
    pub gpu: &'a str,
    /// The class of the table.
    pub class: &'a Class,
    /// SHA-256 of the signed table.
    pub table: KeyId,
    /// The round.
    pub beacon: Beacon,
    /// The root over the checkers that could have been assigned.
    pub checkers: KeyId,
}

impl Wanted<'_> {
    fn begin(&self, node: &PublicKey, probe: &str) -> Begin {
        Begin {
            checker: String::new(),
            node: node.id(),
            round: self.beacon.round,
            beacon: KeyId(self.beacon.value),
            probe: probe.to_owned(),
            gpu: self.gpu.to_owned(),
            class: self.class.class.clone(),
            table: self.table,
            checkers: self.checkers,
            sizes: self.class.sizes,
            secrets: [KeyId([0; 32]); 3],
        }
    }
}

/// A probe that was opened and that nobody assigned, from its beginning to its receipt.
///
/// # Errors
/// What keeps it from beginning.
pub fn examine(
    broker: &Broker,
    probe: &NewProbe,
    (gpu, class): (&str, &str),
    key: &SecretKey,
    table: &Table,
    beacon: &Beacon,
) -> Result<Found, Failure> {
    let found = table.class(class);
    let wanted = Wanted {
        gpu,
        class: found.ok_or_else(|| Failure::Class(class.to_owned()))?,
        table: table.id,
        beacon: *beacon,
        checkers: KeyId(alone(key)),
    };
    examine_as(broker, probe, key, (&wanted, &Few::of(1), || ()))
}

/// A probe that was opened, from its beginning to its receipt. Once the node has begun its nonce is told when `meet` returns; a probe
/// that ends before drops it.
///
/// # Errors
/// What keeps it from beginning.
pub(crate) fn examine_as(
    broker: &Broker,
    probe: &NewProbe,
    key: &SecretKey,
    (wanted, openings, meet): (&Wanted<'_>, &Few, impl FnOnce()),
) -> Result<Found, Failure> {
    let node = PublicKey::from_hex(&probe.offer.receipt_key);
    let node = node.ok_or_else(|| Failure::Broker("the node's key is none".to_owned()))?;
    let begin = wanted.begin(&node, &probe.id);
    let exam = Exam::new(begin, secrets(), (key, node), wanted.class);
    let exam = exam.map_err(|error| Failure::Broker(error.to_string()))?;
    let mut exam = exam.of_card(probe.offer.card_mib.map(u64::from));
    let opening = ask_all((broker, probe), &mut exam, openings, meet)?;
    sign(broker, probe, (&exam, &opening), node.id())
}

/// The receipt that nothing can be said of a node that does not answer.
///
/// # Errors
/// What no receipt can say.
pub fn unreachable(
    (key, node_key): (&SecretKey, PublicKey),
    wanted: &Wanted<'_>,
    node: &str,
    why: &str,
) -> Result<Envelope, Failure> {
    let begin = wanted.begin(&node_key, nearlight_kit::ids::session().as_str());
    let exam = Exam::new(begin, secrets(), (key, node_key), wanted.class);
    let mut exam = exam.map_err(|error| Failure::Broker(error.to_string()))?;
    exam.ask(0);
    exam.miss(Miss::Unreachable(why.to_owned()));
    let at = (node, nearlight_kit::clock::unix_ms() / 1000);
    let unsigned = Countersign::Refused("the node was out of reach".to_owned());
    let receipt = exam.receipt(at, unsigned, Vec::new());
    receipt.ok_or_else(|| Failure::Broker("the probe is not over".to_owned()))
}

fn secrets() -> Secrets {
    Secrets {
        nonce: rand::random(),
        read: rand::random(),
        open: rand::random(),
    }
}

/// What was opened; nothing if that never came. What the broker does wrong is no receipt about the node: then there is none.
fn ask_all(
    (broker, probe): (&Broker, &NewProbe),
    exam: &mut Exam<'_>,
    openings: &Few,
    meet: impl FnOnce(),
) -> Result<Vec<u8>, Failure> {
    let (mut opening, mut meet) = (Vec::new(), Some(meet));
    let start = Instant::now();
    let now_us = || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    loop {
        let room = (exam.due() == Some(Step::Open)).then(|| openings.enter());
        let Some(ask) = exam.ask(now_us()) else {
            return Ok(opening);
        };
        let within = Duration::from_micros(ask.until_us.saturating_sub(now_us()));
        // Its own time is over, whatever the line to the broker is like.
        if within.is_zero() {
            drop(room);
            exam.miss(Miss::Late);
            continue;
        }
        let bytes_max = exam.answer_bytes_max(ask.step);
        let answered = broker.step(probe, (ask.step, &ask.message), (within, bytes_max));
        let missed = match answered {
            Ok(answer) => {
                exam.answer(now_us(), &answer);
                if ask.step == Step::Open {
                    // Behind its signature.
                    opening = answer.get(64..).unwrap_or_default().to_vec();
                }
                None
            }
            // Where it did not come in time, it matters little what was said in the end.
            Err(NoAnswer::Node(_)) if now_us() >= ask.until_us => Some(Miss::Late),
            Err(NoAnswer::Node(miss)) => Some(miss),
            Err(NoAnswer::Broker(why)) => return Err(Failure::Broker(why)),
        };
        drop(room);
        if let Some(miss) = missed {
            if matches!(miss, Miss::Late | Miss::BrokeOff(_)) && !broker.is_there() {
                let why = format!("it does not answer `{}`, nor anything", ask.step.name());
                return Err(Failure::Broker(why));
            }
            exam.miss(miss);
        }
        // Whoever is out of it is waited for by nobody.
        if let Some(meet) = meet.take()
            && exam.finding().is_none()
        {
            meet();
        }
    }
}

/// What a dispute over a failure takes, in pieces: the record of the probe, and what was opened if there is room for
/// all of it.
fn of_dispute(exam: &Exam<'_>, opening: &[u8], room: usize) -> Vec<Vec<u8>> {
    if room == 0 {
        return Vec::new();
    }
    let mut pieces = vec![exam.record().to_bytes()];
    let opened = opening.chunks(PIECE_BYTES);
    if opened.len() < room {
        pieces.extend(opened.map(<[u8]>::to_vec));
    }
    pieces
}

fn name_of(piece: &[u8], kept_until_s: u64) -> Evidence {
    Evidence {
        sha256: KeyId(nearlight_proof::encoding::sha256(&[piece])),
        bytes: piece.len() as u64,
        kept_until_s,
    }
}

/// The receipt, with the node's signature or why there is none.
fn sign(
    broker: &Broker,
    probe: &NewProbe,
    (exam, opening): (&Exam<'_>, &[u8]),
    node: KeyId,
) -> Result<Found, Failure> {
    let at = (probe.node.as_str(), nearlight_kit::clock::unix_ms() / 1000);
    let over = || Failure::Broker("the probe is not over".to_owned());
    let porc = exam.result().ok_or_else(over)?;
    let of_node = Countersign::Node(node);
    let mut evidence: Vec<Vec<u8>> = Vec::new();
    let mut named: Vec<Evidence> = Vec::new();
    for (name, bytes) in exam.evidence(at.1 + EVIDENCE_S) {
        named.push(name);
        evidence.push(bytes.to_vec());
    }
    if porc.finding == Finding::Fail {
        let pieces = of_dispute(exam, opening, EVIDENCE_MAX.saturating_sub(evidence.len()));
        named.extend(pieces.iter().map(|piece| name_of(piece, at.1 + EVIDENCE_S)));
        evidence.extend(pieces);
    }
    let receipt = exam.receipt(at, of_node, named.clone()).ok_or_else(over)?;
    let within = Duration::from_micros(TALK_US);
    let most = exam.answer_bytes_max(Step::Sign);
    let answer = broker.step(probe, (Step::Sign, &receipt.to_bytes()), (within, most));
    let signed = answer.map(|answer| exam.countersigned(&receipt, &answer));
    let why = match signed {
        Ok(Some(receipt)) => {
            return Ok(Found {
                receipt,
                porc,
                unsigned: None,
                logged: None,
                evidence,
            });
        }
        Ok(None) => "its signature does not fit".to_owned(),
        Err(NoAnswer::Node(Miss::Refused(why) | Miss::Unreachable(why))) => why,
        Err(NoAnswer::Node(Miss::Late)) => "it did not answer in time".to_owned(),
        Err(NoAnswer::Node(Miss::BrokeOff(why))) => format!("its answer broke off: {why}"),
        // The finding stands; the node was not asked.
        Err(NoAnswer::Broker(why)) => format!("the broker did not ask it: {why}"),
    };
    let refused = Countersign::Refused(why.clone());
    Ok(Found {
        receipt: exam.receipt(at, refused, named).ok_or_else(over)?,
        porc,
        unsigned: Some(why),
        logged: None,
        evidence,
    })
}

/// The set of checkers of a probe that nobody assigned: this one alone.
fn alone(key: &SecretKey) -> [u8; 32] {
    set_root(&[Checker {
        key: key.public().id(),
        operator: String::new(),
    }])
}
