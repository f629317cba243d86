use super::*;
use crate::porc::commit::{Commitment, draw};
use crate::porc::compute::{Factor, product_row};

const SEED: Hash = [9; 32];
const ROWS: u32 = 40;
const BLOCKS: u32 = 12;
const LANES: u32 = 3;
const READS: u32 = 1_500;
const FRAMES: u32 = 3;
const TILES: u32 = 4;
const STEPS: u32 = 8;

/// A node that does everything, with a chance to cheat in each leg.
struct Prover {
    rows: Vec<Vec<u32>>,
    blocks: Vec<Vec<u32>>,
    lanes: Vec<(Vec<u32>, Vec<u32>)>,
    tiles: Vec<Vec<Hash>>,
    frame_roots: Vec<Hash>,
    reads: Reads,
}

impl Prover {
    fn new(cheat: impl Fn(&mut Vec<Vec<u32>>, &mut Vec<Vec<u32>>), skip_tile: Option<u32>) -> Self {
        let (a, b) = (Factor::a(&SEED, ROWS), Factor::b(&SEED, ROWS));
        let mut rows: Vec<_> = (0..ROWS as usize).map(|i| product_row(&a, &b, i)).collect();
        let fill = Fill::new(&SEED);
        let mut blocks: Vec<_> = (0..BLOCKS).map(|i| fill.block(i)).collect();
        cheat(&mut rows, &mut blocks);
        let reads = Reads::new(&SEED, &[2; 32], BLOCKS);
        let lane = |lane| {
            let mut found = Vec::new();
            let kept = reads.run(lane, READS, |place| {
                found.push(blocks[place.block as usize][place.word]);
                found[found.len() - 1]
            });
            (kept, found)
        };
        let lanes = (0..LANES).map(lane).collect();
        let (mut tiles, mut frame_roots, mut previous) = (Vec::new(), Vec::new(), [0; 32]);
        for frame in 0..FRAMES {
            let scene = Scene::new(&frame_key(&SEED, frame, &previous));
            let drawn = |i| {
                if skip_tile == Some(i) {
                    [7; 32]
                } else {
                    scene.digest(i, STEPS)
                }
            };
            let leaves: Vec<_> = (0..TILES).map(drawn).collect();
            previous = tree::root::<CommitHasher>(&leaves);
            frame_roots.push(previous);
            tiles.push(leaves);
        }
        Self {
            rows,
            blocks,
            lanes,
            tiles,
            frame_roots,
            reads,
        }
    }

    fn leaves(&self) -> [Vec<Hash>; 3] {
        [
            self.rows.iter().map(|row| digest(row)).collect(),
            self.blocks.iter().map(|block| digest(block)).collect(),
            self.lanes.iter().map(|(kept, _)| digest(kept)).collect(),
        ]
    }

    fn commitment(&self) -> Commitment {
        let [matrix, fill, reads] = self
            .leaves()
            .map(|leaves| tree::root::<CommitHasher>(&leaves));
        Commitment {
            matrix,
            fill,
            reads,
            frames: tree::root::<CommitHasher>(&self.frame_roots),
        }
    }
}

/// Opens everything that there is, and says what each leg comes to.
fn check_all(prover: &Prover) -> [Result<(), Flaw>; 4] {
    let commitment = prover.commitment();
    let open_key = commitment.open_key(&[3; 32]);
    let [matrix, fill_leaves, lanes] = prover.leaves();
    let test = RowTest::new(&SEED, ROWS, &open_key);
    let fill = Fill::new(&SEED);
    fn each(
        root: &Hash,
        leaves: &[Hash],
        mut one: impl FnMut(&Place<'_>) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        for index in 0..leaves.len() {
            let path = tree::path::<CommitHasher>(leaves, index).unwrap();
            let leaves = leaves.len() as u32;
            one(&Place {
                root,
                leaves,
                index: index as u32,
                path: &path,
            })?;
        }
        Ok(())
    }
    let rows = each(&commitment.matrix, &matrix, |place| {
        row(place, &test, &prover.rows[place.index as usize])
    });
    let blocks = each(&commitment.fill, &fill_leaves, |place| {
        block(place, &fill.digest(place.index))
    });
    let reads = each(&commitment.reads, &lanes, |place| {
        let (kept, found) = &prover.lanes[place.index as usize];
        let opened = Segment {
            kept,
            segment: 1,
            found: &found[1_000..],
        };
        let turns = draw(&open_key, "turns", 500, 64);
        segment(place, (&prover.reads, &fill), READS, &opened, turns)
    });
    let mut frames = Ok(());
    for frame in 0..FRAMES {
        let roots = &prover.frame_roots;
        let scene = scene(&SEED, &commitment.frames, roots, FRAMES, frame).unwrap();
        let leaves = &prover.tiles[frame as usize];
        let tiles = each(&roots[frame as usize], leaves, |place| {
            tile(place, &scene, STEPS)
        });
        frames = frames.and(tiles);
    }
    [rows, blocks, reads, frames]
}

#[test]
fn an_honest_node_passes() {
    assert_eq!(check_all(&Prover::new(|_, _| (), None)), [Ok(()); 4]);
}

#[test]
fn each_cheat_shows_in_its_leg() {
    let wrong = Err(Flaw::Wrong);
    let row = Prover::new(|rows, _| rows[7][3] ^= 1, None);
    assert_eq!(check_all(&row), [wrong, Ok(()), Ok(()), Ok(())]);
    let unheld = Prover::new(
        |_, blocks| blocks[..6].iter_mut().for_each(|b| b.fill(0)),
        None,
    );
    assert_eq!(check_all(&unheld), [Ok(()), wrong, wrong, Ok(())]);
    assert_eq!(
        check_all(&Prover::new(|_, _| (), Some(2))),
        [Ok(()), Ok(()), Ok(()), wrong]
    );
}

#[test]
fn what_was_not_committed_to_is_refused() {
    let prover = Prover::new(|_, _| (), None);
    let commitment = prover.commitment();
    let [matrix, _, lanes] = prover.leaves();
    let test = RowTest::new(&SEED, ROWS, &commitment.open_key(&[3; 32]));
    let path = tree::path::<CommitHasher>(&matrix, 4).unwrap();
    let place = Place {
        root: &commitment.matrix,
        leaves: ROWS,
        index: 4,
        path: &path,
    };
    assert_eq!(row(&place, &test, &prover.rows[5]), Err(Flaw::NotCommitted));
    let roots = &prover.frame_roots;
    let other = scene(&SEED, &[0; 32], roots, FRAMES, 1);
    assert_eq!(other.err(), Some(Flaw::NotCommitted));
    assert_eq!(
        scene(&SEED, &commitment.frames, &roots[1..], FRAMES, 1).err(),
        Some(Flaw::Shape)
    );
    let path = tree::path::<CommitHasher>(&lanes, 0).unwrap();
    let place = Place {
        root: &commitment.reads,
        leaves: LANES,
        index: 0,
        path: &path,
    };
    let (kept, found) = &prover.lanes[0];
    let both = (&prover.reads, &Fill::new(&SEED));
    let mut other = kept.clone();
    other[0] ^= 1;
    let opened = Segment {
        kept: &other,
        segment: 0,
        found: &found[..1_000],
    };
    assert_eq!(
        segment(&place, both, READS, &opened, []),
        Err(Flaw::NotCommitted)
    );
    let short = Segment {
        kept,
        segment: 1,
        found: &found[..400],
    };
    assert_eq!(segment(&place, both, READS, &short, []), Err(Flaw::Shape));
    let beyond = Segment {
        kept,
        segment: 0,
        found: &found[..1_000],
    };
    assert_eq!(
        segment(&place, both, READS, &beyond, [1_000]),
        Err(Flaw::Shape)
    );
}
