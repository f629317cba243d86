//! One session in the owner's memory, and its view for readers.

use super::{Placement, ShownSession};
use crate::config::SessionTimes;
use crate::ledger::SessionRow;
use crate::time::unix_ms;
use nearlight_protocol::api::{
    ClusterMember, EndReason, Session, SessionKind, SessionState, WaitsFor,
};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::{AppId, NodeId};
use nearlight_protocol::job::ImageRef;
use nearlight_protocol::region::PlacedIn;
use nearlight_protocol::unit::MonoTime;
use nearlight_protocol::work::Work;
use nearlight_session::Lifecycle;
use nearlight_session::lifecycle::{Claim, Limits, Phase};
use nearlight_session::queue::Eta;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// A session.
#[derive(Debug)]
pub(super) struct Entry {
    /// What does not change. Its phase is the one that it was created or loaded with.
    pub(super) row: SessionRow,
    pub(super) life: Lifecycle,
    /// The deadline that the owner's timer has for it.
    pub(super) deadline: Option<MonoTime>,
    /// The node where it is listed as having a claim.
    pub(super) listed_at: Option<NodeId>,
    /// The operator for which it counts as its tenant's.
    pub(super) counted: Option<String>,
    /// When it ended or was found ended.
    pub(super) ended_at: Option<MonoTime>,
    /// Since when it has its slot; of one that was loaded, since when it is there.
    pub(super) placed_at: MonoTime,
    /// Its place in the queue.
    pub(super) place: Place,
    /// Guests on watch links, as its node said last.
    pub(super) watchers: u32,
    /// What came of the last attempt to place it.
    pub(super) placement: Placement,
    /// A node that another broker found for it.
    pub(super) hint: Option<NodeId>,
    /// Whether the node of a cluster's first replica has said that this one is ready.
    pub(super) said_ready: bool,
    /// The replicas of a cluster's run, as they are shown.
    pub(super) members: Vec<ClusterMember>,
    view: watch::Sender<Session>,
    claim_shown: watch::Sender<Option<Claim>>,
    placement_shown: watch::Sender<Placement>,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: u32,
    pub(super) eta: Eta,
    /// What no node has for it, once one was looked for.
    pub(super) waits_for: Option<WaitsFor>,
}

impl Entry {
    pub(super) fn new(row: SessionRow, limits: Limits) -> Self {
        let life = Lifecycle::restore(limits, row.phase.clone(), row.starts_denied);
        let place = Place {
            position: 1,
            eta: Eta::default(),
            waits_for: None,
        };
        let claim_shown = watch::Sender::new(life.held().map(|held| held.claim.clone()));
        let view = watch::Sender::new(view(&row, &life, (place, None), 0));
        Self {
            placed_at: row.created_at,
            row,
            life,
            deadline: None,
            listed_at: None,
            counted: None,
            ended_at: None,
            place,
            watchers: 0,
            placement: Placement::Unknown,
            hint: None,
            said_ready: false,
            members: Vec::new(),
            view,
            claim_shown,
            placement_shown: watch::Sender::default(),
        }
    }

    /// Why the broker has it end, if it does.
    pub(super) fn told_to_end(&self) -> Option<EndReason> {
        let Phase::Ending { reason, .. } = self.life.phase() else {
            return None;
        };
        Some(*reason)
    }

    /// The same session as the ledger has it. Whoever watches it goes on watching.
    pub(super) fn reload(&mut self, row: SessionRow, limits: Limits) {
        self.life = Lifecycle::restore(limits, row.phase.clone(), row.starts_denied);
        self.row = row;
        self.said_ready = false;
        self.deadline = None;
        self.listed_at = None;
        self.counted = None;
    }

    /// What readers get.
    pub(super) fn for_readers(&self) -> ShownSession {
        ShownSession {
            user: self.row.user.clone(),
            tenant: self.row.tenant.clone(),
            view: self.view.subscribe(),
            claim: self.claim_shown.subscribe(),
            ports: self
                .row
                .work
                .job()
                .map_or_else(Arc::default, |spec| spec.ports.as_slice().into()),
            replicas: match self.row.work.job() {
                Some(spec) if !self.row.is_member() => spec.replicas(),
                Some(_) | None => 1,
            },
            placement: self.placement_shown.subscribe(),
            is_member: self.row.is_member(),
            is_probe: self.row.wish.probed.is_some(),
        }
    }

    pub(super) fn shown(&self) -> Session {
        self.view.borrow().clone()
    }

    /// Brings the view up to date; readers wake up if it changed.
    pub(super) fn publish(&mut self) {
        if let Some(held) = self.life.held() {
            self.row.node = Some(held.claim.node.clone());
        }
        let claim = self.life.held().map(|held| &held.claim);
        self.claim_shown.send_if_modified(|shown| {
            let changed = shown.as_ref() != claim;
            if changed {
                *shown = claim.cloned();
            }
            changed
        });
        let watchers = if self.life.held().is_some() {
            self.watchers
        } else {
            0
        };
        let placed_in = match &self.placement {
            Placement::Placed { placed_in, .. } => Some(PlacedIn::clone(placed_in)),
            Placement::Unknown
            | Placement::Waits(_)
            | Placement::WaitsTogether(_)
            | Placement::WaitsForVolume(..)
            | Placement::Nowhere(..) => None,
        };
        let mut fresh = view(&self.row, &self.life, (self.place, placed_in), watchers);
        fresh.members.clone_from(&self.members);
        self.view.send_if_modified(|shown| {
            let changed = *shown != fresh;
            if changed {
                *shown = fresh;
            }
            changed
        });
        self.placement_shown.send_if_modified(|shown| {
            let changed = *shown != self.placement;
            if changed {
                shown.clone_from(&self.placement);
            }
            changed
        });
    }
}

/// A session as its row alone says it is.
pub(crate) fn view_of(row: SessionRow, times: &SessionTimes) -> Session {
    let limits = times.limits(&row);
    Entry::new(row, limits).shown()
}

fn view(
    row: &SessionRow,
    life: &Lifecycle,
    (place, placed_in): (Place, Option<PlacedIn>),
    watchers: u32,
) -> Session {
    let state = match life.phase() {
        Phase::Queued => SessionState::Queued {
            position: place.position,
            eta_s: place.eta.half_s,
            eta_most_s: place.eta.most_s,
            waits_for: place.waits_for,
        },
        Phase::Placing { .. } => SessionState::Placing,
        Phase::Starting { progress, .. } => SessionState::Starting {
            progress: progress.clone(),
        },
        Phase::Ready { .. } => SessionState::Ready,
        Phase::Playing { .. } => SessionState::Playing,
        Phase::Detached { .. } => SessionState::Detached,
        Phase::Ending { reason, .. } => SessionState::Ending { reason: *reason },
        Phase::Ended { reason, detail } => SessionState::Ended {
            reason: *reason,
            detail: sentence(*reason, detail),
        },
    };
    let Shown {
        kind,
        app,
        title,
        display,
        play_path,
        labels,
    } = Shown::of(row);
    Session {
        id: row.id.clone(),
        kind,
        app,
        title,
        state,
        node: row.node.clone(),
        display,
        labels,
        owned: true,
        created_at: unix_ms(row.created_at),
        ends_at: life.ends_at().map(unix_ms),
        preempted_at: life.reclaim_at().map(unix_ms),
        play_path,
        watchers,
        placed_in,
        members: Vec::new(),
    }
}

/// What is shown of a session's work.
#[derive(Debug)]
struct Shown {
    kind: SessionKind,
    app: Option<AppId>,
    title: String,
    display: Option<DisplayMode>,
    play_path: String,
    labels: BTreeMap<String, String>,
}

impl Shown {
    fn of(row: &SessionRow) -> Self {
        match &row.work {
            Work::App(work) => Self {
                kind: SessionKind::App,
                app: Some(work.app.id.clone()),
                title: work.app.title.clone(),
                display: Some(work.display),
                play_path: format!("/play/{}", row.id),
                labels: BTreeMap::new(),
            },
            Work::Job(spec) => Self {
                kind: SessionKind::Job,
                app: None,
                title: image_name(&spec.image),
                display: None,
                play_path: String::new(),
                labels: spec.labels.clone(),
            },
        }
    }
}

/// An image's name for people: without its registry and its digest.
fn image_name(image: &str) -> String {
    match image.parse::<ImageRef>() {
        Ok(image) => match image.tag() {
            Some(tag) => format!("{}:{tag}", image.repository()),
            None => image.repository().to_owned(),
        },
        Err(_) => image.to_owned(),
    }
}

/// The reason for people; the last words follow where they help.
fn sentence(reason: EndReason, detail: &str) -> String {
    let sentence = reason.sentence();
    if detail.is_empty() {
        return sentence.to_owned();
    }
    format!("{sentence} ({detail})")
}

/// The label of a phase in logs and metrics.
pub(super) const fn label(phase: &Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Placing { .. } => "placing",
        Phase::Starting { .. } => "starting",
        Phase::Ready { .. } => "ready",
        Phase::Playing { .. } => "playing",
        Phase::Detached { .. } => "detached",
        Phase::Ending { .. } => "ending",
        Phase::Ended { .. } => "ended",
    }
}
