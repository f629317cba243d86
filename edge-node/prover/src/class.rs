//! A class of the table of GPUs: what a card that one has at hand takes for sizes that one chooses.
//!
//! The times are from one root to the next as the agent hears of them, hashing included: what a checker takes, without the
//! way to it.
//!
//! **What it does not know:** which sizes are sensible. A leg that takes less than a second says more of the way to the
//! node than of its GPU.

use crate::check::by_device;
use crate::gpu::{Gpu, GpuError};
use nearlight_proof::porc::mixer::hash;
use nearlight_proof::porc::score::Class;
use nearlight_proof::receipt::predicate::{Elapsed, Sizes};
use std::time::Duration;

/// Probes that are made of; each leg's time is the median.
const PROBES: u32 = 3;
/// Half of the reference's speed passes, as it does in the classes of software.
const PASS_PERMILLE: u32 = 500;

/// The class of this device at these sizes.
///
/// # Errors
/// [`GpuError`] if it fails.
pub fn class(gpu: &Gpu, sizes: &Sizes) -> Result<Class, GpuError> {
    let mut legs: [Vec<Duration>; 4] = Default::default();
    for n in 0..PROBES {
        let seed = hash("gpu-class", &[&n.to_le_bytes()]);
        let secret = hash("gpu-class secret", &[&n.to_le_bytes()]);
        let (_, _, times) = by_device(gpu, (&seed, sizes), &secret)?;
        for (leg, time) in legs.iter_mut().zip(times) {
            leg.push(time);
        }
    }
    let [fill_us, compute_us, render_us, read_us] = legs.map(median_us);
    Ok(Class {
        class: gpu.name.clone(),
        sizes: *sizes,
        reference: Elapsed {
            compute_us,
            fill_us,
            read_us,
            render_us,
        },
        pass_permille: PASS_PERMILLE,
    })
}

fn median_us(mut times: Vec<Duration>) -> u64 {
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    u64::try_from(middle.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_time_is_the_middle_one_and_never_nothing() {
        let ms = |all: &[u64]| median_us(all.iter().map(|ms| Duration::from_millis(*ms)).collect());
        assert_eq!(ms(&[9, 1, 4]), 4_000);
        assert_eq!(ms(&[0, 0, 5]), 1);
        assert_eq!(ms(&[]), 1);
    }
}
