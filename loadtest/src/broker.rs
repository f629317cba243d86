//! The broker's HTTP API as a player's client uses it: start a session, attach to it, leave, end it.

use anyhow::{Context, Result, bail};
use nearlight_protocol::api::{
    CreateSession, CreateTicket, SavesWish, Session, SessionState, Ticket,
};
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::work::Secrets;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use ureq::http::Response;
use ureq::{Agent, Body};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a session may take to its first picture.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at a session that starts.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a broker may go on saying that there are too many requests.
const CROWD_DEADLINE: Duration = Duration::from_secs(60);

/// Which broker.
#[derive(Clone, Debug, clap::Args)]
pub struct BrokerArgs {
    /// The broker [default: that of the `nearlight up` under --data].
    #[arg(long, env = "NEARLIGHT_URL")]
    url: Option<String>,
    /// An API key [default: the development key under --data].
    #[arg(long, env = "NEARLIGHT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Data directory of a `nearlight up` on this machine.
    #[arg(long, default_value = "data")]
    data: PathBuf,
}

/// One broker and a key for it.
#[derive(Clone, Debug)]
pub struct Broker {
    agent: Agent,
    url: String,
    key: String,
}

/// An attachment: what to answer the offer with, and where to leave.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The node's SDP.
    pub answer: String,
    /// Path of the attachment.
    pub location: String,
}

impl Broker {
    /// The broker that the command line names.
    ///
    /// # Errors
    /// It names none, or there is no key.
    pub fn new(args: &BrokerArgs) -> Result<Self> {
        let read = |name: &str| {
            let path = args.data.join(name);
            std::fs::read_to_string(&path).with_context(|| {
                format!(
                    "no {}: give --url and --token, or --data with the directory of a `nearlight up`",
                    path.display()
                )
            })
        };
        let url = args.url.clone().map_or_else(|| read("up.url"), Ok)?;
        let key = args.token.clone().map_or_else(|| read("dev.key"), Ok)?;
        Ok(Self {
            agent: Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(ANSWER_TIMEOUT))
                .build()
                .into(),
            url: url.trim().trim_end_matches('/').to_owned(),
            key: key.trim().to_owned(),
        })
    }

    /// Starts an app and waits for its first picture.
    ///
    /// # Errors
    /// The broker refuses, or the session ends.
    pub fn start(&self, app: &AppId) -> Result<Session> {
        let request = CreateSession {
            job: None,
            secrets: Secrets::default(),
            app: Some(app.clone()),
            display: None,
            keyboard_layout: None,
            region: None,
            rtt: Vec::new(),
            saves: SavesWish::default(),
            budget_micro: None,
        };
        let body = serde_json::to_string(&request)?;
        let id: Session = self.json("POST", "/v1/sessions", Some(&body))?;
        let until = Instant::now() + START_DEADLINE;
        loop {
            let session = self.session(&id.id)?;
            match &session.state {
                SessionState::Ready | SessionState::Playing | SessionState::Detached => {
                    return Ok(session);
                }
                SessionState::Ending { reason } | SessionState::Ended { reason, .. } => {
                    bail!(
                        "{} ended before it showed a picture: {reason:?}",
                        session.id
                    )
                }
                SessionState::Queued { .. } if Instant::now() >= until => {
                    self.end(&id.id)?;
                    bail!("no slot for {} within {START_DEADLINE:?}", session.id)
                }
                _ if Instant::now() >= until => {
                    bail!("{} shows no picture: {:?}", session.id, session.state)
                }
                _ => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// The session as it is.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn session(&self, id: &SessionId) -> Result<Session> {
        self.json("GET", &format!("/v1/sessions/{id}"), None)
    }

    /// Attaches, whoever else is attached.
    ///
    /// # Errors
    /// The broker or the node refuses.
    pub fn attach(&self, id: &SessionId, offer: &str) -> Result<Attached> {
        let body = serde_json::to_string(&CreateTicket { take_over: true })?;
        let ticket: Ticket =
            self.json("POST", &format!("/v1/sessions/{id}/tickets"), Some(&body))?;
        let answer = self.ask("POST", &ticket.whep_path, || {
            let request = self
                .agent
                .post(format!("{}{}", self.url, ticket.whep_path))
                .header("Authorization", format!("Bearer {}", ticket.ticket))
                .header("Content-Type", "application/sdp");
            request.send(offer)
        })?;
        let location = answer.headers().get("location");
        let location = location.and_then(|value| value.to_str().ok());
        Ok(Attached {
            location: location.context("an answer without a Location")?.to_owned(),
            answer: answer.into_body().read_to_string()?,
        })
    }

    /// Leaves as WHEP says.
    ///
    /// # Errors
    /// The attachment is gone already.
    pub fn detach(&self, attached: &Attached) -> Result<()> {
        self.send("DELETE", &attached.location, None).map(drop)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn end(&self, id: &SessionId) -> Result<()> {
        self.send("DELETE", &format!("/v1/sessions/{id}"), None)
            .map(drop)
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> Result<T> {
        let answer = self.send(method, path, body)?;
        let reader = answer.into_body().into_reader();
        serde_json::from_reader(reader)
            .with_context(|| format!("{method} {path}: not the answer of a Nearlight broker"))
    }

    fn send(&self, method: &str, path: &str, body: Option<&str>) -> Result<Response<Body>> {
        let url = format!("{}{path}", self.url);
        let bearer = format!("Bearer {}", self.key);
        // One key for all attempts: a create that was carried out is not carried out again.
        let key = nearlight_kit::ids::request();
        self.ask(method, path, || match body {
            Some(body) => {
                let request = self.agent.post(&url).header("Authorization", &bearer);
                request
                    .header("Idempotency-Key", key.as_str())
                    .header("Content-Type", "application/json")
                    .send(body)
            }
            None if method == "DELETE" => {
                let request = self.agent.delete(&url).header("Authorization", &bearer);
                request.call()
            }
            None => self.agent.get(&url).header("Authorization", &bearer).call(),
        })
    }

    /// Asks until the broker no longer says that there are too many requests.
    fn ask(
        &self,
        method: &str,
        path: &str,
        request: impl Fn() -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>> {
        let until = Instant::now() + CROWD_DEADLINE;
        loop {
            let answer = request().with_context(|| {
                format!("{method} {}{path}: does a broker run there?", self.url)
            })?;
            let status = answer.status().as_u16();
            if answer.status().is_success() {
                return Ok(answer);
            }
            let after = answer.headers().get("retry-after");
            let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
            let problem: Option<Problem> =
                serde_json::from_reader(answer.into_body().into_reader()).ok();
            if let (429, Some(after_s)) = (status, after)
                && Instant::now() < until
            {
                std::thread::sleep(Duration::from_secs(after_s));
                continue;
            }
            let detail = problem.map(|problem| format!("{}: {}", problem.title, problem.detail));
            bail!("{method} {path}: {status} {}", detail.unwrap_or_default());
        }
    }
}
