//! One request of a caller at this node, step by step.

use super::super::endpoints::{Missing, Opened};
use super::super::proxy::{hand_on, missing, not_open};
use super::super::upgrade;
use super::visits::NotSpent;
use super::{Callers, Peer};
use crate::meters;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Response, StatusCode, header, request};
use axum::response::IntoResponse;
use hyper::upgrade::OnUpgrade;
use nearlight_kit::endpoint::head::{
    change_of, host_of, is_ambiguous, onward, to_caller, uri_onward,
};
use nearlight_kit::endpoint::right::{
    Closed, Jar, Shown, any_opens, beyond_scope, exchanged, is_for, is_here, is_own_doing, opens,
    shown,
};
use nearlight_kit::endpoint::site::Target;
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::uploading::Uploading;
use nearlight_protocol::endpoint::EndpointClaims;
use nearlight_protocol::job::PortAccess;
use nearlight_protocol::problem::ProblemType;
use nearlight_protocol::unit::UnixMillis;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Of an upload nothing comes for so long: the caller is gone, or has forgotten it. As at a broker.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(600);

/// What is asked.
struct Asked {
    head: request::Parts,
    body: Body,
    /// The protocol that it changes to, and the connection that changes.
    change: Option<(HeaderValue, OnUpgrade)>,
    host: Authority,
    target: Target,
    shown: Shown,
    peer: Option<IpAddr>,
}

pub(super) async fn answer(
    State(callers): State<Arc<Callers>>,
    request: Request,
) -> Response<Body> {
    let (outcome, response) = match callers.answer(request).await {
        Ok(response) => ("answered", response),
        Err(refusal) => ("refused", refusal.into_response()),
    };
    meters::direct(outcome);
    response
}

/// There is nothing: no word of what there could be.
fn nothing() -> Response<Body> {
    (StatusCode::NOT_FOUND, "Not found\n").into_response()
}

impl Callers {
    async fn answer(&self, request: Request) -> Result<Response<Body>, ProblemResponse> {
        let Some(asked) = self.read(request) else {
            return Ok(nothing());
        };
        if is_ambiguous(&asked.head) {
            let refusal = ProblemResponse::new(
                ProblemType::BadRequest,
                "The request says twice where its body ends. Send one of Content-Length and \
                 Transfer-Encoding.",
            );
            return Ok(([(header::CONNECTION, "close")], refusal).into_response());
        }
        let session = &asked.target.session;
        let Some(opened) = self.endpoints.get(session) else {
            // Whoever has a ticket for it knows of it anyway.
            return match self.is_known(&asked) {
                true => Err(not_open(&self.endpoints, session)),
                false => Ok(nothing()),
            };
        };
        let closed = opened.closed.clone();
        tokio::select! {
            answered = self.ask(asked, &opened) => answered,
            () = closed.cancelled() => Err(missing(Missing::Session)),
        }
    }

    /// Who is asked for what; `None` if that is nobody.
    fn read(&self, mut request: Request) -> Option<Asked> {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let change = change_of(&mut request);
        let (head, body) = request.into_parts();
        if head.method == Method::CONNECT {
            return None;
        }
        let host = host_of(&head)?;
        Some(Asked {
            target: self.site.find(&host)?,
            shown: shown(&head.headers, &head.uri, self.jar()),
            head,
            body,
            change,
            host,
            peer,
        })
    }

    async fn ask(
        &self,
        asked: Asked,
        opened: &Arc<Opened>,
    ) -> Result<Response<Body>, ProblemResponse> {
        let Ok(port) = opened.named(&asked.target.port) else {
            return Ok(nothing());
        };
        let is_open =
            port.access == PortAccess::Public && !matches!(asked.shown, Shown::Address(..));
        if !is_open && let Some(instead) = self.permit(&asked, opened)? {
            return Ok(instead);
        }
        // Whoever shows a ticket where none is asked for has no share.
        let is_stranger = is_open && self.permit(&asked, opened).is_err();
        let place = port.place(asked.peer.filter(|_| is_stranger))?;
        opened.seen.fetch_add(1, Ordering::Relaxed);
        let mut request = Request::new(());
        let uri = uri_onward(&asked.head.uri, &asked.host, self.site.scheme());
        *request.uri_mut() =
            uri.ok_or_else(|| ProblemResponse::new(ProblemType::BadRequest, "The path is none."))?;
        *request.method_mut() = asked.head.method;
        let mut headers = asked.head.headers;
        onward(&mut headers, &asked.shown, self.site.scheme());
        *request.headers_mut() = headers;
        if let Some(change) = asked.change {
            let tasks = self.shutdown.clone();
            let answered =
                upgrade::ask_for_caller(request, change, (opened, port), (place, tasks)).await;
            return answered.map(|mut answer| {
                // What says that the connection changes is this connection's own.
                let kept = [header::CONNECTION, header::UPGRADE].map(|name| {
                    answer
                        .headers()
                        .get(&name)
                        .cloned()
                        .map(|value| (name, value))
                });
                to_caller(answer.headers_mut());
                answer.headers_mut().extend(kept.into_iter().flatten());
                answer
            });
        }
        let (head, ()) = request.into_parts();
        let body = Uploading::new(asked.body, UPLOAD_IDLE_MAX);
        let request = Request::from_parts(head, body);
        let mut answer = hand_on(request, (opened, port), place).await?;
        to_caller(answer.headers_mut());
        Ok(answer)
    }

    /// What is answered in place of the job, if it is not for this caller.
    fn permit(
        &self,
        asked: &Asked,
        opened: &Opened,
    ) -> Result<Option<Response<Body>>, ProblemResponse> {
        let now_ms = self.clock.unix_ms();
        let first = first_of(opened);
        let opens = |claims: Option<EndpointClaims>| {
            let claims = claims.filter(|claims| is_here(claims, Some(&self.node)));
            let mut claims = claims.ok_or(Closed::Elsewhere)?;
            claims.exp_ms = claims.direct_until_ms();
            let head = (&asked.head, asked.change.is_some());
            opens(&claims, (&asked.target, first), head, now_ms)
        };
        match &asked.shown {
            Shown::Ticket(ticket) => admitted(opens(self.keys.verify(ticket))).map(|()| None),
            Shown::Cookies(cookies) => {
                let opened = any_opens(cookies, |cookie| opens(self.visits.ticket_of(cookie)));
                admitted(opened)?;
                let origin = format!("{}://{}", self.site.scheme(), asked.host);
                if is_own_doing(&asked.head.headers, &origin, asked.change.is_some()) {
                    return Ok(None);
                }
                Err(ProblemResponse::new(
                    ProblemType::OriginRefused,
                    "The request comes from a page of another origin. Send a ticket in place of the \
                     cookie.",
                ))
            }
            Shown::Address(ticket, rest) => self
                .exchange(asked, (ticket, rest), (first, now_ms))
                .map(Some),
            Shown::Key(_) => Err(refused(
                "A node takes tickets and no API keys. Keys are for the broker.",
            )),
            Shown::Nothing => Err(refused("The job is not for everybody.")),
        }
    }

    /// A cookie, in exchange for an address that works once.
    fn exchange(
        &self,
        asked: &Asked,
        (ticket, rest): (&str, &str),
        (first, now_ms): (&str, UnixMillis),
    ) -> Result<Response<Body>, ProblemResponse> {
        let claims = self.keys.verify(ticket).filter(|claims| {
            let is_here = claims.node.as_ref() == Some(&self.node);
            is_here && is_for(claims, &asked.target, first) && now_ms < claims.exp_ms
        });
        let reads = matches!(asked.head.method, Method::GET | Method::HEAD);
        let claims = claims.and_then(|claims| Some((claims.cookie_until_ms?, claims)));
        let Some((until_ms, claims)) = claims.filter(|_| reads) else {
            return Err(refused("The address has worked, or its time is over."));
        };
        match self.visits.spend(&claims, now_ms) {
            Ok(()) => {}
            Err(NotSpent::Before) => return Err(refused("The address has worked; it works once.")),
            Err(NotSpent::TooMany) => {
                let detail = "As many of the job's addresses were opened at its node within a minute as may be. \
                              Come back in 1 min.";
                let refused = ProblemResponse::new(ProblemType::TooManyRequests, detail);
                return Err(refused.retry_after_s(60));
            }
        }
        let kept = self.visits.cookie_for(&EndpointClaims {
            exp_ms: until_ms,
            cookie_until_ms: None,
            ..claims
        });
        let for_s = until_ms.saturating_sub(now_ms) / 1000;
        Ok(exchanged(&kept, for_s, self.jar(), rest))
    }

    const fn jar(&self) -> Jar {
        Jar::of_node(self.site.is_secure())
    }

    /// Whether a caller shows a ticket for a session at this node, whatever its port.
    fn is_known(&self, asked: &Asked) -> bool {
        let claims = match &asked.shown {
            Shown::Ticket(ticket) => self.keys.verify(ticket),
            Shown::Cookies(cookies) => cookies.iter().find_map(|one| self.visits.ticket_of(one)),
            Shown::Address(..) | Shown::Key(_) | Shown::Nothing => None,
        };
        claims.is_some_and(|claims| {
            claims.aud == asked.target.session && is_here(&claims, Some(&self.node))
        })
    }
}

fn first_of(opened: &Opened) -> &str {
    opened.ports.first().map_or("", |port| &port.name)
}

fn admitted(opened: Result<(), Closed>) -> Result<(), ProblemResponse> {
    opened.map_err(|closed| match closed {
        Closed::Scope => beyond_scope(),
        Closed::Elsewhere | Closed::Expired | Closed::Once => {
            refused("The ticket is expired here, or for another session or port.")
        }
    })
}

/// A caller who shows nothing that opens the port.
fn refused(why: &str) -> ProblemResponse {
    ProblemResponse::new(
        ProblemType::Unauthenticated,
        format!(
            "{why} Ask the broker for a ticket with POST to the session's `endpoint`: it works here until \
             `direct_expires_at`, as `Authorization: Bearer`; in a browser open its `direct_open_url`."
        ),
    )
}
