//! WHEP: an offer is answered, candidates are added, an attachment is deleted.
//!
//! An offer may have to wait a moment: behind NAT for our address outside, and for a viewer that is
//! just leaving. When the moment is over it is answered with what is known.

use super::{Reactor, Viewer, viewers::guard};
use crate::attachment::Attachment;
use crate::handle::Reply;
use crate::limits::{GATHER_DEADLINE, OFFERS_WAITING_MAX, RELEASE_DEADLINE};
use crate::net::candidates;
use crate::sdp::offer::Offer;
use crate::sdp::{answer, fragment};
use nearlight_protocol::control::{ViewerRole, WhepRefusal, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId};
use nearlight_protocol::notice::{DetachReason, Notice};
use std::time::{Duration, Instant};

/// A POST.
pub(super) struct Request {
    pub(super) session: SessionId,
    pub(super) attachment: AttachmentId,
    pub(super) sdp: String,
    pub(super) role: ViewerRole,
    pub(super) reply: Reply,
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

    /// Whether another viewer holds the session and may keep it.
    fn is_held(&self, request: &Request, now: Instant) -> bool {
        let key = self.by_id.get(&request.session);
        let session = key.and_then(|key| self.sessions.get(key));
        let current = session.and_then(|session| session.current);
        let viewer = current.and_then(|current| self.viewers.get(&current));
        viewer.is_some_and(|viewer| {
            let same = *viewer.attachment.id() == request.attachment;
            request.role != (ViewerRole::Player { take_over: true })
                && !same
                && !viewer.attachment.is_replaceable(now)
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

    pub(super) fn refuse_waiting_of(&mut self, session: &SessionId) {
        for offer in std::mem::take(&mut self.waiting_offers) {
            if offer.request.session == *session {
                (offer.request.reply)(unknown_session());
            } else {
                self.waiting_offers.push(offer);
            }
        }
    }

    fn answer(&mut self, request: Request, now: Instant) {
        let result = match self.attach(&request, now) {
            Ok(sdp) => WhepResult::Answer { sdp },
            Err(refusal) => refusal,
        };
        if let WhepResult::Refused { reason, detail } = &result {
            let session = &request.session;
            tracing::info!(session_id = %session, ?reason, %detail, "an offer is refused");
        }
        (request.reply)(result);
    }

    fn attach(&mut self, request: &Request, now: Instant) -> Result<String, WhepResult> {
        let key = self.by_id.get(&request.session).copied();
        let key = key.ok_or_else(unknown_session)?;
        let session = self.sessions.get(&key).ok_or_else(unknown_session)?;
        if session.encoders.is_empty() || !session.shows_picture || session.link.is_none() {
            let detail = "the session shows no picture yet; follow its events and try again";
            return Err(refused(WhepRefusal::NotReady, detail));
        }
        if self.is_held(request, now) {
            let detail = "the session is attached elsewhere; ask to take it over";
            return Err(refused(WhepRefusal::AttachedElsewhere, detail));
        }
        let current = session.current;
        let invalid = |detail: String| refused(WhepRefusal::InvalidOffer, detail);
        let encoders = session.encoders.as_slice();
        let offer =
            Offer::read(&request.sdp, encoders).map_err(|error| invalid(error.to_string()))?;
        // The new one is built before the old one goes: a bad offer costs nobody the session.
        let (context, id) = (&self.context, request.attachment.clone());
        let built = guard(|| Attachment::answer(context, id, &offer, now));
        let (attachment, rtc_answer) = match built {
            Some(Ok(built)) => built,
            Some(Err(error)) => return Err(invalid(format!("the offer cannot work: {error}"))),
            None => {
                self.meters.caught();
                return Err(invalid("the offer cannot be processed".to_owned()));
            }
        };
        let lines = self.candidate_lines(now);
        let answer = answer::complete(&rtc_answer, &offer, &lines)
            .ok_or_else(|| invalid("the offer's sections cannot be matched".to_owned()))?;
        if let Some(current) = current {
            let reason = DetachReason::TakenOver;
            self.leave(current, now, Some(&Notice::Detached { reason }));
        }
        let viewer_key = self.next_key;
        self.next_key += 1;
        self.routes.expect(attachment.ufrag(), viewer_key);
        let viewer = Viewer {
            attachment,
            session: key,
        };
        self.viewers.insert(viewer_key, viewer);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.current = Some(viewer_key);
        }
        self.touched.insert(viewer_key);
        Ok(answer)
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
            return refused(WhepRefusal::NotFound, "the session has no such attachment");
        };
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return refused(WhepRefusal::NotFound, "the session has no such attachment");
        };
        let candidates = match fragment::candidates(text, viewer.attachment.viewer_ufrag()) {
            Ok(candidates) => candidates,
            Err(error) => return refused(WhepRefusal::InvalidOffer, error.to_string()),
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
            return refused(WhepRefusal::NotFound, "the session has no such attachment");
        };
        self.leave(key, Instant::now(), None);
        WhepResult::Done
    }

    fn viewer_of(&self, session: &SessionId, attachment: &AttachmentId) -> Option<u64> {
        let session = self.sessions.get(self.by_id.get(session)?)?;
        let viewer = self.viewers.get(&session.current?)?;
        (viewer.attachment.id() == attachment).then_some(session.current?)
    }
}
