//! Whether a request is for this caller, and what is answered in place of the job if not.

use super::Jobs;
use super::serve::{What, nothing};
use crate::http::Peer;
use crate::sessions::JobEndpoint;
use axum::body::Body;
use axum::http::{Method, Response};
use nearlight_kit::endpoint::right::{
    Closed, Jar, Shown, any_opens, beyond_scope, exchanged, first_of, is_for, is_here,
    is_own_doing, opens,
};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::problem::ProblemType;

const MAKER_GONE: &str = "The key or the login that asked for the ticket is no longer valid.";

impl Jobs {
    /// What is answered in place of the job, if it is not for this caller. Whoever shows a key that
    /// holds, and may not know of the session, is answered as if there were none.
    pub(super) async fn permit(
        &self,
        what: &What,
        shown: &Shown,
        endpoint: &JobEndpoint,
    ) -> Result<Option<Response<Body>>, ProblemResponse> {
        match shown {
            Shown::Key(key) => {
                let is_theirs = self.api.key_opens(key, endpoint, what.peer).await?;
                Ok((!is_theirs).then(nothing))
            }
            Shown::Ticket(ticket) => {
                let opened = self.opened(ticket, what, endpoint);
                self.let_in(what, opened).await.map(|()| None)
            }
            Shown::Cookies(cookies) => {
                let opened = any_opens(cookies, |cookie| self.opened(cookie, what, endpoint));
                self.let_in(what, opened).await?;
                let origin = format!("{}://{}", self.site.scheme(), what.host);
                if is_own_doing(&what.head.headers, &origin, what.changes) {
                    return Ok(None);
                }
                Err(ProblemResponse::new(
                    ProblemType::OriginRefused,
                    "The request comes from a page of another origin. Send a ticket in place of the \
                     cookie.",
                ))
            }
            Shown::Address(ticket, rest) => {
                let address = (ticket.as_str(), rest.as_str());
                self.exchange(what, address, endpoint).await.map(Some)
            }
            Shown::Nothing => Err(self.refused(what.peer, "The job is not for everybody.")),
        }
    }

    /// Whether a caller whom nobody asks shows a ticket all the same, whose maker still may. Where that cannot be said
    /// they are let in as a stranger. The ledger is asked only where it matters, for whom the strangers' share is
    /// `used_up`: a page of a hundred pieces with an old cookie is no hundred look-ups.
    pub(super) async fn knows(
        &self,
        what: &What,
        shown: &Shown,
        (endpoint, used_up): (&JobEndpoint, bool),
    ) -> bool {
        let opened = match shown {
            Shown::Ticket(ticket) => self.opened(ticket, what, endpoint),
            Shown::Cookies(cookies) => {
                any_opens(cookies, |cookie| self.opened(cookie, what, endpoint))
            }
            Shown::Address(..) | Shown::Key(_) | Shown::Nothing => return false,
        };
        let Ok(claims) = opened else { return false };
        if !used_up {
            return self.api.maker_held(&claims.by).unwrap_or(false);
        }
        let holds = self.api.maker_holds(&claims.by, what.peer).await;
        holds.unwrap_or(false)
    }

    /// The ticket in a token, if it opens the port for this request.
    fn opened(
        &self,
        token: &str,
        what: &What,
        endpoint: &JobEndpoint,
    ) -> Result<EndpointClaims, Closed> {
        let claims = self.api.signer.verify_endpoint_ticket(token);
        let claims = claims.map_err(|_| Closed::Elsewhere)?;
        if !is_here(&claims, None) {
            return Err(Closed::Elsewhere);
        }
        let (of, asked) = (
            (&what.target, first_of(&endpoint.ports)),
            (&what.head, what.changes),
        );
        opens(&claims, of, asked, self.api.clock.unix_ms())?;
        Ok(claims)
    }

    /// Lets a ticket's holder in, if whoever asked for it still may.
    async fn let_in(
        &self,
        what: &What,
        opened: Result<EndpointClaims, Closed>,
    ) -> Result<(), ProblemResponse> {
        match opened {
            Ok(claims) if self.api.maker_holds(&claims.by, what.peer).await? => Ok(()),
            Ok(_) => Err(self.refused(what.peer, MAKER_GONE)),
            Err(Closed::Scope) => Err(beyond_scope()),
            Err(Closed::Elsewhere | Closed::Expired | Closed::Once) => Err(self.refused(
                what.peer,
                "The ticket is expired, or for another session or port.",
            )),
        }
    }

    /// A cookie, in exchange for an address that works once.
    async fn exchange(
        &self,
        what: &What,
        (ticket, rest): (&str, &str),
        endpoint: &JobEndpoint,
    ) -> Result<Response<Body>, ProblemResponse> {
        let now_ms = self.api.clock.unix_ms();
        let claims = self.api.signer.verify_endpoint_ticket(ticket).ok();
        let claims = claims.filter(|claims| {
            let is_this = is_for(claims, &what.target, first_of(&endpoint.ports));
            is_this && now_ms < claims.exp_ms && is_here(claims, None)
        });
        let reads = matches!(what.head.method, Method::GET | Method::HEAD);
        let claims = claims.and_then(|claims| Some((claims.cookie_until_ms?, claims)));
        let Some((until_ms, claims)) = claims.filter(|_| reads) else {
            return Err(self.refused(what.peer, "The address has worked, or its time is over."));
        };
        if !self.api.maker_holds(&claims.by, what.peer).await? {
            return Err(self.refused(what.peer, MAKER_GONE));
        }
        if !self.api.spend_address(&claims).await? {
            return Err(self.refused(what.peer, "The address has worked; it works once."));
        }
        let kept = self.api.signer.endpoint_ticket(&EndpointClaims {
            exp_ms: until_ms,
            cookie_until_ms: None,
            ..claims
        });
        let for_s = until_ms.saturating_sub(now_ms) / 1000;
        Ok(exchanged(
            &kept,
            for_s,
            Jar::of_broker(self.site.is_secure()),
            rest,
        ))
    }

    /// A caller who shows nothing that opens the port. Guesses have a rate.
    fn refused(&self, peer: Peer, why: &str) -> ProblemResponse {
        if let Err(too_many) = self.api.guessed(peer) {
            return too_many;
        }
        ProblemResponse::new(
            ProblemType::Unauthenticated,
            format!(
                "{why} Ask for a ticket with POST to the session's `endpoint` and send it as \
                 `Authorization: Bearer`, or open its `open_url` in the browser."
            ),
        )
    }
}
