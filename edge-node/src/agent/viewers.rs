//! Viewers: WHEP requests and line checks that the broker relays.

use super::Agent;
use super::uplink::Link;
use nearlight_protocol::control::{FromEdge, ViewerRole, WhepAction, WhepRefusal, WhepResult};
use nearlight_protocol::id::{RequestId, SessionId, WatchLinkId};
use nearlight_protocol::limits::SDP_BYTES_MAX;

impl Agent {
    pub(super) fn whep(&mut self, request: RequestId, session: &SessionId, action: WhepAction) {
        if let Err(result) = self.check_whep(session, &action) {
            self.say(FromEdge::WhepAnswer { request, result });
            return;
        }
        let Some(reply) = self.reply(request) else {
            return;
        };
        if let WhepAction::Offer {
            role: ViewerRole::Watcher { link },
            ..
        } = &action
        {
            self.watched.asked(session, link.clone());
        }
        let transport = &self.host.transport;
        let session = session.clone();
        match action {
            WhepAction::Offer {
                attachment,
                sdp,
                role,
            } => transport.offer(session, attachment, sdp, role, reply),
            WhepAction::Patch {
                attachment,
                fragment,
            } => transport.patch(session, attachment, fragment, reply),
            WhepAction::Delete { attachment } => transport.delete(session, attachment, reply),
        }
    }

    /// Answers the offer of a line check, which belongs to no session.
    pub(super) fn probe(&mut self, request: RequestId, sdp: String) {
        if sdp.len() > SDP_BYTES_MAX {
            let result = refused(WhepRefusal::InvalidOffer, "the SDP is too large");
            self.say(FromEdge::WhepAnswer { request, result });
            return;
        }
        if let Some(reply) = self.reply(request) {
            self.host.transport.probe(sdp, reply);
        }
    }

    /// Lets go whoever watches on a link.
    pub(super) fn end_watch(&mut self, session: SessionId, link: WatchLinkId) {
        self.watched.ended(&session, &link);
        self.host.transport.end_watch(session, link);
    }

    /// Sends the transport's answer to the broker that asked. Runs on the transport's thread, so it
    /// must not wait. A broker whose stream is full or gone has given up on the request anyway.
    fn reply(&self, request: RequestId) -> Option<impl FnOnce(WhepResult) + Send + 'static> {
        let Link::Up(out) = &self.link else {
            return None;
        };
        let out = out.clone();
        Some(move |result| {
            let _ = out.try_send(FromEdge::WhepAnswer { request, result });
        })
    }

    fn check_whep(&self, session: &SessionId, action: &WhepAction) -> Result<(), WhepResult> {
        // A job has nothing to watch.
        let live = self.sessions.get(session);
        let Some(live) = live.filter(|live| live.app().is_some()) else {
            return Err(refused(
                WhepRefusal::NotFound,
                "no such session with a picture runs on this node",
            ));
        };
        let (is_offer, text) = match action {
            WhepAction::Offer { sdp, .. } => (true, sdp.as_str()),
            WhepAction::Patch { fragment, .. } => (false, fragment.as_str()),
            WhepAction::Delete { .. } => (false, ""),
        };
        if is_offer && !live.ready {
            return Err(refused(
                WhepRefusal::NotReady,
                "the session has no picture yet; wait until it is ready",
            ));
        }
        if text.len() > SDP_BYTES_MAX {
            return Err(refused(WhepRefusal::InvalidOffer, "the SDP is too large"));
        }
        Ok(())
    }
}

fn refused(reason: WhepRefusal, detail: &str) -> WhepResult {
    WhepResult::Refused {
        reason,
        detail: detail.to_owned(),
    }
}
