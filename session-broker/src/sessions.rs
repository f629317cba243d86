//! Sessions: one task owns every session's life, the queue, and the fleet.
//!
//! ```text
//!   HTTP ---- Create, End ----+                         +--> ledger: one transaction a turn
//!                             v                         |
//!   edges --- EdgeEvent --> owner task: decide in memory, commit, then act
//!                             ^                         |
//!   deadlines ----------------+                         +--> orders, answers, published views
//! ```
//!
//! The owner works in turns. It takes what waits, lets the pure machines decide, and collects the
//! changes; they are committed as one transaction; only then anything of them is seen outside.
//! While the disk syncs, the next turn's events gather, so load makes turns larger, not slower.
//!
//! **Invariants.**
//! - Nothing leaves the owner before it is durable: no order, no answer, no published view.
//! - If a commit fails or its outcome is unknown, the owner forgets what it believed, loads again,
//!   and lets every edge attach again. It never guesses.
//! - I1: a slot is claimed in memory before its transaction and by the ledger's unique index in it.
//!
//! Readers never ask the owner: it publishes each session's view, and the nodes that have changed,
//! to the [`Directory`]; nodes at most every 50 ms.
//!
//! **What it does not know:** HTTP, cookies, SDP.

use crate::ahead::Ahead;
use crate::budgets::Due;
use crate::control::EdgeEvent;
use crate::enrol::StandingChange;
use crate::ledger::{AuditRow, Beyond, Idempotency, Sealed, SessionRow, Wish};
use crate::rates::Prices;
use crate::verdicts::Ranks;
use nearlight_placement::{
    JobNeed, PriceCap, Reason, Rejection, SessionRequest, Step, TooFew, Why,
};
use nearlight_protocol::api::{EndReason, Session};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::id::{NodeId, SessionId, TenantId, UserId, VolumeId};
use nearlight_protocol::identity::Priority;
use nearlight_protocol::job::{ImageRef, JobSpec, Trust};
use nearlight_protocol::limits::SPARE_KEYBOARD_LAYOUT;
use nearlight_protocol::placement::{Excluded, LatencyStep};
use nearlight_protocol::region::PlacedIn;
use nearlight_protocol::standing::Lately;
use nearlight_protocol::volume::owner;
use nearlight_protocol::work::{AppWork, Work};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

mod acting;
mod claimed;
mod creating;
mod directory;
mod driving;
mod edges;
mod endpoint;
mod entry;
mod fate;
mod gpus;
mod holding;
mod lacking;
mod lately;
mod lost;
mod metering;
mod notices;
mod owner;
mod placing;
mod probing;
mod readmit;
mod reclaim;
mod reconcile;
mod refusing;
mod reload;
mod sharing;
mod spending;
mod standing;
mod storage;
mod together;
mod told;
mod trying;
mod turn;
mod volumes;
mod waiting;

pub(crate) use directory::{Directory, SaveNode, ShownSession, Whose};
pub(crate) use endpoint::JobEndpoint;
pub(crate) use entry::view_of;
pub(crate) use notices::notice;
pub(crate) use owner::{Owner, OwnerParts, SharingParts};
pub(crate) use volumes::{Asking, Lack, Volumes};
pub(crate) use waiting::Occupancy;

/// Requests of the API that wait for the owner. Past it callers wait, up to their deadline.
const REQUESTS_MAX: usize = 1024;
/// How long a caller waits for the owner. A turn takes milliseconds; a ledger that hangs, for ever.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A session to be created.
#[derive(Debug)]
pub(crate) struct Create {
    /// The id that it will have: what belongs to it is sealed for it.
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) priority: Priority,
    pub(crate) work: Work,
    /// A job's secrets.
    pub(crate) sealed: Option<Sealed>,
    /// Where it should run.
    pub(crate) wish: Wish,
    pub(crate) idempotency: Idempotency,
    /// Sessions that the user may hold; `None` for no limit.
    pub(crate) quota: Option<u32>,
    /// Sessions that its tenant's members may hold together; `None` for no limit.
    pub(crate) tenant_quota: Option<u32>,
    /// What it may cost, micro-units.
    pub(crate) budget_micro: Option<u64>,
}

/// Why a session was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreateError {
    /// The user's quota is used up.
    #[error("the quota is used up")]
    Quota,
    /// The quota of the user's tenant is used up.
    #[error("the tenant's quota is used up")]
    TenantQuota,
    /// It asks for more than the user's tenant may have together.
    #[error("{0}")]
    BeyondTenant(Beyond),
    /// The tenant has spent its month's budget.
    #[error("the tenant's budget is spent")]
    BudgetSpent,
    /// The Idempotency-Key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The key's session is not here: another broker holds it, or it is over for so long that it is
    /// no longer listed.
    #[error("the session of this idempotency key is not here")]
    NotHere(SessionId),
    /// A probe's node has no slot for it now, with why.
    #[error("the node takes no probe: {0}")]
    NoRoom(String),
    /// The owner did not answer, or the ledger failed: it may have been created. The caller's
    /// Idempotency-Key makes asking again safe.
    #[error("the outcome is not known")]
    Unknown,
}

/// Why a session was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndError {
    /// There is none, or no longer.
    #[error("no such session")]
    NotFound,
    /// The owner did not answer, or the ledger failed. Asking again is safe.
    #[error("the outcome is not known")]
    Unknown,
}

/// Why nothing was decided about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StandingError {
    /// There is none: it never attached, and never came in with a token.
    #[error("no such node")]
    NotFound,
    /// The owner did not answer, or the ledger failed. Asking again is safe.
    #[error("the outcome is not known")]
    Unknown,
}

/// Why a volume was not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeleteVolumeError {
    /// A session has it, or it is deleted already.
    #[error("a session has the volume")]
    InUse,
    /// The owner did not answer, or the ledger failed. Asking again is safe.
    #[error("the outcome is not known")]
    Unknown,
}

/// What the API asks of the owner.
#[derive(Debug)]
pub(crate) enum Request {
    /// A new session.
    Create(Box<Create>, oneshot::Sender<Result<Session, CreateError>>),
    /// The end of one.
    End(Box<End>, oneshot::Sender<Result<(), EndError>>),
    /// A decision about a node.
    Decide(
        NodeId,
        StandingChange,
        oneshot::Sender<Result<(), StandingError>>,
    ),
    /// The end of a volume.
    DeleteVolume(VolumeId, oneshot::Sender<Result<(), DeleteVolumeError>>),
    /// The budgets that will be spent.
    Budgets(Vec<Due>),
    /// What things cost, when that has changed.
    Prices(Box<Prices>),
    /// How nodes are ranked by their receipts, when that has changed.
    Ranks(Arc<Ranks>),
    /// What a node lacked for the last placements.
    Lately(NodeId, fn(Reason, u32) -> Excluded, oneshot::Sender<Lately>),
}

/// A session to be ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: SessionId,
    pub(crate) reason: EndReason,
    /// What the audit log is to say of it.
    pub(crate) audit: Option<Box<AuditRow>>,
}

/// The handle to the owner.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    requests: mpsc::Sender<Request>,
    directory: Arc<Directory>,
}

impl Sessions {
    /// A handle, and what the owner takes its requests from.
    pub(crate) fn new(directory: Arc<Directory>) -> (Self, mpsc::Receiver<Request>) {
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let sessions = Self {
            requests,
            directory,
        };
        (sessions, queue)
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Creates a session, durably.
    pub(crate) async fn create(&self, create: Create) -> Result<Session, CreateError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Create(Box::new(create), reply), answer)
            .await
            .unwrap_or(Err(CreateError::Unknown))
    }

    /// Ends a session, durably. One that is ending or over stays so.
    pub(crate) async fn end(&self, end: End) -> Result<(), EndError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::End(Box::new(end), reply), answer)
            .await
            .unwrap_or(Err(EndError::Unknown))
    }

    /// Drains a node, ends its drain or shuts it out, durably. Once it is so, it stays so.
    pub(crate) async fn decide(
        &self,
        node: NodeId,
        change: StandingChange,
    ) -> Result<(), StandingError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Decide(node, change, reply), answer)
            .await
            .unwrap_or(Err(StandingError::Unknown))
    }

    /// Says which budgets will be spent. An owner that is busy hears of the next look.
    pub(crate) async fn budgets(&self, dues: Vec<Due>) {
        let said = self.requests.send(Request::Budgets(dues));
        let _ = tokio::time::timeout(ANSWER_WITHIN, said).await;
    }

    /// What things cost from now on.
    pub(crate) async fn prices(&self, prices: Prices) {
        let said = self.requests.send(Request::Prices(Box::new(prices)));
        let _ = tokio::time::timeout(ANSWER_WITHIN, said).await;
    }

    /// What a node lacked for the last placements; nothing if the owner does not answer.
    pub(crate) async fn lately(
        &self,
        node: NodeId,
        excluded: fn(Reason, u32) -> Excluded,
    ) -> Lately {
        let (reply, answer) = oneshot::channel();
        let asked = self.ask(Request::Lately(node, excluded, reply), answer);
        asked.await.unwrap_or_default()
    }

    /// How nodes are ranked from now on.
    pub(crate) async fn ranks(&self, ranks: Arc<Ranks>) {
        let said = self.requests.send(Request::Ranks(ranks));
        let _ = tokio::time::timeout(ANSWER_WITHIN, said).await;
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<T>) -> Option<T> {
        let asked = async {
            self.requests.send(request).await.ok()?;
            answer.await.ok()
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.ok()?
    }
}

/// What came of the last attempt to place a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Placement {
    /// There was none, or none that this broker remembers.
    #[default]
    Unknown,
    /// No node can run it now.
    Waits(Rejection),
    /// No site has room for all replicas of a cluster now.
    WaitsTogether(TooFew),
    /// The one node that has its volumes cannot run it now, or a volume is not to be had; in words.
    WaitsForVolume(Rejection, String),
    /// No node of the fleet can ever run it; the nearest, in words.
    Nowhere(Rejection, String),
    /// A node was found.
    Placed {
        /// Which.
        node: NodeId,
        /// Why this one.
        why: Why,
        /// How long it had waited.
        waited_ms: u64,
        /// Where that is, and how near.
        placed_in: Box<PlacedIn>,
    },
}

/// A latency step, for callers.
pub(crate) fn latency_step(step: Step) -> LatencyStep {
    LatencyStep {
        number: step.number,
        of: step.of,
        rtt_ms_max: step.rtt_ms_max,
        from_ms: millis(step.from_ms),
        until_ms: step.until_ms.map(millis),
    }
}

/// Seven weeks are as good as for ever.
pub(crate) fn millis(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}

/// Edge events that wait for the owner. Past it edges wait, which is their back-pressure.
pub(crate) const EDGE_EVENTS_MAX: usize = 4096;

/// What edges talk into.
pub(crate) fn edge_events() -> (mpsc::Sender<EdgeEvent>, mpsc::Receiver<EdgeEvent>) {
    mpsc::channel(EDGE_EVENTS_MAX)
}

/// What an app needs of a node.
pub(crate) fn request_of(app: &AppSpec) -> SessionRequest {
    SessionRequest {
        cpu_milli: app.needs.cpu_milli,
        mem_mib: app.needs.mem_mib,
        kbps: app.needs.kbps_min,
        gpu: app.needs.gpu,
        vram_mib: app.needs.vram_mib,
        image: app.launch.image.clone(),
        ..SessionRequest::default()
    }
}

/// What a job needs of a node.
fn request_of_job(spec: &JobSpec) -> SessionRequest {
    let secret = !spec.secrets.is_empty() && !spec.place.secrets_on_unvetted;
    let trust = match spec.place.trust {
        Trust::Any if !secret => nearlight_placement::Trust::Open,
        Trust::Any | Trust::Vetted => nearlight_placement::Trust::Known,
    };
    let image = spec.image.parse::<ImageRef>();
    SessionRequest {
        cpu_milli: spec.resources.cpu_milli,
        mem_mib: spec.resources.mem_mib,
        image: spec.image.clone(),
        regions: spec.place.regions.clone(),
        trust,
        job: Some(JobNeed {
            runtime: spec.place.runtime,
            disk_mib: spec.resources.disk_mib,
            gpu: spec.resources.gpu.clone(),
            image_here: image.is_ok_and(|image| image.registry().is_none()),
            has_volumes: !spec.volumes.is_empty(),
            ..JobNeed::default()
        }),
        ..SessionRequest::default()
    }
}

/// What a session takes of a node, wherever it is.
fn taken_by(work: &Work) -> SessionRequest {
    match work {
        Work::App(work) => request_of(&work.app),
        Work::Job(spec) => request_of_job(spec),
    }
}

/// What a job needs of a node that has waited, and how near.
fn request_for_job(
    row: &SessionRow,
    spec: &JobSpec,
    cap: Option<PriceCap>,
    waited_ms: u64,
    ahead: &Ahead,
) -> SessionRequest {
    let mut request = request_of_job(spec);
    if let Some(job) = &mut request.job {
        job.cap = cap;
        let owner = owner(row.tenant.as_ref(), &row.user);
        let names = spec.assets.iter().map(|a| ahead.name(&owner, &a.digest));
        job.assets = names.collect();
    }
    SessionRequest {
        waited_ms,
        rtts: row.wish.rtts(),
        ..request
    }
}

/// What a session needs of a node, and where.
fn request_for(row: &SessionRow, app: &AppSpec, waited_ms: u64) -> SessionRequest {
    SessionRequest {
        waited_ms,
        regions: match row.wish.node() {
            None => row.wish.region.iter().cloned().collect(),
            // A node is asked for by its name.
            Some(_) => Vec::new(),
        },
        rtts: row.wish.rtts(),
        desktop: could_use_a_spare(row, app).then(|| app.id.to_string()),
        ..request_of(app)
    }
}

/// Whether a desktop that is ready would do: another display or keyboard takes one of its own.
fn could_use_a_spare(row: &SessionRow, app: &AppSpec) -> bool {
    let suits = |work: &AppWork| {
        work.display == app.needs.display && work.keyboard_layout == SPARE_KEYBOARD_LAYOUT
    };
    app.warm > 0 && row.work.app().is_some_and(suits)
}
