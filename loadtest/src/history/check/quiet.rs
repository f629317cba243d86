//! I4, once everything was ended.

use super::Given;
use crate::history::books::Books;

/// What is left.
pub(super) fn faults(books: &Books, given: &Given) -> Vec<String> {
    let mut broken = Vec::new();
    for session in books.live() {
        let (id, phase, holder) = (&session.id, &session.phase, &session.holder);
        broken.push(format!("I4: {id} is still {phase}, held by {holder}"));
    }
    for session in &books.sessions {
        if session.phase == "ended" && session.reason.is_none() {
            broken.push(format!("I3: {} ended without a reason", session.id));
        }
    }
    if books.live_claims > 0 {
        broken.push(format!("I4: {} claims are left", books.live_claims));
    }
    if books.quota_used > 0 {
        broken.push(format!(
            "I4: {} places of quotas are left",
            books.quota_used
        ));
    }
    let mut orders: Vec<&str> = books.outbox_nodes.iter().map(String::as_str).collect();
    orders.retain(|node| !given.liars.contains(*node) && !given.lost.contains(*node));
    if !orders.is_empty() {
        broken.push(format!("I4: orders are left for {}", orders.join(", ")));
    }
    broken
}
