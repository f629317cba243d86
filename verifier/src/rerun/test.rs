//! A check that an honest machine passed, computed anew from receipt and evidence.

use super::*;
use nearlight_proof::key::KeyId;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::commit::Commitment;
use nearlight_proof::porc::compute::{Factor, product_row};
use nearlight_proof::porc::exchange::opening::{Held, Plan, Trees};
use nearlight_proof::porc::exchange::trees::Tree;
use nearlight_proof::porc::memory::{Fill, Place, Reads};
use nearlight_proof::porc::mixer::digest;
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::porc::seed::{Probe, seed};
use nearlight_proof::receipt::fixture;
use nearlight_proof::receipt::predicate::{Finding, Porc, Revoke, Sizes};
use std::convert::Infallible;

const SIZES: Sizes = Sizes {
    rows: 12,
    blocks: 5,
    lanes: 2,
    reads: 1_500,
    frames: 2,
    tiles: 3,
    steps: 96,
};
const NODE: KeyId = KeyId([9; 32]);

/// Evidence in memory.
struct Kept(Vec<Vec<u8>>);

impl Source for Kept {
    type Error = Infallible;

    fn read(&mut self, _path: &str) -> Result<Vec<u8>, Infallible> {
        Ok(Vec::new())
    }

    fn assignments(&mut self, _round: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }

    fn round(&mut self, _round: u64, _before: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }

    fn evidence(&mut self, wanted: &str) -> Result<Option<Vec<u8>>, Infallible> {
        let is = |bytes: &&Vec<u8>| hex(&sha256(&[bytes])) == wanted;
        Ok(self.0.iter().find(is).cloned())
    }
}

/// What a node holds.
struct Machine {
    rows: Vec<Vec<u32>>,
    blocks: Vec<Vec<u32>>,
    kept: Vec<Vec<u32>>,
}

impl Held for Machine {
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

fn porc(roots: &Commitment) -> Porc {
    Porc {
        nonce: KeyId([4; 32]),
        read_secret: KeyId([5; 32]),
        open_secret: KeyId([6; 32]),
        sizes: SIZES,
        matrix_root: KeyId(roots.matrix),
        fill_root: KeyId(roots.fill),
        read_root: KeyId(roots.reads),
        frame_root: KeyId(roots.frames),
        ..fixture::porc(Finding::Pass)
    }
}

/// Frames one after the other, and the tree of each.
fn frames(seed: &Hash) -> Vec<Tree> {
    let (mut trees, mut before) = (Vec::new(), [0; 32]);
    for frame in 0..SIZES.frames {
        let scene = Scene::new(&frame_key(seed, frame, &before));
        let tiles = (0..SIZES.tiles).map(|tile| scene.digest(tile, SIZES.steps));
        let tree = Tree::new(tiles.collect());
        before = tree.root();
        trees.push(tree);
    }
    trees
}

/// A check, and its evidence in pieces.
fn checked() -> (Porc, Vec<Vec<u8>>) {
    checked_of(Fill::new)
}

/// The same with blocks of another making.
fn checked_of(fill: impl Fn(&Hash) -> Fill) -> (Porc, Vec<Vec<u8>>) {
    let blank = porc(&Commitment {
        matrix: [0; 32],
        fill: [0; 32],
        reads: [0; 32],
        frames: [0; 32],
    });
    let probe = Probe {
        beacon: blank.beacon.0,
        node: NODE,
        gpu: blank.gpu.clone(),
        id: blank.probe.clone(),
    };
    let seed = seed(&probe, &blank.nonce.0);
    let (a, b) = (Factor::a(&seed, SIZES.rows), Factor::b(&seed, SIZES.rows));
    let fill = fill(&seed);
    let reads = Reads::new(&seed, &blank.read_secret.0, SIZES.blocks);
    let mut machine = Machine {
        rows: (0..SIZES.rows)
            .map(|i| product_row(&a, &b, i as usize))
            .collect(),
        blocks: (0..SIZES.blocks).map(|i| fill.block(i)).collect(),
        kept: Vec::new(),
    };
    machine.kept = (0..SIZES.lanes)
        .map(|lane| reads.run(lane, SIZES.reads, |place| machine.word(place)))
        .collect();
    let over = |lists: &[Vec<u32>]| Tree::new(lists.iter().map(|list| digest(list)).collect());
    let trees = Trees {
        matrix: over(&machine.rows),
        fill: over(&machine.blocks),
        reads: over(&machine.kept),
        tiles: frames(&seed),
    };
    let roots = Commitment {
        matrix: trees.matrix.root(),
        fill: trees.fill.root(),
        reads: trees.reads.root(),
        frames: Tree::new(trees.tiles.iter().map(Tree::root).collect()).root(),
    };
    let plan = Plan::draw(&SIZES, &roots.open_key(&blank.open_secret.0));
    let brief = plan.brief(&plan.open(&reads, &trees, &machine)).unwrap();
    let pieces = brief.chunks(1_000).map(<[u8]>::to_vec).collect();
    (porc(&roots), pieces)
}

fn envelope(predicate: Predicate, pieces: &[Vec<u8>]) -> Vec<u8> {
    let named = |bytes: &Vec<u8>| Evidence {
        sha256: KeyId(sha256(&[bytes])),
        bytes: bytes.len() as u64,
        kept_until_s: 0,
    };
    let issuer = fixture::key(1);
    let mut said = fixture::statement(&issuer, NODE, 1, predicate);
    said.head.evidence = pieces.iter().map(named).collect();
    fixture::entry(&said, &[&issuer])
}

const ALL: Wanted = Wanted {
    rows_max: 100,
    whole: false,
};

#[test]
fn an_honest_check_agrees_part_by_part() {
    let (porc, pieces) = checked();
    let bytes = envelope(Predicate::Porc(Box::new(porc)), &pieces);
    let found = rerun(&bytes, &mut Kept(pieces), ALL).unwrap();
    assert_eq!(found.verdict, Verdict::Agrees, "{found:?}");
    let compared: Vec<_> = found
        .parts
        .iter()
        .map(|part| (part.compared, part.of))
        .collect();
    assert_eq!(
        compared,
        [
            (12, 12),
            (5, 5),
            (2, 2),
            (6, 6),
            (1, 1),
            (1, 1),
            (1, 1),
            (1, 1)
        ]
    );
    let said = text(&found);
    assert!(
        said.starts_with("AGREES: ") && said.contains("ok    tiles"),
        "{said}"
    );
}

/// A receipt does not say of which edition it is; that none of its blocks is right says it.
#[test]
fn a_check_whose_blocks_were_made_otherwise_differs_and_is_told_why_it_may() {
    let (porc, pieces) = checked_of(|seed| Fill::new(&sha256(&[seed])));
    let bytes = envelope(Predicate::Porc(Box::new(porc)), &pieces);
    let found = rerun(&bytes, &mut Kept(pieces), ALL).unwrap();
    assert_eq!(found.verdict, Verdict::Differs, "{found:?}");
    let differs: Vec<_> = found.parts.iter().map(|part| part.differs).collect();
    assert_eq!(
        differs,
        [false, true, true, false, false, true, true, false]
    );
    let why = &found.parts[1].why;
    assert!(why.contains("a receipt of the first edition"), "{why}");
    // One that is made up is of no other edition.
    let (porc, mut pieces) = checked();
    // Behind the paths of twelve rows: the first block's.
    let at = (8 * 4 + 4 * 3) * 32;
    pieces[at / 1_000][at % 1_000] ^= 1;
    let bytes = envelope(Predicate::Porc(Box::new(porc)), &pieces);
    let found = rerun(&bytes, &mut Kept(pieces), ALL).unwrap();
    assert!(found.parts[1].differs, "{found:?}");
    assert!(!text(&found).contains("edition"), "{found:?}");
}

#[test]
fn a_root_that_was_made_up_differs() {
    let (mut porc, pieces) = checked();
    porc.fill_root = KeyId([7; 32]);
    let bytes = envelope(Predicate::Porc(Box::new(porc)), &pieces);
    // The roots say what is opened: those of another root do not fit, and the whole leg says it.
    let found = rerun(&bytes, &mut Kept(pieces), ALL).unwrap();
    assert_eq!(found.verdict, Verdict::Differs, "{found:?}");
    let blocks = found
        .parts
        .iter()
        .find(|part| part.part == "root of the blocks")
        .unwrap();
    assert!(blocks.differs, "{blocks:?}");
    assert!(text(&found).contains("DIFF  root of the blocks"));
}

#[test]
fn evidence_that_is_gone_is_said_and_whole_legs_are_computed_without_it() {
    let (porc, pieces) = checked();
    let bytes = envelope(Predicate::Porc(Box::new(porc.clone())), &pieces);
    let found = rerun(&bytes, &mut Kept(pieces[1..].to_vec()), ALL).unwrap();
    assert_eq!(found.verdict, Verdict::Agrees);
    let why = &found.parts[0].why;
    assert!(
        why.contains("gone or was never handed in: piece 1 of"),
        "{why}"
    );
    assert_eq!(found.parts[0].compared, 0);
    // A check of full size without evidence is for who asks for it.
    let mut large = porc;
    large.sizes.rows = 16_384;
    let bytes = envelope(Predicate::Porc(Box::new(large)), &[]);
    let found = rerun(&bytes, &mut Kept(Vec::new()), ALL).unwrap();
    assert_eq!(found.verdict, Verdict::NotRerun);
    assert!(text(&found).contains("--whole"), "{found:?}");
}

#[test]
fn what_is_no_check_is_refused() {
    let void = Predicate::Revoke(Revoke {
        reason: String::new(),
        from_s: 0,
    });
    let refused = rerun(&envelope(void, &[]), &mut Kept(Vec::new()), ALL).unwrap_err();
    assert!(refused.to_string().contains("revoke/v1"), "{refused}");
    let refused = rerun(b"{}", &mut Kept(Vec::new()), ALL).unwrap_err();
    assert!(matches!(refused, RerunError::NoReceipt));
}
