//! The last net under the event loop: if one round takes too long, an app floods the desktop, or a
//! library hangs, and the loop itself can no longer say so.
//!
//! A thread of its own that only reads a clock. It tells the agent and ends the process: whatever
//! holds the loop also holds the locks that a gentler end would need.

use crate::clock::mono_us;
use crate::limits::{FAREWELL_MAX, HOUSEKEEPING, ROUND_MAX};
use crate::link::outbox::{Flushed, Outbox};
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
            loop {
                std::thread::sleep(HOUSEKEEPING);
                let since = watched.0.load(Ordering::Relaxed);
                let round_us = mono_us().saturating_sub(since);
                if since != IDLE && u128::from(round_us) > ROUND_MAX.as_micros() {
                    bite(&outbox);
                }
            }
        })?;
    Ok(pulse)
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
