//! What has to be gone before anything goes on: tried until it is.
//!
//! **Invariant.** A container that its engine does not remove keeps its session at this node: slot and GPUs are given to
//! nobody else while it may run, and the node tells nobody that it has stopped. `edge_sessions_stuck` counts them. The broker
//! waits for that word for its `sessions.stop_s`, and a job's own time to stop; then it ends the session by itself: the node
//! denies with `slot-busy` what is placed there, and a job with `restart.elsewhere` may run a second time.
//!
//! **What it does not know:** what it removes.

use crate::meters;
use crate::runtime::RuntimeError;
use nearlight_protocol::id::SessionId;
use std::time::Duration;

/// Whether a run ever asked its engine to make anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing of it can be there.
    #[default]
    Never,
    /// It did, or nobody knows.
    Maybe,
}

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

/// Repeats a removal until it says that nothing is left. Of a run that never asked for anything one try is enough: an
/// engine that is away does not hold up the word that it could not start.
pub(crate) async fn until_gone<F>(
    (session, asked): (&SessionId, Asked),
    what: &str,
    remove: impl Fn() -> F,
) where
    F: Future<Output = Result<(), RuntimeError>>,
{
    match asked {
        Asked::Maybe => try_on(session, what, PAUSE_MIN, remove).await,
        Asked::Never => {
            if let Err(error) = remove().await {
                tracing::warn!(session_id = %session, %error, "cannot see whether there is {what}; this run asked for none");
            }
        }
    }
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

    #[tokio::test]
    async fn an_engine_that_is_away_does_not_hold_up_a_run_that_asked_it_for_nothing() {
        let (tries, session) = (AtomicU32::new(0), nearlight_kit::ids::session());
        until_gone((&session, Asked::Never), "a container", || async {
            tries.fetch_add(1, Ordering::Relaxed);
            Err(RuntimeError::Deadline { action: "list" })
        })
        .await;
        assert_eq!(tries.into_inner(), 1);
    }
}
