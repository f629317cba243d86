//! WHEP: an offer is answered, candidates are added, an attachment is deleted. A line check is an
//! offer too, of nobody's session.
//!
//! An offer may have to wait a moment: behind NAT for our address outside, and for a viewer that is
//! just leaving. When the moment is over it is answered with what is known.

use super::{NO_SESSION, Reactor, SessionKey, Viewer, Watch, viewers::guard};
use crate::attachment::{Attachment, Kind};
use crate::handle::Reply;
use crate::limits::{
    GATHER_DEADLINE, LINE_CHECKS_MAX, OFFERS_WAITING_MAX, RELEASE_DEADLINE, WATCHERS_MAX,
};
use crate::net::candidates;
use crate::routes::AttachmentKey;
use crate::sdp::offer::Offer;
use crate::sdp::{answer, fragment};
use crate::session::Session;
use nearlight_protocol::control::{ViewerRole, WhepRefusal, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId, WatchLinkId};
use nearlight_protocol::notice::{DetachReason, Notice};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A POST.
pub(super) struct Request {
    pub(super) what: What,
    pub(super) sdp: String,
    pub(super) reply: Reply,
}

/// What a POST is for.
pub(super) enum What {
    Attach {
        session: SessionId,
        attachment: AttachmentId,
        role: ViewerRole,
    },
    LineCheck,
}

/// A POST that waits.
pub(super) struct Waiting {
    request: Request,
    what: Wait,
    pub(super) until: Instant,
}

/// What a POST waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Our address outside the NAT.
    Address,
    /// The viewer that holds the session.
    Release,
}

fn refused(reason: WhepRefusal, detail: impl Into<String>) -> WhepResult {
    WhepResult::Refused {
        reason,
        detail: detail.into(),
    }
}

fn unknown_session() -> WhepResult {
    refused(WhepRefusal::NotFound, "the node has no such session")
}

fn unknown_attachment() -> WhepResult {
    refused(WhepRefusal::NotFound, "the session has no such attachment")
}

fn invalid(detail: impl Into<String>) -> WhepResult {
    refused(WhepRefusal::InvalidOffer, detail)
}

impl Reactor {
    pub(super) fn offer(&mut self, request: Request) {
        let now = Instant::now();
        match self.obstacle(&request, now) {
            Some((what, patience)) if self.waiting_offers.len() < OFFERS_WAITING_MAX => {
                let until = now + patience;
                self.waiting_offers.push(Waiting {
                    request,
                    what,
                    until,
                });
            }
            Some(_) | None => self.answer(request, now),
        }
    }

    /// What an offer had better wait for, and for how long.
    fn obstacle(&self, request: &Request, now: Instant) -> Option<(Wait, Duration)> {
        if self.gatherer.is_used() && self.gatherer.mapped(now).is_none() {
            return Some((Wait::Address, GATHER_DEADLINE));
        }
        self.is_held(request, now)
            .then_some((Wait::Release, RELEASE_DEADLINE))
    }

    /// Whether another player holds the session and may keep it.
    fn is_held(&self, request: &Request, now: Instant) -> bool {
        let What::Attach {
            session,
            attachment,
            role: ViewerRole::Player { take_over: false },
        } = &request.what
        else {
            return false;
        };
        let key = self.by_id.get(session);
        let session = key.and_then(|key| self.sessions.get(key));
        session.is_some_and(|session| self.has_holder_against(session, attachment, now))
    }

    /// Whether a player other than `attachment` holds the session and may keep it.
    fn has_holder_against(
        &self,
        session: &Session,
        attachment: &AttachmentId,
        now: Instant,
    ) -> bool {
        let current = session.current;
        let holder = current.and_then(|current| self.viewers.get(&current));
        holder.is_some_and(|holder| {
            let same = holder.attachment.id() == attachment;
            !same && !holder.attachment.is_replaceable(now)
        })
    }

    /// Answers the offers that need not wait any longer.
    pub(super) fn answer_waiting(&mut self, now: Instant) {
        for offer in std::mem::take(&mut self.waiting_offers) {
            let obstacle = self.obstacle(&offer.request, now);
            let still = obstacle.is_some_and(|(what, _)| what == offer.what);
            if still && offer.until > now {
                self.waiting_offers.push(offer);
            } else {
                self.answer(offer.request, now);
            }
        }
    }

    pub(super) fn refuse_waiting(&mut self) {
        for offer in self.waiting_offers.drain(..) {
            (offer.request.reply)(unknown_session());
        }
    }

    /// Refuses the offers that wait for `session`: all of them, or the watchers' of one link.
    pub(super) fn refuse_waiting_of(&mut self, session: &SessionId, link: Option<&WatchLinkId>) {
        let is_over = |what: &What| match what {
            What::LineCheck => false,
            What::Attach {
                session: of, role, ..
            } => {
                let over = link.is_none_or(
                    |link| matches!(role, ViewerRole::Watcher { link: its } if its == link),
                );
                of == session && over
            }
        };
        for offer in std::mem::take(&mut self.waiting_offers) {
            if is_over(&offer.request.what) {
                (offer.request.reply)(unknown_session());
            } else {
                self.waiting_offers.push(offer);
            }
        }
    }

    fn answer(&mut self, request: Request, now: Instant) {
        let answered = match &request.what {
            What::LineCheck => self.check_line(&request.sdp, now),
            What::Attach {
                session,
                attachment,
                role,
            } => {
                let answered = self.attach(session, attachment, role, &request.sdp, now);
                if let Err(WhepResult::Refused { reason, detail }) = &answered {
                    tracing::info!(session_id = %session, ?reason, %detail, "an offer is refused");
                }
                answered
            }
        };
        let result = match answered {
            Ok(sdp) => WhepResult::Answer { sdp },
            Err(refusal) => refusal,
        };
        (request.reply)(result);
    }

    fn attach(
        &mut self,
        session: &SessionId,
        id: &AttachmentId,
        role: &ViewerRole,
        sdp: &str,
        now: Instant,
    ) -> Result<String, WhepResult> {
        let key = self.by_id.get(session).copied();
        let key = key.ok_or_else(unknown_session)?;
        let session = self.sessions.get(&key).ok_or_else(unknown_session)?;
        if session.encoders().is_empty() || !session.shows_picture || session.link.is_none() {
            let detail = "the session shows no picture yet; follow its events and try again";
            return Err(refused(WhepRefusal::NotReady, detail));
        }
        match role {
            ViewerRole::Player { take_over } => self.attach_player(key, id, *take_over, sdp, now),
            ViewerRole::Watcher { link } => self.attach_watcher(key, id, link, sdp, now),
        }
    }

    fn attach_player(
        &mut self,
        key: SessionKey,
        id: &AttachmentId,
        take_over: bool,
        sdp: &str,
        now: Instant,
    ) -> Result<String, WhepResult> {
        let session = self.sessions.get(&key).ok_or_else(unknown_session)?;
        let current = session.current;
        if !take_over && self.has_holder_against(session, id, now) {
            let detail = "the session is attached elsewhere; ask to take it over";
            return Err(refused(WhepRefusal::AttachedElsewhere, detail));
        }
        let offer = Offer::read(sdp, session.encoders());
        let offer = offer.map_err(|error| invalid(error.to_string()))?;
        // The new one is built before the old one goes: a bad offer costs nobody the session.
        let (attachment, answer) = self.build(id.clone(), Kind::Player, &offer, now)?;
        if let Some(current) = current {
            let reason = DetachReason::TakenOver;
            self.leave(current, now, Some(&Notice::Detached { reason }));
        }
        let viewer = self.admit(attachment, key, None);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.current = Some(viewer);
        }
        Ok(answer)
    }

    fn attach_watcher(
        &mut self,
        key: SessionKey,
        id: &AttachmentId,
        link: &WatchLinkId,
        sdp: &str,
        now: Instant,
    ) -> Result<String, WhepResult> {
        let session = self.sessions.get(&key).ok_or_else(unknown_session)?;
        let same = self.watcher_named(session, id);
        // An offer that never connects keeps nobody out.
        let full = session.watchers.len() >= WATCHERS_MAX && same.is_none();
        let connecting = session.watchers.iter().find(|watcher| {
            let viewer = self.viewers.get(watcher);
            viewer.is_some_and(|viewer| !viewer.attachment.is_connected())
        });
        let instead_of = connecting.copied().filter(|_| full);
        if full && instead_of.is_none() {
            let detail = format!("{WATCHERS_MAX} watch this session already; try again later");
            return Err(refused(WhepRefusal::TooMany, detail));
        }
        // One encode for everybody: who comes later takes the codec that is chosen.
        let chosen = self.codec_chosen(session);
        let codecs = chosen
            .as_ref()
            .map_or(session.encoders(), std::slice::from_ref);
        let offer = Offer::read(sdp, codecs).map_err(|error| match chosen {
            Some(_) => invalid(format!("{error}, as its player chose")),
            None => invalid(error.to_string()),
        })?;
        let (attachment, answer) = self.build(id.clone(), Kind::Watcher, &offer, now)?;
        if let Some(same) = same {
            let reason = DetachReason::TakenOver;
            self.leave(same, now, Some(&Notice::Detached { reason }));
        }
        if let Some(connecting) = instead_of {
            self.leave(connecting, now, None);
        }
        let watch = Watch::on(link.clone(), now);
        let viewer = self.admit(attachment, key, Some(watch));
        if let Some(session) = self.sessions.get_mut(&key) {
            session.watchers.push(viewer);
        }
        Ok(answer)
    }

    fn check_line(&mut self, sdp: &str, now: Instant) -> Result<String, WhepResult> {
        let checks = self.viewers.values().filter(|viewer| {
            viewer.attachment.kind() == Kind::LineCheck && !viewer.attachment.is_leaving()
        });
        if checks.count() >= LINE_CHECKS_MAX {
            let detail = "as many check their line as the node allows; try again in ten seconds";
            return Err(refused(WhepRefusal::TooMany, detail));
        }
        let offer = Offer::read_line_check(sdp).map_err(|error| invalid(error.to_string()))?;
        // Nobody refers to it: the id is for the log.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(0);
        let id = AttachmentId::from_parts(unix_ms, rand::random());
        let (attachment, answer) = self.build(id, Kind::LineCheck, &offer, now)?;
        self.admit(attachment, NO_SESSION, None);
        Ok(answer)
    }

    /// Makes an attachment and the answer that its viewer gets.
    fn build(
        &mut self,
        id: AttachmentId,
        kind: Kind,
        offer: &Offer,
        now: Instant,
    ) -> Result<(Attachment, String), WhepResult> {
        let context = &self.context;
        let built = guard(|| Attachment::answer(context, id, kind, offer, now));
        let (attachment, rtc_answer) = match built {
            Some(Ok(built)) => built,
            Some(Err(error)) => return Err(invalid(format!("the offer cannot work: {error}"))),
            None => {
                self.meters.caught();
                return Err(invalid("the offer cannot be processed"));
            }
        };
        let lines = self.candidate_lines(now);
        let answer = answer::complete(&rtc_answer, offer, &lines)
            .ok_or_else(|| invalid("the offer's sections cannot be matched"))?;
        Ok((attachment, answer))
    }

    /// Takes an attachment in: from here on its datagrams find it.
    fn admit(
        &mut self,
        attachment: Attachment,
        session: SessionKey,
        watch: Option<Watch>,
    ) -> AttachmentKey {
        let key = self.next_key;
        self.next_key += 1;
        self.routes.expect(attachment.ufrag(), key);
        let viewer = Viewer {
            attachment,
            session,
            watch,
        };
        self.viewers.insert(key, viewer);
        self.touched.insert(key);
        key
    }

    fn candidate_lines(&self, now: Instant) -> Vec<String> {
        let bound = self.ports.addresses();
        let hosts = candidates::addresses(&self.config.advertise, &bound);
        if hosts.is_empty() {
            tracing::warn!("there is no address to name in an answer; set `rtc.advertise`");
        }
        let port = self.config.advertise_port.unwrap_or(self.ports.number());
        candidates::lines(&hosts, port, self.gatherer.mapped(now))
    }

    pub(super) fn patch(
        &mut self,
        session: &SessionId,
        attachment: &AttachmentId,
        text: &str,
    ) -> WhepResult {
        let Some(key) = self.viewer_of(session, attachment) else {
            return unknown_attachment();
        };
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return unknown_attachment();
        };
        let candidates = match fragment::candidates(text, viewer.attachment.viewer_ufrag()) {
            Ok(candidates) => candidates,
            Err(error) => return invalid(error.to_string()),
        };
        let (attachment, now) = (&mut viewer.attachment, Instant::now());
        if guard(|| attachment.add_candidates(now, candidates.into_iter())).is_none() {
            self.give_up_viewer(key);
        }
        self.touched.insert(key);
        WhepResult::Done
    }

    pub(super) fn delete(&mut self, session: &SessionId, attachment: &AttachmentId) -> WhepResult {
        let Some(key) = self.viewer_of(session, attachment) else {
            return unknown_attachment();
        };
        self.leave(key, Instant::now(), None);
        WhepResult::Done
    }

    fn viewer_of(&self, session: &SessionId, attachment: &AttachmentId) -> Option<AttachmentKey> {
        let session = self.sessions.get(self.by_id.get(session)?)?;
        let current = session.current.filter(|current| {
            let viewer = self.viewers.get(current);
            viewer.is_some_and(|viewer| viewer.attachment.id() == attachment)
        });
        current.or_else(|| self.watcher_named(session, attachment))
    }
}
