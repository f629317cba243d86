//! Receipts as checkers send them, before anybody measures: a network's keys, and a probe for each envelope.
//!
//! **What it does not know:** what a machine computes. Roots and times are made up; the log does not ask.

use anyhow::{Context, Result};
use bytes::Bytes;
use nearlight_proof::encoding::hex;
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::log::tree;
use nearlight_proof::porc::mixer::hash;
use nearlight_proof::receipt::predicate::{Elapsed, Finding, Porc, Predicate, Ratios, Sizes};
use nearlight_proof::receipt::statement::{
    Assurance, Countersign, Evidence, Head, Statement, Subject,
};
use nearlight_protocol::receipt::KeyWindow;

/// What an envelope is sent as.
pub(super) const TYPE: &str = "application/vnd.dsse.envelope.v1+json";
/// Checkers and nodes of the network. An issuer has 1 GiB at once and little more in a minute, and a receipt that names six pieces
/// takes 356 KiB of it: so many checkers hand in 290,000 of them. All keys are one page of the directory.
const CHECKERS: usize = 99;
const NODES: usize = 20;
/// Checkers of a round.
const COMMITTEE: usize = 3;
/// A piece of evidence, and for how long it is kept.
const PIECE_BYTES: u64 = 60_000;
const EVIDENCE_S: u64 = 90 * 24 * 3600;
/// What a node's CPU is asked for.
const SIZES: Sizes = Sizes {
    blocks: 2048,
    frames: 6,
    lanes: 256,
    reads: 20_000,
    rows: 1024,
    steps: 96,
    tiles: 200,
};

/// Whose keys sign.
pub(super) struct Network {
    checkers: Vec<SecretKey>,
    nodes: Vec<SecretKey>,
}

/// One envelope.
pub(super) struct Sent {
    pub(super) bytes: Bytes,
}

/// The leaf of an entry, as the broker lists it.
pub(super) fn leaf(entry: &[u8]) -> String {
    hex(&tree::leaf(entry))
}

impl Network {
    pub(super) fn new() -> Self {
        let keys = |what: &str, count: usize| {
            let key = |n: usize| SecretKey::from_seed(&hash(what, &[&n.to_le_bytes()]));
            (0..count).map(key).collect()
        };
        Self {
            checkers: keys("loadtest checker", CHECKERS),
            nodes: keys("loadtest node", NODES),
        }
    }

    /// Each key in hex, and as the directory is to have it.
    pub(super) fn windows(&self) -> Vec<(String, KeyWindow)> {
        let of = |role: &'static str, keys: &[SecretKey]| {
            let window = |(n, key): (usize, &SecretKey)| {
                let window = KeyWindow {
                    role: role.to_owned(),
                    operator: format!("{role}-{n}"),
                    licence: None,
                    from_s: 0,
                    until_s: 4_000_000_000,
                };
                (hex(key.public().as_bytes()), window)
            };
            keys.iter().enumerate().map(window).collect::<Vec<_>>()
        };
        [of("checker", &self.checkers), of("node", &self.nodes)].concat()
    }

    /// So many, each of a probe of its own: of each node and round one from each of a committee, all checkers in turn.
    pub(super) fn envelopes(&self, count: usize, pieces: u32) -> Result<Vec<Sent>> {
        let now_s = nearlight_kit::clock::unix_ms() / 1000;
        (0..count)
            .map(|n| self.envelope(n, pieces, now_s))
            .collect()
    }

    fn envelope(&self, number: usize, pieces: u32, now_s: u64) -> Result<Sent> {
        let checker = &self.checkers[number % CHECKERS];
        let turn = number / COMMITTEE;
        let node = &self.nodes[turn % NODES];
        let made_up = |what: &str| KeyId(hash(what, &[&number.to_le_bytes()]));
        let piece = |n: u32| Evidence {
            sha256: KeyId(hash(
                "loadtest piece",
                &[&number.to_le_bytes(), &n.to_le_bytes()],
            )),
            bytes: PIECE_BYTES,
            kept_until_s: now_s + EVIDENCE_S,
        };
        let statement = Statement {
            subject: Subject {
                name: format!("node:nod_{:020}", turn % NODES),
                sha256: node.public().id(),
            },
            head: Head {
                issuer: checker.public().id(),
                issued_at_s: now_s,
                countersign: Countersign::Node(node.public().id()),
                assurance: Assurance::Timing,
                does_not_prove: nearlight_proof::porc::exchange::exam::DOES_NOT_PROVE
                    .map(str::to_owned)
                    .to_vec(),
                evidence: (0..pieces).map(piece).collect(),
            },
            predicate: Predicate::Porc(Box::new(Porc {
                round: (turn / NODES) as u64,
                beacon: made_up("beacon"),
                gpu: "cpu".to_owned(),
                class: "software".to_owned(),
                table: KeyId(hash("table", &[])),
                probe: format!("prb_{number:020}"),
                checkers: KeyId(hash("checkers", &[])),
                nonce: made_up("nonce"),
                read_secret: made_up("read"),
                open_secret: made_up("open"),
                sizes: SIZES,
                matrix_root: made_up("matrix"),
                fill_root: made_up("fill"),
                read_root: made_up("reads"),
                frame_root: made_up("frames"),
                elapsed: Elapsed {
                    compute_us: 11_000_000,
                    fill_us: 1_900_000,
                    read_us: 1_800_000,
                    render_us: 21_000_000,
                },
                ratios: Ratios {
                    compute_permille: 1_090,
                    memory_permille: 1_080,
                    render_permille: 1_047,
                },
                score_permille: 1_047,
                finding: Finding::Pass,
                reason: String::new(),
            })),
        };
        let mut envelope = statement
            .envelope()
            .context("a statement that can be written")?;
        envelope.sign(checker);
        envelope.sign(node);
        Ok(Sent {
            bytes: envelope.to_bytes().into(),
        })
    }
}
