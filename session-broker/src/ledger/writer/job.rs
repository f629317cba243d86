//! What callers want of the writer, and how a group of them is carried out in an open transaction.
//!
//! What they read is handed to them as the engine has it: to make something of all that a large broker holds takes
//! longer than a transaction may stand idle, and its row, which whoever takes a node from it has to change, would be
//! locked meanwhile.

use super::failure::not_as_left;
use crate::ledger::basis::{self, Basis, News};
use crate::ledger::read::{self, Rows};
use crate::ledger::share::BrokerId;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, Op, StoreError, batch};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::unit::UnixMillis;
use tokio::sync::oneshot;

/// Changes of one caller.
#[derive(Debug)]
pub(in crate::ledger) struct Job {
    pub(in crate::ledger) ops: Vec<Op>,
    /// Of a holder: what its changes go by.
    pub(in crate::ledger) basis: Option<Basis>,
    /// What is to be read in the same transaction, after all changes of the group.
    pub(in crate::ledger) reads: Option<What>,
    pub(in crate::ledger) reply: oneshot::Sender<Result<Done, StoreError>>,
}

/// What is read of what the broker holds.
#[derive(Clone, Debug)]
pub(in crate::ledger) enum What {
    /// Everything; of the sessions that are over, those that ended later.
    All { ended_after_ms: UnixMillis },
    /// A node and what runs there.
    Node(NodeId),
}

/// What is on the disk now.
#[derive(Debug, Default)]
pub(in crate::ledger) struct Done {
    pub(in crate::ledger) applied: Vec<Applied>,
    /// What was to be read, and what goes by it.
    pub(in crate::ledger) read: Option<(Rows, Basis)>,
}

/// For each caller: what came of its changes, or what it has to learn first, while those of the others of its group
/// were made.
pub(super) type Answers = Vec<Result<Done, News>>;

/// Takes those out of the group who believe what the ledger had before it went back.
pub(super) fn leave_out(group: &mut Vec<Job>, setbacks: u64) {
    let of_before = |job: &mut Job| job.basis.is_some_and(|basis| basis.setbacks != setbacks);
    for job in group.extract_if(.., of_before) {
        let _ = job.reply.send(Err(not_as_left()));
    }
}

/// Carries out what the group wants in the open transaction, of each job all or nothing.
pub(super) async fn carry_out(
    tx: &mut Tx,
    me: &BrokerId,
    group: &[Job],
    (losses, setbacks): (u64, u64),
) -> Result<Answers, StoreError> {
    let news = basis::news(tx, me, group, losses).await?;
    let jobs = group.iter().zip(&news);
    let lists = jobs.map(|(job, news)| match news {
        None => job.ops.as_slice(),
        Some(_) => &[],
    });
    let lists: Vec<&[Op]> = lists.collect();
    let applied = batch::apply(tx, me, &lists).await?;
    let mut answers = Vec::with_capacity(group.len());
    for ((job, news), applied) in group.iter().zip(news).zip(applied) {
        answers.push(match (news, &job.reads) {
            (Some(news), _) => Err(news),
            (None, None) => Ok(Done {
                applied,
                read: None,
            }),
            (None, Some(what)) => Ok(Done {
                applied,
                read: Some(fetch(tx, me, what, (losses, setbacks)).await?),
            }),
        });
    }
    Ok(answers)
}

/// What `me` holds, of the one moment of the open transaction.
async fn fetch(
    tx: &mut Tx,
    me: &BrokerId,
    what: &What,
    (losses, setbacks): (u64, u64),
) -> Result<(Rows, Basis), StoreError> {
    match what {
        What::Node(node) => {
            let rows = read::of_node(tx.connection(), node, me).await?;
            Ok((rows, Basis::default()))
        }
        What::All { ended_after_ms } => {
            let rows = read::all(tx.connection(), me, *ended_after_ms).await?;
            Ok((rows, basis::now(tx, me, losses, setbacks).await?))
        }
    }
}
