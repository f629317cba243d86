//! A device against the oracle, and how fast it is: what `make gpu-check` prints of proofs.
//!
//! **What it does not know:** classes. The sizes are such that a CPU is through with them in a second or two, so that the
//! ratio says how a GPU compares and not what a table should have.

use crate::gpu::{Gpu, GpuError};
use crate::legs::Legs;
use nearlight_proof::log::tree::Hash;
use nearlight_proof::porc::commit::Commitment;
use nearlight_proof::porc::compute::{Factor, product_row};
use nearlight_proof::porc::exchange::opening::Plan;
use nearlight_proof::porc::exchange::program::Rooted;
use nearlight_proof::porc::exchange::trees::Tree;
use nearlight_proof::porc::memory::{Fill, Reads};
use nearlight_proof::porc::mixer::{digest, hash};
use nearlight_proof::porc::render::{Scene, frame_key};
use nearlight_proof::receipt::predicate::Sizes;
use serde::Serialize;
use std::time::{Duration, Instant};

/// What is compared and measured.
const SIZES: Sizes = Sizes {
    rows: 520,
    blocks: 200,
    lanes: 70,
    reads: 2_300,
    frames: 2,
    tiles: 20,
    steps: 96,
};

/// One leg, on the device and on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// Which.
    pub leg: &'static str,
    /// What the device took, microseconds, with what the host adds: hashing above all.
    pub device_us: u64,
    /// What one core took.
    pub core_us: u64,
    /// The core's time in thousandths of the device's.
    pub ratio_permille: u64,
}

/// What came of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Whether it is a CPU that plays one.
    pub is_software: bool,
    /// Seeds of which every root and every opening is the oracle's.
    pub equal: u32,
    /// Seeds of which one is not, or that failed.
    pub different: u32,
    /// Of the last seed.
    pub figures: Vec<Figure>,
}

/// Proves so many seeds on a device, and compares. `says` hears what begins: a CPU that plays a GPU takes a minute a seed.
///
/// # Errors
/// [`GpuError`] if it fails.
pub fn check(gpu: &Gpu, seeds: u32, says: impl Fn(&str)) -> Result<Checked, GpuError> {
    let mut checked = Checked {
        name: gpu.name.clone(),
        is_software: gpu.is_software,
        equal: 0,
        different: 0,
        figures: Vec::new(),
    };
    for n in 0..seeds {
        let seed = hash("gpu-check", &[&n.to_le_bytes()]);
        let secret = hash("gpu-check secret", &[&n.to_le_bytes()]);
        let of = format!("seed {} of {seeds}", n + 1);
        says(&format!("{of}, on {}", gpu.name));
        let (on_device, opening, device) = by_device(gpu, (&seed, &SIZES), &secret)?;
        says(&format!("{of}, by the oracle"));
        let (by_oracle, core) = by_oracle(&seed, &secret);
        let key = on_device.open_key(&secret);
        let plan = Plan::draw(&SIZES, &key);
        let reads = Reads::new(&seed, &secret, SIZES.blocks);
        let opened = plan.check(
            &opening,
            (&seed, &key),
            (&reads, &Fill::new(&seed)),
            &on_device,
        );
        match on_device == by_oracle && opened.is_ok() {
            true => checked.equal += 1,
            false => checked.different += 1,
        }
        checked.figures = figures(device, core);
    }
    Ok(checked)
}

/// Fill, C, frames, reads.
pub(crate) type Times = [Duration; 4];

/// All legs and an opening on a device, with the time from each root to the next.
pub(crate) fn by_device(
    gpu: &Gpu,
    (seed, sizes): (&Hash, &Sizes),
    secret: &Hash,
) -> Result<(Commitment, Vec<u8>, Times), GpuError> {
    let mut roots = [[0; 32]; 3];
    let mut times = [Duration::ZERO; 4];
    let mut since = Instant::now();
    let mut legs = Legs::run(gpu, (seed, sizes), |of, root| {
        let leg = match of {
            Rooted::Fill => 0,
            Rooted::Matrix => 1,
            Rooted::Frames | Rooted::Reads => 2,
        };
        (roots[leg], times[leg]) = (root, since.elapsed());
        since = Instant::now();
    })?;
    let reads = Reads::new(seed, secret, sizes.blocks);
    let since = Instant::now();
    let read = legs.read(&reads)?;
    times[3] = since.elapsed();
    let commitment = Commitment {
        fill: roots[0],
        matrix: roots[1],
        frames: roots[2],
        reads: read,
    };
    let plan = Plan::draw(sizes, &commitment.open_key(secret));
    Ok((commitment, legs.open(&plan, &reads)?, times))
}

fn by_oracle(seed: &Hash, secret: &Hash) -> (Commitment, Times) {
    let since = Instant::now();
    let fill = Fill::new(seed);
    let blocks: Vec<Vec<u32>> = (0..SIZES.blocks).map(|index| fill.block(index)).collect();
    let filled = Tree::new(blocks.iter().map(|words| digest(words)).collect());
    let mut times = [since.elapsed(); 4];

    let since = Instant::now();
    let (a, b) = (Factor::a(seed, SIZES.rows), Factor::b(seed, SIZES.rows));
    let row = |index| digest(&product_row(&a, &b, index as usize));
    let matrix = Tree::new((0..SIZES.rows).map(row).collect());
    times[1] = since.elapsed();

    let since = Instant::now();
    let (mut frames, mut previous) = (Vec::new(), [0; 32]);
    for frame in 0..SIZES.frames {
        let scene = Scene::new(&frame_key(seed, frame, &previous));
        let tiles = (0..SIZES.tiles).map(|tile| scene.digest(tile, SIZES.steps));
        previous = Tree::new(tiles.collect()).root();
        frames.push(previous);
    }
    times[2] = since.elapsed();

    let since = Instant::now();
    let reads = Reads::new(seed, secret, SIZES.blocks);
    let lane = |lane| reads.run(lane, SIZES.reads, |at| blocks[at.block as usize][at.word]);
    let lanes = Tree::new((0..SIZES.lanes).map(|of| digest(&lane(of))).collect());
    times[3] = since.elapsed();
    let commitment = Commitment {
        fill: filled.root(),
        matrix: matrix.root(),
        frames: Tree::new(frames).root(),
        reads: lanes.root(),
    };
    (commitment, times)
}

fn figures(device: Times, core: Times) -> Vec<Figure> {
    let us = |of: Duration| u64::try_from(of.as_micros()).unwrap_or(u64::MAX).max(1);
    let both = device.into_iter().zip(core);
    let figure = |(leg, (device, core)): (&'static str, (Duration, Duration))| Figure {
        leg,
        device_us: us(device),
        core_us: us(core),
        ratio_permille: us(core).saturating_mul(1000) / us(device),
    };
    let legs = ["fill", "compute", "render", "reads"];
    legs.into_iter().zip(both).map(figure).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_ratio_is_the_cores_time_in_the_devices() {
        let of = |us| [Duration::from_micros(us); 4];
        let all = figures(of(40), of(100));
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(|of| of.ratio_permille == 2_500));
        assert_eq!(
            figures(of(0), of(7))[0].ratio_permille,
            7_000,
            "no time is a microsecond"
        );
    }
}
