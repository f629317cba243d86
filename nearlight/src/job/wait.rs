//! The wait for a session that was just made: its id at once, then how far it is, until it is ready or over.
//!
//! **What it does not know:** jobs; who interrupts it.

use crate::cli::Broker;
use crate::client::Client;
use crate::command::{CommandError, describe};
use crate::pace::Pace;
use crate::terminal::{self, Progress};
use nearlight_protocol::api::{EndReason, Session, SessionState, StartProgress};
use std::ops::ControlFlow;
use std::time::Instant;

/// Shows how far it is until it is ready, or over.
pub(super) fn until_ready(
    client: &Client,
    created: &Session,
    broker: &Broker,
) -> Result<(), CommandError> {
    let id = &created.id;
    // With --json the first event says it.
    if !broker.json {
        terminal::note(format_args!(
            "{id} (Ctrl-C ends it; later: nearlight session stop {id})"
        ));
    }
    let ended = |detail: &str| CommandError::Ended {
        id: id.to_string(),
        detail: detail.to_owned(),
    };
    let mut last = None;
    let mut progress = Progress::default();
    let (mut pace, began) = (Pace::default(), Instant::now());
    let path = format!("/v1/sessions/{id}/events");
    client.events(&path, |session: Session| {
        if broker.json {
            terminal::json(&session);
        } else {
            let (title, state) = (&session.title, describe(&session.state));
            let pace = match pulled(&session.state).filter(|_| Progress::changes_in_place()) {
                Some((done, total)) => format!(" {}", pace.line(began.elapsed(), done, total)),
                None => String::new(),
            };
            progress.show(format!("{title}: {state}{pace}"));
        }
        let goes_on = is_on_its_way(&session.state);
        last = Some(session);
        if goes_on {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    drop(progress);
    let session = last.ok_or(CommandError::StreamEnded)?;
    match &session.state {
        SessionState::Ended {
            reason: EndReason::JobDone,
            ..
        }
        | SessionState::Ready
        | SessionState::Playing
        | SessionState::Detached => {
            // With --json the last event said it.
            if !broker.json {
                terminal::result(&session.id);
            }
            Ok(())
        }
        SessionState::Ended { detail, .. } => Err(ended(detail)),
        SessionState::Ending { reason } => Err(ended(reason.sentence())),
        SessionState::Queued { .. } | SessionState::Placing | SessionState::Starting { .. } => {
            Err(CommandError::StreamEnded)
        }
    }
}

/// How many bytes of how many are here, while some are fetched.
const fn pulled(state: &SessionState) -> Option<(u64, u64)> {
    match state {
        SessionState::Starting {
            progress:
                StartProgress::Pulling {
                    done_bytes,
                    total_bytes,
                    ..
                },
        } => Some((*done_bytes, *total_bytes)),
        _ => None,
    }
}

/// An end that is under way is waited for: then its reason has its words.
const fn is_on_its_way(state: &SessionState) -> bool {
    match state {
        SessionState::Queued { .. }
        | SessionState::Placing
        | SessionState::Starting { .. }
        | SessionState::Ending { .. } => true,
        SessionState::Ready
        | SessionState::Playing
        | SessionState::Detached
        | SessionState::Ended { .. } => false,
    }
}
