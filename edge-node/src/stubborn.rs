//! What has to be gone before anything goes on: tried until it is.
//!
//! **Invariant.** A container that its engine does not remove keeps its session: slot, claim and GPUs are given to nobody
//! else while it may run, and nobody is told that it has stopped. `edge_sessions_stuck` counts them.
//!
//! **What it does not know:** what it removes.

use crate::meters;
use crate::runtime::RuntimeError;
use nearlight_protocol::id::SessionId;
use std::time::Duration;

/// Before the second try; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// At most.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Tries for which an engine has a bad moment; after that a person has to look.
const QUIET_TRIES: u32 = 3;

/// Counts while it lives.
struct Stuck;

impl Stuck {
    fn new() -> Self {
        meters::sessions_stuck(1.0);
        Self
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        meters::sessions_stuck(-1.0);
    }
}

/// Repeats a removal until it says that nothing is left.
pub(crate) async fn until_gone<F>(session: &SessionId, what: &str, remove: impl Fn() -> F)
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    try_on(session, what, PAUSE_MIN, remove).await;
}

async fn try_on<F>(session: &SessionId, what: &str, first: Duration, remove: impl Fn() -> F)
where
    F: Future<Output = Result<(), RuntimeError>>,
{
    let (mut pause, mut tries, mut stuck) = (first, 0, None);
    while let Err(error) = remove().await {
        tries += 1;
        if tries > QUIET_TRIES {
            stuck.get_or_insert_with(Stuck::new);
            tracing::error!(session_id = %session, %error, tries, "{what} stays: the session goes on to hold its slot until the engine removes it");
        } else {
            tracing::warn!(session_id = %session, %error, "cannot remove {what}; trying again");
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn what_an_engine_does_not_remove_is_tried_until_it_does() {
        let (tries, session) = (AtomicU32::new(0), nearlight_kit::ids::session());
        try_on(&session, "a container", Duration::ZERO, || async {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0..50 => Err(RuntimeError::Deadline { action: "remove" }),
                _ => Ok(()),
            }
        })
        .await;
        assert_eq!(tries.into_inner(), 51);
    }
}
