//! The inside of a job's container: its log, commands, files. Each is asked of its node over the session's tunnels.
//!
//! - [`logs`]: server-sent events; [`exec`]: a ticket, and a WebSocket ([`talk`] carries its frames); [`files`]: tar archives.
//! - [`ended`]: the log of a job that is over, from the node that had it last.
//! - [`onward`]: the same for a session that another broker holds.
//!
//! Who may see a session may read its log. Commands and files are for its own tenant alone, with a permission and a scope of
//! their own: an operator or an administrator runs the network, and what a tenant's container holds is not theirs. There is
//! no consent that a tenant could give in this API; who is to help gets a key from the tenant.
//!
//! **Invariants.** What is done inside is in the audit log before it is done, or the caller does not get it: who, what
//! words, which path, how many bytes, which status; never what was said or copied. Nothing is gathered: whoever does not read
//! holds the windows of his own session. No cookie opens a WebSocket.
//!
//! **What it does not know:** what a container is.

mod ended;
pub(super) mod exec;
pub(super) mod files;
pub(super) mod logs;
pub(super) mod onward;
mod talk;

use super::Api;
use super::caller::Caller;
use super::identities::FRESH;
use super::problem::{
    Refusal, bad_request, forbidden, no_such_replica, node_unreachable, not_found,
};
use crate::access::{Permission, Reach};
use crate::sessions::ShownSession;
use crate::tunnels::{Busy, Place, TunnelError, Tunnels};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use exec::Execs;
use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use nearlight_kit::problem::ProblemResponse;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::{SessionKind, SessionState};
use nearlight_protocol::id::SessionId;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::tunnel::{EPOCH, INSIDE, OWN, SESSION};
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use tokio::time::Instant;

/// Largest problem of a node that is passed on.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;
/// Longest detail of a line in the audit log, bytes.
const DETAIL_BYTES_MAX: usize = 1024;
/// Seconds after which a job that starts may have a container.
const START_RETRY_S: u32 = 2;

/// The way to the inside of jobs.
#[derive(Debug)]
pub(crate) struct Inside {
    tunnels: Arc<Tunnels>,
    /// Commands that were asked for.
    execs: Execs,
    /// Who owns what outlives a request.
    pub(super) tasks: Shutdown,
}

impl Inside {
    /// To nodes; also those of probes.
    pub(super) fn tunnels(&self) -> &Arc<Tunnels> {
        &self.tunnels
    }

    pub(crate) fn new(tunnels: Arc<Tunnels>, tasks: &Shutdown) -> Self {
        Self {
            tunnels,
            execs: Execs::default(),
            tasks: tasks.clone(),
        }
    }
}

/// Which container of a cluster is meant: the first one's, if nothing is said.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Of {
    replica: Option<u32>,
}

impl<S: Send + Sync> FromRequestParts<S> for Of {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query
            .map(|Query(of)| of)
            .map_err(|_| bad_request("`replica` is the number of a replica, from 0."))
    }
}

impl Of {
    /// The session of that replica; of a job that is no cluster there is the first alone.
    fn session_in(self, cluster: &ShownSession) -> Result<SessionId, Refusal> {
        let view = cluster.view.borrow();
        match self.replica {
            None | Some(0) => Ok(view.id.clone()),
            // All of it is over, and says so.
            Some(_) if matches!(view.state, SessionState::Ended { .. }) => Ok(view.id.clone()),
            Some(replica) => {
                let mut members = view.members.iter();
                let found = members.find(|member| member.replica == replica);
                let found = found.map(|member| member.session.clone());
                found.ok_or_else(|| match replica < cluster.replicas {
                    // One that waits has none yet.
                    true => not_ready("not placed"),
                    false => no_such_replica(cluster.replicas),
                })
            }
        }
    }
}

impl Api {
    /// A job whose inside is the caller's to work in, or why it is not. Attempts are noted.
    async fn job_to_enter(
        &self,
        caller: &Caller,
        action: AuditAction,
        id: &SessionId,
    ) -> Result<ShownSession, Refusal> {
        self.check_noted(caller, Permission::EnterJobs, action, id.as_str())
            .await?;
        let session = self.session_of(caller, Permission::EnterJobs, id)?;
        let is_theirs = match Reach::of(caller.role) {
            Reach::Own | Reach::Tenant => true,
            Reach::All => caller.owns(&session),
        };
        if !is_theirs {
            self.note_denied(caller, action, id.as_str()).await?;
            return Err(forbidden(
                "What is inside of a tenant's job is for the tenant alone: ask it for a key of its own.",
            ));
        }
        check_job(&session)?;
        Ok(session)
    }

    /// Where a job has its container.
    fn place_inside(&self, id: &SessionId) -> Result<Place, Refusal> {
        let endpoint = self.sessions.endpoint_of(id);
        let endpoint = endpoint.ok_or_else(|| not_found("session"))?;
        match &endpoint.state {
            SessionState::Starting { .. }
            | SessionState::Ready
            | SessionState::Playing
            | SessionState::Detached
            | SessionState::Ending { .. } => endpoint.place.ok_or_else(node_unreachable),
            SessionState::Queued { .. } => Err(not_ready("queued")),
            SessionState::Placing => Err(not_ready("being placed")),
            SessionState::Ended { detail, .. } => {
                let detail = format!(
                    "The job is over, and its container with what was in it is gone, but for its log: {detail} \
                     What has to stay belongs on a volume."
                );
                Err(ProblemResponse::new(ProblemType::SessionEnded, detail))
            }
        }
    }

    /// Asks the node about the inside of a container; its refusals are the answer's.
    async fn ask_inside(
        &self,
        place: &Place,
        service: &'static str,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Busy), Refusal> {
        let headers = request.headers_mut();
        let ours = [
            (INSIDE, service.to_owned()),
            (SESSION, place.session.to_string()),
            (EPOCH, place.epoch.0.to_string()),
        ];
        for (name, value) in ours {
            let value = HeaderValue::from_str(&value).map_err(ProblemResponse::internal)?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let sent = self.inside.tunnels.send(place, None, request).await;
        let (answer, busy) = sent.map_err(|error| unanswered(&error))?;
        if answer.status().is_success() {
            return Ok((answer, busy));
        }
        Err(refusal_of(answer).await)
    }
}

/// A request to the node itself.
pub(super) fn to_node(method: Method, path: &str, body: Body) -> Result<Request<Body>, Refusal> {
    let uri: Uri = format!("http://node{path}")
        .parse()
        .map_err(|_| bad_request("The query is none."))?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    Ok(request)
}

/// Refuses what has no container of a tenant's.
fn check_job(session: &ShownSession) -> Result<(), Refusal> {
    match session.view.borrow().kind {
        SessionKind::Job => Ok(()),
        SessionKind::App => Err(no_job()),
    }
}

fn not_ready(how: &str) -> Refusal {
    let detail = format!("The job is {how}. Its session's events say when it has a container.");
    ProblemResponse::new(ProblemType::JobNotReady, detail).retry_after_s(START_RETRY_S)
}

fn no_job() -> Refusal {
    bad_request("The session runs an app. Logs, commands and files are of jobs alone.")
}

fn unanswered(error: &TunnelError) -> Refusal {
    match error {
        TunnelError::Crowded | TunnelError::Share => ProblemResponse::new(
            ProblemType::TooManyRequests,
            "The job has as many requests under way as it may. Come back in 1 s.",
        )
        .retry_after_s(1),
        TunnelError::Unreachable => node_unreachable(),
        TunnelError::BrokeOff(cause) => ProblemResponse::new(
            ProblemType::JobUnreachable,
            "The way to the job broke off. Look at what was done before you try again.",
        )
        .caused_by(cause),
    }
}

/// What a node says no with. Only a node's own word is one.
pub(super) async fn refusal_of(answer: Response<Incoming>) -> Refusal {
    let is_own = answer.headers().contains_key(OWN);
    let body = to_bytes(Body::new(answer.into_body()), PROBLEM_BYTES_MAX).await;
    let problem = body
        .ok()
        .and_then(|body| serde_json::from_slice(&body).ok());
    match problem {
        Some(Problem { name, detail, .. }) if is_own => ProblemResponse::new(name, detail),
        Some(_) | None => ProblemResponse::new(
            ProblemType::JobUnreachable,
            "The node answers with something else than what it was asked for. It may be older than the \
             broker.",
        ),
    }
}

/// How an answer ends whose caller's credential is void, or whose broker stops.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// Like any other: what came has a mark of its end in itself.
    Ends,
    /// As a broken line: who reads it would take what came for all of it.
    Breaks,
}

impl Cut {
    fn piece(self, why: &'static str) -> Option<io::Error> {
        match self {
            Self::Ends => None,
            Self::Breaks => Some(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
        }
    }
}

/// The pieces of a node's answer, for as long as the caller's credential holds and the broker runs.
pub(super) fn while_it_holds(
    api: Arc<Api>,
    caller: Caller,
    answer: Incoming,
    busy: Busy,
    cut: Cut,
) -> impl Stream<Item = Result<Bytes, io::Error>> {
    let flow = (api, caller, answer, busy, Instant::now());
    stream::unfold(
        flow,
        move |(api, caller, mut answer, busy, mut checked)| async move {
            loop {
                let stop = api.stop.clone();
                let frame = tokio::select! {
                    frame = answer.frame() => Some(frame?),
                    () = tokio::time::sleep(FRESH) => None,
                    () = stop.cancelled() => {
                        let error = cut.piece("the broker stops")?;
                        return Some((Err(error), (api, caller, answer, busy, checked)));
                    }
                };
                if checked.elapsed() >= FRESH {
                    if !api.still_holds(&caller).await {
                        let error = cut.piece("the credential is void")?;
                        return Some((Err(error), (api, caller, answer, busy, checked)));
                    }
                    checked = Instant::now();
                }
                match frame {
                    Some(Ok(frame)) => {
                        let Ok(piece) = frame.into_data() else {
                            continue;
                        };
                        return Some((Ok(piece), (api, caller, answer, busy, checked)));
                    }
                    Some(Err(error)) => {
                        let error = io::Error::other(error);
                        return Some((Err(error), (api, caller, answer, busy, checked)));
                    }
                    None => {}
                }
            }
        },
    )
}

/// Words for the audit log, no more than it keeps.
fn noted(words: &str) -> String {
    let mut end = words.len().min(DETAIL_BYTES_MAX);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < words.len() { "…" } else { "" };
    format!("{}{cut}", &words[..end])
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::api::Role;

    /// Whether a role works in jobs that are another user's.
    fn enters_others(role: Role) -> bool {
        match Reach::of(role) {
            Reach::Tenant => Permission::EnterJobs.is_of(role),
            Reach::Own | Reach::All => false,
        }
    }

    #[test]
    fn only_a_tenants_own_keys_enter_its_members_jobs() {
        let found: Vec<Role> = Role::ALL
            .into_iter()
            .filter(|of| enters_others(*of))
            .collect();
        assert_eq!(found, [Role::Tenant]);
    }

    #[test]
    fn what_is_noted_has_a_bound_and_is_text() {
        assert_eq!(noted("ls"), "ls");
        let long = noted(&"ü".repeat(DETAIL_BYTES_MAX));
        assert!(long.len() <= DETAIL_BYTES_MAX + 3 && long.ends_with('…'));
    }
}
