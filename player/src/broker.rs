//! The broker's HTTP API as a player's client uses it: start a session, attach to it, leave, end it.

use anyhow::{Context, Result, bail};
use nearlight_protocol::api::{
    CreateSession, CreateTicket, SavesWish, Session, SessionState, Ticket,
};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::checker::STREAM_PASS_HEADER;
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::quality::{PlayerSaid, SAMPLE_KEY_HEADER, SessionReceipt};
use nearlight_protocol::work::Secrets;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a session may take to its first picture.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at a session that starts.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a broker may go on saying that there are too many requests.
const CROWD_DEADLINE: Duration = Duration::from_secs(60);
/// How long the receipt of a session may take: its node is asked for what it measured.
const RECEIPT_DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks for it.
const RECEIPT_EVERY: Duration = Duration::from_secs(1);

/// Where sessions are made.
const SESSIONS: &str = "/v1/sessions";

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

/// One broker and a right to play there.
#[derive(Clone, Debug)]
pub struct Broker {
    agent: Agent,
    url: String,
    right: Right,
    /// What the session is made with beside, if a checker was assigned to play it.
    pass: Option<String>,
}

/// By what right a player plays.
#[derive(Clone)]
enum Right {
    /// An API key, as a header has it.
    Key(String),
    /// A guest's cookie, as a header has it.
    Guest(String),
}

impl std::fmt::Debug for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key",
            Self::Guest(_) => "Guest",
        })
    }
}

/// An attachment: what to answer the offer with, and where to leave.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The node's SDP.
    pub answer: String,
    /// Path of the attachment.
    pub location: String,
    /// The ticket, as a header has it.
    bearer: String,
    /// The ICE session, for candidates that follow.
    etag: Option<String>,
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
        Ok(Self::with_key(&url, &key))
    }

    /// A broker, and an API key for it.
    #[must_use]
    pub fn with_key(url: &str, key: &str) -> Self {
        Self {
            agent: Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(ANSWER_TIMEOUT))
                .build()
                .into(),
            url: url.trim().trim_end_matches('/').to_owned(),
            right: Right::Key(format!("Bearer {}", key.trim())),
            pass: None,
        }
    }

    /// With the pass of a checker that was assigned a node: the session is made there.
    #[must_use]
    pub fn with_pass(mut self, pass: Option<String>) -> Self {
        self.pass = pass;
        self
    }

    /// A broker that takes this player for a new guest, as it does a page that comes for the first time.
    ///
    /// # Errors
    /// It takes no guests, or none now.
    pub fn as_guest(url: &str) -> Result<Self> {
        let mut broker = Self::with_key(url, "");
        let path = "/v1/whoami";
        let answer = broker.ask("GET", path, || {
            broker.agent.get(format!("{}{path}", broker.url)).call()
        })?;
        let cookie = answer.headers().get("set-cookie");
        let cookie = cookie.and_then(|value| value.to_str().ok()?.split(';').next());
        let cookie = cookie.context("the broker made this player no guest: give it --token")?;
        broker.right = Right::Guest(cookie.to_owned());
        Ok(broker)
    }

    fn within<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.right {
            Right::Key(bearer) => request.header("Authorization", bearer),
            // A cookie is taken of pages of the broker's own origin.
            Right::Guest(cookie) => request.header("Cookie", cookie).header("Origin", &self.url),
        }
    }

    /// Makes a session of an app, with a display and a keyboard of the player's own where a page would
    /// tell them. It is the caller's to end ([`crate::started::Started`]).
    ///
    /// # Errors
    /// The broker refuses.
    pub fn create(
        &self,
        app: &AppId,
        display: Option<DisplayMode>,
        keyboard_layout: Option<String>,
    ) -> Result<SessionId> {
        let request = CreateSession {
            job: None,
            secrets: Secrets::default(),
            app: Some(app.clone()),
            display,
            keyboard_layout,
            region: None,
            rtt: Vec::new(),
            saves: SavesWish::default(),
            budget_micro: None,
            price_max: None,
        };
        let body = serde_json::to_string(&request)?;
        let session: Session = self.json("POST", SESSIONS, Some(&body))?;
        Ok(session.id)
    }

    /// Waits for a session's first picture.
    ///
    /// # Errors
    /// The broker refuses, or the session ends, or there is none in time.
    pub fn wait_for_picture(&self, id: &SessionId) -> Result<Session> {
        let until = Instant::now() + START_DEADLINE;
        loop {
            let session = self.session(id)?;
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
        self.attach_as(id, offer, true, None)
    }

    /// As [`Broker::attach`], as a page does it: it may wait for nobody's place, and says the key with which it will
    /// sign what it measured.
    ///
    /// # Errors
    /// As [`Broker::attach`].
    pub fn attach_as(
        &self,
        id: &SessionId,
        offer: &str,
        take_over: bool,
        sample_key: Option<&str>,
    ) -> Result<Attached> {
        let body = serde_json::to_string(&CreateTicket { take_over })?;
        let path = format!("/v1/sessions/{id}/tickets");
        let answer = self.ask("POST", &path, || {
            let request = self.within(self.agent.post(format!("{}{path}", self.url)));
            let request = match sample_key {
                Some(key) => request.header(SAMPLE_KEY_HEADER, key),
                None => request,
            };
            request
                .header("Content-Type", "application/json")
                .send(&body)
        })?;
        let ticket: Ticket = serde_json::from_reader(answer.into_body().into_reader())
            .with_context(|| format!("POST {path}: not the answer of a Nearlight broker"))?;
        let bearer = format!("Bearer {}", ticket.ticket);
        let answer = self.ask("POST", &ticket.whep_path, || {
            let request = self
                .agent
                .post(format!("{}{}", self.url, ticket.whep_path))
                .header("Authorization", &bearer)
                .header("Content-Type", "application/sdp");
            request.send(offer)
        })?;
        let header = |name: &str| {
            let value = answer.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        Ok(Attached {
            location: header("location").context("an answer without a Location")?,
            etag: header("etag"),
            bearer,
            answer: answer.into_body().read_to_string()?,
        })
    }

    /// Sends candidates that follow the offer (RFC 8840).
    ///
    /// # Errors
    /// The broker or the node refuses.
    pub fn trickle(&self, attached: &Attached, fragment: &str) -> Result<()> {
        self.ask("PATCH", &attached.location, || {
            let request = self
                .agent
                .patch(format!("{}{}", self.url, attached.location))
                .header("Authorization", &attached.bearer)
                .header("Content-Type", "application/trickle-ice-sdpfrag");
            match &attached.etag {
                Some(etag) => request.header("If-Match", etag).send(fragment),
                None => request.send(fragment),
            }
        })
        .map(drop)
    }

    /// Says what was measured of a session, as a page does.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn say(&self, id: &SessionId, said: &PlayerSaid) -> Result<()> {
        let body = serde_json::to_string(said)?;
        let path = format!("/v1/sessions/{id}/quality");
        self.send("POST", &path, Some(&body)).map(drop)
    }

    /// Waits for the receipt of a session that is over.
    ///
    /// # Errors
    /// The broker makes none in time: it keeps no log, or nobody played.
    pub fn receipt(&self, id: &SessionId) -> Result<SessionReceipt> {
        let path = format!("/v1/sessions/{id}/receipt");
        let until = Instant::now() + RECEIPT_DEADLINE;
        loop {
            match self.json("GET", &path, None) {
                Ok(receipt) => return Ok(receipt),
                Err(error) if Instant::now() >= until => {
                    return Err(error.context(
                        "the session has no receipt, so that nothing says which node served it",
                    ));
                }
                Err(_) => std::thread::sleep(RECEIPT_EVERY),
            }
        }
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
        // One key for all attempts: a create that was carried out is not carried out again.
        let key = nearlight_kit::ids::request();
        self.ask(method, path, || match body {
            Some(body) => {
                let request = self.within(self.agent.post(&url));
                let request = match &self.pass {
                    Some(pass) if path == SESSIONS => request.header(STREAM_PASS_HEADER, pass),
                    Some(_) | None => request,
                };
                request
                    .header("Idempotency-Key", key.as_str())
                    .header("Content-Type", "application/json")
                    .send(body)
            }
            None if method == "DELETE" => {
                let request = self.within(self.agent.delete(&url));
                request.call()
            }
            None => self.within(self.agent.get(&url)).call(),
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
