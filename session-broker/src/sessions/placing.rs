//! Giving slots to sessions: the decision, the claim.

use super::driving::placing;
use super::owner::Owner;
use super::readmit::row_for_grant;
use super::turn::{Then, Turn};
use super::volumes::Plan;
use super::{Placement, latency_step, request_for, request_for_job};
use crate::apps::{LiveApp, Metros};
use crate::ledger::{BrokerId, HeldBy, Op, OutboxRow, Reserve, SessionRow, TakeVolume};
use crate::seal::ForNode;
use crate::time::unix_ms;
use nearlight_placement::{
    Decision, Policy, Reason, Rejection, SessionRequest, Step, TooFew, decide,
};
use nearlight_protocol::app::AppSpec;
use nearlight_protocol::control::{Order, Start};
use nearlight_protocol::grant::{Grant, ISSUER};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::region::PlacedIn;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use nearlight_session::{Claim, Lifecycle};
use std::sync::Arc;

/// Why a session was not placed.
#[derive(Debug)]
pub(super) enum NotPlaced {
    /// No node can run it now.
    Rejected(Rejection),
    /// No site has room for all replicas of a cluster now.
    TooFew(TooFew),
    /// The one node that has its volumes cannot, or a volume is not to be had.
    Volume {
        /// What the node lacks.
        rejection: Rejection,
        /// In words.
        detail: String,
    },
    /// A node can, but none of its slots could be claimed.
    NoSlot,
    /// A node of another broker can.
    Elsewhere {
        /// Whose.
        holder: BrokerId,
        /// Which.
        node: NodeId,
    },
}

/// What was decided for a session.
#[derive(Debug)]
pub(super) struct Chosen {
    request: SessionRequest,
    claim: Claim,
    placement: Placement,
    /// The version of the app for that node, of an app.
    app: Option<Arc<AppSpec>>,
    /// What it takes along.
    volumes: Vec<TakeVolume>,
}

/// A decision, what was asked, and the version of the app that it is about.
type Decided = (Decision, SessionRequest, Option<Arc<AppSpec>>);

impl Chosen {
    /// The session is of the version of its app that was chosen with the node.
    pub(super) fn settle(&self, row: &mut SessionRow) {
        if let Some(app) = &self.app {
            set_app(row, app);
        }
    }
}

impl Owner {
    /// Claims a slot for a session that waits, or says why not.
    pub(super) fn place(
        &mut self,
        mut row: SessionRow,
        hint: Option<&NodeId>,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Result<(), NotPlaced> {
        if row.is_cluster() {
            return self.place_cluster(&row, hint, now, turn);
        }
        let chosen = self.choose(&row, hint, now)?;
        if let Some(app) = chosen.app.clone().filter(|app| row.app() != Some(app)) {
            set_app(&mut row, &app);
            self.set_edition(&row.id, app, turn);
        }
        self.claim(&row, chosen, false, now, turn)
    }

    /// Another version is live now where a session that waits is placed.
    fn set_edition(&mut self, id: &SessionId, app: Arc<AppSpec>, turn: &mut Turn) {
        let Some(entry) = self.sessions.get_mut(id) else {
            return;
        };
        set_app(&mut entry.row, &app);
        let limits = self.times.limits(&entry.row);
        let life = &entry.life;
        entry.life = Lifecycle::restore(limits, life.phase().clone(), life.starts_denied());
        let session = id.clone();
        turn.push(Op::SetEdition { session, app }, Then::Nothing);
    }

    /// Claims what was chosen, in this turn, or says why not.
    pub(super) fn claim(
        &mut self,
        row: &SessionRow,
        chosen: Chosen,
        with_create: bool,
        now: MonoTime,
        turn: &mut Turn,
    ) -> Result<(), NotPlaced> {
        let Chosen {
            request,
            claim,
            placement,
            app: _,
            volumes,
        } = chosen;
        let reserve = self.reserve(row, &claim, (&request, volumes), now);
        let mut reserve = reserve.ok_or(NotPlaced::NoSlot)?;
        reserve.with_create = with_create;
        // Where a checker plays says nothing of what players are placed by.
        if let (Placement::Placed { node, why, .. }, None) = (&placement, &row.wish.probed) {
            self.placements.add(request, node.clone(), *why);
        }
        let outbox = outbox_of(&reserve);
        let then = Then::Claimed {
            session: row.id.clone(),
            claim,
            order: Box::new(outbox),
            placement: Box::new(placement),
        };
        turn.push(Op::Reserve(Box::new(reserve)), then);
        Ok(())
    }

    /// Takes a claim in memory, ahead of its transaction; what to write of it.
    pub(super) fn reserve(
        &mut self,
        row: &SessionRow,
        claim: &Claim,
        (request, volumes): (&SessionRequest, Vec<TakeVolume>),
        now: MonoTime,
    ) -> Option<Reserve> {
        let (held, capacity_rev) = self.fleet.take(&row.id, claim, request, now)?;
        self.volumes
            .take(&row.id, &claim.node, &volumes, unix_ms(now));
        self.let_in(row, &claim.node, request);
        Some(Reserve {
            session: row.id.clone(),
            with_create: false,
            claim: claim.clone(),
            cpu_milli: held.cpu_milli,
            mem_mib: held.mem_mib,
            kbps: held.kbps,
            disk_mib: held.disk_mib,
            gpus: held.gpu_uuids.clone(),
            volumes,
            capacity_rev,
            order: self.start_order(row, claim, &held, now),
            phase: placing(self.times.limits(row), claim, now),
            at: now,
        })
    }

    /// Decides on a node, and with it on the version of the app; and finds one of the node's slots.
    pub(super) fn choose(
        &self,
        row: &SessionRow,
        hint: Option<&NodeId>,
        now: MonoTime,
    ) -> Result<Chosen, NotPlaced> {
        let waited_ms = now.millis_since(row.created_at);
        let plan = self.volume_plan(row)?;
        let (decision, request, app) = self.decide_on(row, &plan, hint, waited_ms);
        match decision {
            Decision::Place { node, why, step } => {
                if let Some(holder) = self.fleet.holder(&node).cloned() {
                    return Err(NotPlaced::Elsewhere { holder, node });
                }
                let Some(claim) = self.fleet.free_slot(&node, now) else {
                    tracing::error!(node_id = %node, "no slot of the node can be claimed");
                    return Err(NotPlaced::NoSlot);
                };
                tracing::debug!(session_id = %row.id, node_id = %node, points = why.points(), ?why,
                    "placed");
                let placement = Placement::Placed {
                    placed_in: Box::new(self.placed_in(row, &node, why.rtt_ms, step)),
                    waited_ms: request.waited_ms,
                    node,
                    why,
                };
                Ok(Chosen {
                    request,
                    claim,
                    placement,
                    app,
                    volumes: plan.takes,
                })
            }
            Decision::Reject(rejection) => {
                crate::metrics::place_rejected(&rejection);
                tracing::debug!(session_id = %row.id, reasons = ?rejection.reasons, "not placed");
                Err(match &plan.on {
                    Some(on) => self.tied(on, rejection),
                    None => NotPlaced::Rejected(rejection),
                })
            }
        }
    }

    /// The decision, and the version of the app that it is about: on the one node that may run it, if
    /// there is one; on the node that another broker found, if that still has room; or anywhere.
    fn decide_on(
        &self,
        row: &SessionRow,
        plan: &Plan,
        hint: Option<&NodeId>,
        waited_ms: u64,
    ) -> Decided {
        let mut chance = |n: usize| rand::random_range(0..n);
        let spec = match &row.work {
            Work::App(work) => &work.app,
            Work::Job(spec) => return self.decide_on_job(row, (spec, plan), hint, waited_ms),
        };
        // Of an app that cannot be started any more, what is waited for still is.
        let live = self
            .apps
            .app(&spec.id)
            .unwrap_or_else(|| LiveApp::alone(spec));
        let mut alone = |node: &NodeId, policy: &Policy| {
            let view = self.fleet.view(node);
            let app = view.map_or(&live.live, |view| live.in_metro(&view.region));
            let request = self.told(row, request_for(row, app, waited_ms));
            let decision = decide(&self.fleet.alone(node), &request, policy, &mut chance);
            (decision, request, Some(app.clone()))
        };
        if let Some(node) = row.wish.node() {
            return alone(node, &self.policy_chosen);
        }
        let hinted = hint.map(|node| alone(node, self.policy_for(row)));
        hinted
            .filter(|(decision, ..)| matches!(decision, Decision::Place { .. }))
            .unwrap_or_else(|| self.decide_anew(row, &live, waited_ms, &mut chance))
    }

    /// The decision about a job: on the node that has its volumes; on the one that another broker found, if that still has room; or
    /// anywhere, the nearest first, however far.
    fn decide_on_job(
        &self,
        row: &SessionRow,
        (spec, plan): (&JobSpec, &Plan),
        hint: Option<&NodeId>,
        waited_ms: u64,
    ) -> Decided {
        let mut chance = |n: usize| rand::random_range(0..n);
        let request = request_for_job(
            row,
            spec,
            self.price_cap(spec),
            waited_ms,
            self.apps.ahead(),
        );
        let request = self.told(row, with_volumes(request, plan));
        let policy = &self.policy_chosen;
        if let Some((node, _)) = &plan.on {
            let decision = decide(&self.fleet.alone(node), &request, policy, &mut chance);
            return (decision, request, None);
        }
        let hinted =
            hint.map(|node| decide(&self.fleet.alone(node), &request, policy, &mut chance));
        let decision = hinted
            .filter(|decision| matches!(decision, Decision::Place { .. }))
            .unwrap_or_else(|| decide(self.fleet.index(), &request, policy, &mut chance));
        (decision, request, None)
    }

    /// The decision over the whole fleet: of each version where it is live, the best.
    fn decide_anew(
        &self,
        row: &SessionRow,
        live: &LiveApp,
        waited_ms: u64,
        chance: &mut impl FnMut(usize) -> usize,
    ) -> Decided {
        let mut decide_on = |request: SessionRequest, app: Arc<AppSpec>| {
            let request = self.told(row, request);
            let decision = decide(self.fleet.index(), &request, self.policy_for(row), chance);
            (decision, request, Some(app))
        };
        if let Some(region) = &row.wish.region {
            let app = live.in_metro(region);
            return decide_on(request_for(row, app, waited_ms), app.clone());
        }
        let decided = live.variants().into_iter().map(|variant| {
            let mut request = request_for(row, &variant.app, waited_ms);
            match variant.metros {
                Metros::Only(metros) => request.regions = metros,
                Metros::Except(metros) => request.regions_not = metros,
            }
            decide_on(request, variant.app)
        });
        decided.reduce(better).expect("an app has a live version")
    }

    /// Whoever chose a region knows how far it is.
    pub(super) fn policy_for(&self, row: &SessionRow) -> &Policy {
        match (&row.work, &row.wish.region) {
            (Work::Job(_), _) | (_, Some(_)) => &self.policy_chosen,
            (Work::App(_), None) => &self.policy,
        }
    }

    /// Where a session is placed, for its player.
    fn placed_in(
        &self,
        row: &SessionRow,
        node: &NodeId,
        rtt_ms: Option<u32>,
        step: Option<Step>,
    ) -> PlacedIn {
        let region = self.fleet.get(node).map(|known| known.row.region.clone());
        let region = region.unwrap_or_default();
        PlacedIn {
            chosen: row.wish.region.as_ref() == Some(&region),
            rtt_ms,
            rtt_from: rtt_ms.and_then(|_| row.wish.source(&region)),
            step: step.map(latency_step),
            region,
        }
    }

    /// A job's secrets, and what its image is pulled with, to be sent to its node. `None` if they are not here any more, or were sealed
    /// with a key that this broker does not have.
    pub(super) fn for_node(&self, row: &SessionRow) -> Option<ForNode> {
        let names = row.work.job().map_or(0, |spec| spec.secrets.len());
        if names == 0 && row.sealed.is_none() {
            return Some(ForNode::default());
        }
        let opened = self.sealer.open(&row.id, row.sealed.as_ref()?);
        let opened = opened.inspect_err(|error| {
            tracing::error!(session_id = %row.id, %error, "a job's secrets cannot be opened");
        });
        opened.ok()
    }

    fn start_order(&self, row: &SessionRow, claim: &Claim, held: &HeldBy, now: MonoTime) -> Order {
        let grant = Grant {
            iss: ISSUER.to_owned(),
            session: row.id.clone(),
            node: claim.node.clone(),
            slot: claim.slot.clone(),
            epoch: claim.epoch.into(),
            user: row.user.clone(),
            iat_ms: unix_ms(now),
            gpus: held.gpu_uuids.clone(),
            row: row_for_grant(row, held),
        };
        // Who has secrets that cannot be opened gets no claim.
        let ForNode { secrets, pull } = self.for_node(row).unwrap_or_default();
        Order::Start(Box::new(Start {
            session: row.id.clone(),
            grant: self.signer.grant(&grant),
            work: row.work.clone().for_start(),
            secrets,
            pull,
            replica: row.replica.clone(),
            storage: self.storage_of(row),
        }))
    }
}

/// The order that comes with a claim, yet without its number.
pub(super) fn outbox_of(reserve: &Reserve) -> OutboxRow {
    OutboxRow {
        command: 0,
        node: reserve.claim.node.clone(),
        session: reserve.session.clone(),
        epoch: reserve.claim.epoch,
        order: reserve.order.clone(),
        sealed: None,
    }
}

/// With what its volumes take beside.
pub(super) fn with_volumes(mut request: SessionRequest, plan: &Plan) -> SessionRequest {
    if let Some(need) = &mut request.job {
        need.volumes_mib = plan.growth_mib;
    }
    request
}

fn set_app(row: &mut SessionRow, app: &AppSpec) {
    if let Work::App(work) = &mut row.work {
        work.app = app.clone();
    }
}

/// The better one of two decisions about different metros; of two rejections, both together.
fn better(one: Decided, two: Decided) -> Decided {
    match (&one.0, &two.0) {
        (Decision::Place { why: a, .. }, Decision::Place { why: b, .. }) => {
            if a.points() < b.points() { one } else { two }
        }
        (Decision::Place { .. }, Decision::Reject(_)) => one,
        (Decision::Reject(_), Decision::Place { .. }) => two,
        (Decision::Reject(a), Decision::Reject(b)) => {
            let both = both(a, b);
            (Decision::Reject(both), two.1, two.2)
        }
    }
}

/// Each counts every node, and those in the other's metros as of another region: none asked for one.
fn both(a: &Rejection, b: &Rejection) -> Rejection {
    let mut reasons = a.reasons.clone();
    for (reason, nodes) in &b.reasons {
        *reasons.entry(*reason).or_default() += nodes;
    }
    reasons.remove(&Reason::Region);
    Rejection {
        reasons,
        step: a.step.or(b.step),
    }
}
