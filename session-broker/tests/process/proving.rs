//! Probes as checkers and nodes have them, in memory: core/proof's two machines, and a node that computes
//! every leg on a clock of the test's own.

use nearlight_proof::encoding::sha256;
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::compute::{Factor, product_row};
use nearlight_proof::porc::exchange::Step;
use nearlight_proof::porc::exchange::begin::{Begin, Bounds};
use nearlight_proof::porc::exchange::exam::Exam;
use nearlight_proof::porc::exchange::opening::{Held, Trees};
use nearlight_proof::porc::exchange::record::Record;
use nearlight_proof::porc::exchange::sitting::{Sitting, Todo};
use nearlight_proof::porc::exchange::trees::Tree;
use nearlight_proof::porc::memory::{Fill, Place, Reads};
use nearlight_proof::porc::mixer::digest;
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::porc::score::Class;
use nearlight_proof::porc::seed::Secrets;
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Elapsed, Finding, Porc, Predicate, Sizes};
use nearlight_proof::receipt::statement::{
    Assurance, Countersign, Evidence, Head, Statement, Subject,
};

const SIZES: Sizes = Sizes {
    rows: 12,
    blocks: 2,
    lanes: 2,
    reads: 1_200,
    frames: 1,
    tiles: 2,
    steps: 96,
};

/// What a probe leaves behind.
pub(crate) struct Probed {
    pub(crate) porc: Porc,
    /// What was said: the node has it as the checker does.
    pub(crate) record: Record,
    pub(crate) opening: Vec<u8>,
    node: KeyId,
    name: String,
    signed: Envelope,
}

impl Probed {
    /// The receipt of a checker that says what it found, signed by both.
    pub(crate) fn receipt(&self) -> String {
        text(&self.signed)
    }

    /// The receipt of one who lies: that it failed, for this reason.
    pub(crate) fn lie(&self, checker: &SecretKey, reason: &str) -> String {
        self.lie_naming(checker, reason, &[])
    }

    /// The same, which names these pieces of evidence.
    pub(crate) fn lie_naming(
        &self,
        checker: &SecretKey,
        reason: &str,
        pieces: &[Vec<u8>],
    ) -> String {
        let named = pieces.iter().map(|piece| Evidence {
            sha256: KeyId(sha256(&[piece])),
            bytes: piece.len() as u64,
            kept_until_s: 0,
        });
        let porc = Porc {
            finding: Finding::Fail,
            reason: reason.to_owned(),
            ..self.porc.clone()
        };
        let refused = Countersign::Refused("this node does not agree".to_owned());
        self.says(porc, (refused, named.collect()), &[checker])
    }

    /// The receipt of both about another GPU than the CPU, that had so many blocks filled: what no test computes.
    pub(crate) fn of_gpu(&self, keys: [&SecretKey; 2], gpu: &str, blocks: u32) -> String {
        let mut porc = self.porc.clone();
        (porc.gpu, porc.sizes.blocks) = (gpu.to_owned(), blocks);
        self.says(porc, (Countersign::Node(self.node), Vec::new()), &keys)
    }

    fn says(
        &self,
        porc: Porc,
        (countersign, evidence): (Countersign, Vec<Evidence>),
        keys: &[&SecretKey],
    ) -> String {
        let statement = Statement {
            subject: Subject {
                name: self.name.clone(),
                sha256: self.node,
            },
            head: Head {
                issuer: keys[0].public().id(),
                issued_at_s: now_s(),
                countersign,
                assurance: Assurance::Timing,
                does_not_prove: Vec::new(),
                evidence,
            },
            predicate: Predicate::Porc(Box::new(porc)),
        };
        let mut envelope = statement.envelope().unwrap();
        keys.iter().for_each(|key| envelope.sign(key));
        text(&envelope)
    }

    /// Evidence, piece by piece.
    pub(crate) fn evidence(&self) -> Vec<Vec<u8>> {
        let mut pieces = vec![self.record.to_bytes()];
        pieces.extend(self.opening.chunks(60_000).map(<[u8]>::to_vec));
        pieces
    }
}

fn text(envelope: &Envelope) -> String {
    String::from_utf8(envelope.to_bytes()).unwrap()
}

pub(crate) fn now_s() -> u64 {
    nearlight_kit::clock::unix_ms() / 1000
}

/// What a node has computed.
struct Done {
    rows: Vec<Vec<u32>>,
    blocks: Vec<Vec<u32>>,
    kept: Vec<Vec<u32>>,
    trees: Trees,
}

impl Held for Done {
    fn row(&self, index: u32) -> Vec<u32> {
        self.rows[index as usize].clone()
    }

    fn kept(&self, lane: u32) -> Vec<u32> {
        self.kept[lane as usize].clone()
    }

    fn word(&self, place: Place) -> u32 {
        self.blocks[place.block as usize][place.word]
    }
}

impl Done {
    fn new(seed: &Hash) -> Self {
        let (a, b) = (Factor::a(seed, SIZES.rows), Factor::b(seed, SIZES.rows));
        let rows = (0..SIZES.rows).map(|i| product_row(&a, &b, i as usize));
        let rows: Vec<Vec<u32>> = rows.collect();
        let fill = Fill::new(seed);
        let blocks: Vec<_> = (0..SIZES.blocks).map(|i| fill.block(i)).collect();
        let scene = Scene::new(&frame_key(seed, 0, &[0; 32]));
        let tiles = (0..SIZES.tiles).map(|tile| scene.digest(tile, SIZES.steps));
        let over = |lists: &[Vec<u32>]| Tree::new(lists.iter().map(|list| digest(list)).collect());
        let trees = Trees {
            matrix: over(&rows),
            fill: over(&blocks),
            reads: Tree::new(Vec::new()),
            tiles: vec![Tree::new(tiles.collect())],
        };
        Self {
            rows,
            blocks,
            kept: Vec::new(),
            trees,
        }
    }

    fn read(&mut self, reads: &Reads) -> Hash {
        let lane = |lane| reads.run(lane, SIZES.reads, |place| self.word(place));
        self.kept = (0..SIZES.lanes).map(lane).collect();
        self.trees.reads = Tree::new(self.kept.iter().map(|kept| digest(kept)).collect());
        self.trees.reads.root()
    }

    fn root(&self, step: Step) -> Hash {
        match step {
            Step::Fill => self.trees.fill.root(),
            Step::Matrix => self.trees.matrix.root(),
            _ => Tree::new(self.trees.tiles.iter().map(Tree::root).collect()).root(),
        }
    }
}

/// What a receipt names of its round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfRound {
    pub(crate) round: u64,
    pub(crate) beacon: KeyId,
    /// The root over the set.
    pub(crate) checkers: KeyId,
}

/// A probe of an honest node, of `name`, in a round of a network without rounds.
pub(crate) fn probe(checker: &SecretKey, node: &SecretKey, name: &str, round: u64) -> Probed {
    let of = OfRound {
        round,
        beacon: KeyId([7; 32]),
        checkers: KeyId([9; 32]),
    };
    probe_in(checker, node, name, of)
}

/// A probe of an honest node, of `name`, in this round.
pub(crate) fn probe_in(checker: &SecretKey, node: &SecretKey, name: &str, of: OfRound) -> Probed {
    let OfRound {
        round,
        beacon,
        checkers,
    } = of;
    let second = 1_000_000;
    let class = Class {
        class: "software".to_owned(),
        sizes: SIZES,
        reference: Elapsed {
            compute_us: second,
            fill_us: second,
            read_us: second,
            render_us: second,
        },
        pass_permille: 500,
    };
    let secrets = Secrets {
        nonce: rand::random(),
        read: rand::random(),
        open: rand::random(),
    };
    let begin = Begin {
        checker: String::new(),
        node: KeyId([0; 32]),
        round,
        beacon,
        probe: format!("probe-{round}-{}", checker.public().id()),
        gpu: "cpu".to_owned(),
        class: String::new(),
        table: KeyId([8; 32]),
        checkers,
        sizes: SIZES,
        secrets: [KeyId([0; 32]); 3],
    };
    let mut exam = Exam::new(begin, secrets, (checker, node.public()), &class).unwrap();
    let (mut now_us, mut sitting, mut done, mut opening) = (0, None, None, Vec::new());
    while let Some(ask) = exam.ask(now_us) {
        now_us += second / 4;
        let answer = answer(
            node,
            (&mut sitting, &mut done),
            (now_us, ask.step),
            &ask.message,
        );
        if ask.step == Step::Open {
            opening = answer[64..].to_vec();
        }
        exam.answer(now_us, &answer);
    }
    let id = node.public().id();
    let receipt = exam.receipt((name, now_s()), Countersign::Node(id), Vec::new());
    let receipt = receipt.unwrap();
    let signed = sitting
        .unwrap()
        .countersign(&receipt.to_bytes(), node)
        .unwrap();
    Probed {
        porc: exam.result().unwrap(),
        record: exam.record().clone(),
        opening,
        node: id,
        name: format!("node:{name}"),
        signed: exam.countersigned(&receipt, &signed).unwrap(),
    }
}

fn answer(
    key: &SecretKey,
    (sitting, done): (&mut Option<Sitting>, &mut Option<Done>),
    (now_us, step): (u64, Step),
    message: &[u8],
) -> Vec<u8> {
    if step == Step::Begin {
        let room = Bounds {
            mem_mib: 64,
            work: u64::MAX,
        };
        let gpus = ["cpu".to_owned()];
        let begun = Sitting::begin(message, (&key.public().id(), &gpus), &room).unwrap();
        return sitting.insert(begun).accept(key).unwrap();
    }
    let sitting = sitting.as_mut().unwrap();
    let root = match sitting.hear(now_us, step, message).unwrap() {
        Todo::Start(seed) => done.insert(Done::new(&seed)).root(step),
        Todo::Say(step) => done.as_ref().unwrap().root(step),
        Todo::Read(reads) => done.as_mut().unwrap().read(&reads),
        Todo::Open(plan, reads) => {
            let done = done.as_ref().unwrap();
            let opening = plan.open(&reads, &done.trees, done);
            return sitting.say_opening(opening, key).unwrap();
        }
    };
    sitting.say(now_us, step, &root, key).unwrap()
}
