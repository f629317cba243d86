//! Sessions that a node runs and of which the ledger knows nothing: back from their grants.
//!
//! After the database failed over to a standby that was behind, rows that were acked are gone, and nodes
//! still run what they stood for. The grant that a node shows has what the row had, and our signature. The
//! ledger decides whether it comes back ([`crate::ledger::Op::Readmit`]); memory follows.
//!
//! **What it does not know:** whether the session's end was acked and lost, too. Then it runs once more.

use super::driving::push_stop;
use super::entry::Entry;
use super::owner::Owner;
use super::turn::{Then, Turn};
use crate::ledger::{Applied, HeldBy, Op, OutboxRow, Readmit, SessionRow, edition_of};
use crate::time::{from_unix_ms, unix_ms};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::Order;
use nearlight_protocol::grant::{GRANT_JOB_BYTES_MAX, Grant, GrantRow, GrantWork};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use nearlight_session::lifecycle::{Held, Link, Phase, Presence, Run, Viewer};
use nearlight_session::{Claim, Epoch, Use};
use std::collections::BTreeSet;

/// What is to follow if the ledger takes a session back, or not.
#[derive(Debug)]
pub(super) struct Readmission {
    phase: Phase,
    /// The order to stop it, yet without its number.
    stop: OutboxRow,
}

/// What a session's grant says beside the claim.
///
/// Replicas of a cluster have nothing there: they come back together or not at all, so they are stopped.
pub(super) fn row_for_grant(row: &SessionRow, held: &HeldBy) -> Option<GrantRow> {
    if row.is_cluster() || row.is_member() {
        return None;
    }
    Some(GrantRow {
        tenant: row.tenant.clone(),
        work: work_for_grant(&row.work)?,
        created_ms: unix_ms(row.created_at),
        cpu_milli: held.cpu_milli,
        mem_mib: held.mem_mib,
        kbps: held.kbps,
        disk_mib: held.disk_mib,
        gpus: held.gpus,
    })
}

/// A session without this is stopped where its row is lost.
fn work_for_grant(work: &Work) -> Option<GrantWork> {
    match work {
        Work::App(work) => Some(GrantWork::App {
            app: work.app.id.clone(),
            // A description is plain JSON.
            edition: edition_of(&work.app).ok()?,
            display: work.display,
            keyboard_layout: work.keyboard_layout.clone(),
        }),
        Work::Job(spec) => {
            let bytes = serde_json::to_vec(spec).ok()?.len();
            (bytes <= GRANT_JOB_BYTES_MAX).then(|| GrantWork::Job { job: spec.clone() })
        }
    }
}

impl Owner {
    /// A node runs a session that is not here: it comes back, or is stopped for `reason`.
    pub(super) fn readmit_or_stop(
        &mut self,
        grant: Grant,
        presence: Presence,
        reason: EndReason,
        now: MonoTime,
        turn: &mut Turn,
    ) {
        let bill = grant.row.as_ref();
        let bill = bill.map(|row| Box::new(self.bill_of_grant(&grant, row)));
        let claim = Claim {
            node: grant.node,
            slot: grant.slot,
            epoch: Epoch::from(grant.epoch),
        };
        let granted_at = from_unix_ms(grant.iat_ms).min(now);
        let used = match grant.row.as_ref().map(|row| &row.work) {
            Some(GrantWork::Job { .. }) => Use::Called,
            Some(GrantWork::App { .. }) | None => Use::Played,
        };
        let phase = phase_of(&claim, (presence, used), granted_at, now);
        let (Some(row), Some(bill), Some(phase), false) = (
            grant.row,
            bill,
            phase,
            self.sessions.contains_key(&grant.session),
        ) else {
            let held = (&claim.node, claim.epoch);
            push_stop(&grant.session, held, reason, now, turn);
            return;
        };
        let session = grant.session;
        let stop = Order::Stop {
            session: session.clone(),
            reason,
        };
        let readmission = Readmission {
            phase: phase.clone(),
            stop: OutboxRow {
                command: 0,
                node: claim.node.clone(),
                session: session.clone(),
                epoch: claim.epoch,
                order: stop.clone(),
                sealed: None,
            },
        };
        // What the node says of it next is heard when it is here.
        turn.holding.insert(claim.node.clone());
        let readmit = Readmit {
            session,
            user: grant.user,
            claim,
            row,
            gpus: grant.gpus,
            bill,
            phase,
            granted_at,
            stop,
            at: now,
        };
        turn.push(
            Op::Readmit(Box::new(readmit)),
            Then::Readmitted(Box::new(readmission)),
        );
    }

    /// The ledger has taken it back, or its node is to stop it.
    pub(super) async fn readmitted(
        &mut self,
        applied: &Applied,
        Readmission { phase, stop }: Readmission,
        now: MonoTime,
        touched: &mut BTreeSet<SessionId>,
    ) {
        let (id, node) = (stop.session.clone(), stop.node.clone());
        match applied {
            Applied::Ordered { command } => {
                let command = *command;
                self.give(OutboxRow { command, ..stop }, now);
                return;
            }
            Applied::Done => drop(self.reclaims.insert(node.clone())),
            // Another broker has the node.
            _ => return,
        }
        let row = match self.ledger.session(id.clone()).await {
            Ok(Some((row, holder))) if self.is_me(&holder) => row,
            // Another broker has the node; or had, before the ledger went back.
            Ok(_) => {
                match self.ledger.surely_of_node(node).await {
                    Ok(loaded) => self.adopt("taken", loaded).await,
                    Err(error) => self.doubt = Some(error),
                }
                return;
            }
            Err(error) => {
                self.doubt = Some(error);
                return;
            }
        };
        tracing::warn!(session_id = %id, node_id = %node,
            "the node runs a session that the ledger had lost; it is back from its grant");
        let limits = self.times.limits(&row);
        let row = SessionRow { phase, ..row };
        let phase = row.phase.clone();
        let entry = Entry::new(row, limits);
        self.directory.show(id.clone(), entry.for_readers());
        self.sessions.insert(id.clone(), Box::new(entry));
        self.note(&id, &phase, now);
        self.read_back(&node).await;
        if self.has_volumes(&id) {
            self.read_volumes().await;
        }
        touched.insert(id);
    }
}

/// Where a session is that a node shows. Its time limit goes on from the grant; what the broker has to be
/// there for begins anew.
fn phase_of(
    claim: &Claim,
    (presence, used): (Presence, Use),
    granted_at: MonoTime,
    now: MonoTime,
) -> Option<Phase> {
    let held = Held {
        claim: claim.clone(),
        link: Link::Up,
    };
    let Presence::Running { attached, ready } = presence else {
        return None;
    };
    if !ready {
        return Some(Phase::Starting {
            held,
            progress: used.first_progress(),
            since: now,
            moved_at: now,
        });
    }
    let run = Run {
        held,
        ready_at: granted_at,
        input_at: now,
        warned_of: None,
    };
    Some(match attached && used == Use::Played {
        true => Phase::Playing {
            run,
            viewer: Viewer::Unnamed,
        },
        false => Phase::Ready { run },
    })
}
