//! What callers want of the writer, and how a group of them is carried out in an open transaction.

use super::failure::not_as_left;
use crate::ledger::basis::{self, Basis, News};
use crate::ledger::share::BrokerId;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, Loaded, Op, StoreError, batch, read};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use tokio::sync::oneshot;

/// Changes of one caller.
#[derive(Debug)]
pub(in crate::ledger) struct Job {
    pub(in crate::ledger) ops: Vec<Op>,
    /// Of a holder: what its changes go by.
    pub(in crate::ledger) basis: Option<Basis>,
    /// What is to be read in the same transaction, after all changes of the group.
    pub(in crate::ledger) reads: Option<Reads>,
    pub(in crate::ledger) reply: oneshot::Sender<Result<Done, StoreError>>,
}

/// What is read of what the broker holds, as of now.
#[derive(Clone, Debug)]
pub(in crate::ledger) struct Reads {
    pub(in crate::ledger) what: What,
    pub(in crate::ledger) now: MonoTime,
}

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
    /// What was to be read.
    pub(in crate::ledger) loaded: Option<Loaded>,
}

/// Why one caller's changes came to nothing, while those of the others of its group were made.
#[derive(Debug)]
pub(super) enum Refused {
    /// It has something to learn first.
    News(News),
    /// What it wanted to read is there, and cannot be read.
    Corrupt(String),
}

impl Refused {
    pub(super) fn of(self, ops: Vec<Op>) -> StoreError {
        match self {
            Self::News(news) => StoreError::Lost(Box::new(news.with(ops))),
            Self::Corrupt(text) => StoreError::Corrupt(text),
        }
    }
}

pub(super) type Answers = Vec<Result<Done, Refused>>;

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
            (Some(news), _) => Err(Refused::News(news)),
            (None, None) => Ok(Done {
                applied,
                loaded: None,
            }),
            (None, Some(reads)) => match load(tx, me, reads, (losses, setbacks)).await {
                Ok(loaded) => Ok(Done {
                    applied,
                    loaded: Some(loaded),
                }),
                // The engine has done its part.
                Err(StoreError::Corrupt(text)) => Err(Refused::Corrupt(text)),
                Err(error) => return Err(error),
            },
        });
    }
    Ok(answers)
}

/// What `me` holds, of the one moment of the open transaction.
async fn load(
    tx: &mut Tx,
    me: &BrokerId,
    Reads { what, now }: &Reads,
    (losses, setbacks): (u64, u64),
) -> Result<Loaded, StoreError> {
    match what {
        What::Node(node) => read::of_node(tx.connection(), node, me, *now).await,
        What::All { ended_after_ms } => {
            tx.reads_at_length().await?;
            let loaded = read::load(tx.connection(), me, *ended_after_ms, *now).await?;
            let basis = basis::now(tx, me, losses, setbacks).await?;
            Ok(Loaded { basis, ..loaded })
        }
    }
}
