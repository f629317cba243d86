//! The last net under the event loop: if one round takes too long, an app floods the desktop, or a
//! library hangs, and the loop itself can no longer say so.
//!
//! A thread of its own that only reads a clock. It tells the agent and ends the process: whatever
//! holds the loop also holds the locks that a gentler end would need. A round's time is what it took
//! while the machine ran ([`crate::ran`]): nobody is to blame for a pause.

use crate::clock::mono_us;
use crate::limits::{FAREWELL_MAX, HOUSEKEEPING, ROUND_MAX};
use crate::link::outbox::{Flushed, Outbox};
use crate::ran::Ran;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::worker::{Failed, FromWorker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Exit status when the watchdog bit.
const STATUS: i32 = 70;
/// The loop is idle: it waits for something to happen.
const IDLE: u64 = 0;

/// Says when the event loop began its round.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// A round begins.
    pub fn busy(&self) {
        self.0.store(mono_us(), Ordering::Relaxed);
    }

    /// The round is over.
    pub fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }
}

/// Starts the thread. It ends with the process.
///
/// # Errors
/// If there are no threads left.
pub fn start(outbox: Outbox) -> std::io::Result<Pulse> {
    let pulse = Pulse(Arc::new(AtomicU64::new(IDLE)));
    let watched = pulse.clone();
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(move || {
            let mut ran = Ran::default();
            loop {
                std::thread::sleep(HOUSEKEEPING);
                let since = watched.0.load(Ordering::Relaxed);
                if is_stuck(&mut ran, since, mono_us()) {
                    bite(&outbox);
                }
            }
        })?;
    Ok(pulse)
}

/// Whether the round that began at `since` takes too long.
fn is_stuck(ran: &mut Ran, since: u64, now: u64) -> bool {
    since != IDLE && u128::from(ran.look(since, since, now)) > ROUND_MAX.as_micros()
}

fn bite(outbox: &Outbox) -> ! {
    let detail = format!("the desktop was flooded: one round took over {ROUND_MAX:?}");
    tracing::error!(detail, "giving up");
    outbox.send(&FromWorker::Failed(Failed {
        reason: EndReason::DesktopViolation,
        detail,
    }));
    let since_us = mono_us();
    while outbox.flush() == Flushed::Waiting
        && u128::from(mono_us() - since_us) < FAREWELL_MAX.as_micros()
    {
        std::thread::sleep(HOUSEKEEPING / 8);
    }
    std::process::exit(STATUS)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_round_is_stuck_by_the_time_that_the_machine_ran() {
        let look_us = HOUSEKEEPING.as_micros() as u64;
        let round_us = ROUND_MAX.as_micros() as u64;
        let (mut ran, since) = (Ran::default(), 1_000);
        // Stopped in the middle of a round, for a minute, and once more.
        assert!(!is_stuck(&mut ran, since, since + look_us));
        assert!(!is_stuck(&mut ran, since, since + 60_000_000));
        assert!(!is_stuck(&mut ran, since, since + 120_000_000));
        assert!(!is_stuck(&mut ran, IDLE, 120_001_000));
        // A flood that never lets go.
        let since = 121_000_000;
        let looks = (1..).map(|n| since + n * look_us);
        let bitten = looks.take(100).find(|now| is_stuck(&mut ran, since, *now));
        let bitten = bitten.expect("it bites");
        assert!((round_us..=round_us + look_us).contains(&(bitten - since)));
    }
}
