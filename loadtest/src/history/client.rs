//! A client: asks any broker, one request after the other, and asks again under the same key where
//! it has no answer.

use super::broker::Ready;
use super::event::{Ask, Event, History};
use super::plan::{Act, Gang, Step};
use crate::sessions::http::Client as Http;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The app that is asked for.
pub(super) const APP: &str = "demo";
/// What a caller waits: longer than any broker takes to say that it cannot.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// By how much a client may be late that waited for answers.
const LATE: Duration = Duration::from_secs(3);
/// How often a session is asked for that may be there or not.
const TRIES: usize = 4;
const AGAIN: Duration = Duration::from_millis(200);

/// The way to the brokers, for everybody who asks them something.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    pub(super) brokers: Vec<watch::Receiver<Option<Ready>>>,
    pub(super) key: String,
    pub(super) history: Arc<History>,
    asks: Arc<AtomicU64>,
}

/// What a broker answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) session: Option<String>,
}

impl Callers {
    pub(super) fn new(
        brokers: Vec<watch::Receiver<Option<Ready>>>,
        key: String,
        history: Arc<History>,
    ) -> Self {
        Self {
            brokers,
            key,
            history,
            asks: Arc::default(),
        }
    }

    /// Asks a broker, and records it; `None` without an answer.
    pub(super) async fn ask(&self, broker: usize, what: Ask) -> Option<Answer> {
        let at = (*self.brokers[broker].borrow())?;
        let ask = self.asks.fetch_add(1, Relaxed);
        let (method, path, key, body) = request(&what);
        self.history.add(Event::Asked { ask, broker, what });
        let mut http = Http::new(at.listen, &self.key);
        let asked = http.ask(method, &path, key.as_deref(), body);
        let (status, body) = tokio::time::timeout(ANSWER_WITHIN, asked)
            .await
            .ok()?
            .ok()?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |at: &str| body.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let session = text("/id");
        self.history.add(Event::Answered {
            ask,
            status,
            session: session.clone(),
            phase: text("/state/phase"),
        });
        Some(Answer { status, session })
    }
}

fn request(what: &Ask) -> (Method, String, Option<String>, Bytes) {
    let of = |session: &str| format!("/v1/sessions/{session}");
    match what {
        Ask::Create { key, gang } => {
            let body = match gang {
                None => json!({ "app": APP }),
                Some(gang) => json!({ "job": job(*gang) }),
            };
            let body = Bytes::from(body.to_string());
            let path = "/v1/sessions".to_owned();
            (Method::POST, path, Some(key.clone()), body)
        }
        Ask::Look { session } => (Method::GET, of(session), None, Bytes::new()),
        Ask::End { session } => (Method::DELETE, of(session), None, Bytes::new()),
        Ask::List => (Method::GET, "/v1/sessions".to_owned(), None, Bytes::new()),
    }
}

/// A job that fits into a slot beside apps, at any node.
fn job(gang: Gang) -> Value {
    json!({
        "image": format!("registry.example/gang:1@sha256:{}", "0a".repeat(32)),
        "resources": { "cpu_milli": 500, "mem_mib": 256, "disk_mib": 0 },
        "time": { "start_s": 5, "stop_s": 1 },
        "place": { "trust": "any" },
        "restart": { "max": u8::from(gang.again) },
        "cluster": {
            "replicas": gang.replicas,
            "on_failure": if gang.again { "restart" } else { "end" },
        },
    })
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) n: usize,
    pub(super) callers: Callers,
    pub(super) steps: Vec<Step>,
    /// What it has asked for.
    wanted: Vec<Wanted>,
}

/// A key that was used.
#[derive(Clone, Debug)]
struct Wanted {
    key: String,
    gang: Option<Gang>,
    /// The session that it stands for, once that is known.
    session: Option<String>,
}

impl Client {
    pub(super) fn new(n: usize, callers: Callers, steps: Vec<Step>) -> Self {
        Self {
            n,
            callers,
            steps,
            wanted: Vec::new(),
        }
    }

    /// Asks for everything in its steps, then is done; what comes much too late is left out.
    pub(super) async fn run(mut self, began: Instant) {
        let last_ms = self.steps.last().map_or(0, |step| step.at_ms);
        let until = began + Duration::from_millis(last_ms) + LATE;
        for step in std::mem::take(&mut self.steps) {
            if Instant::now() > until {
                return;
            }
            tokio::time::sleep_until(began + Duration::from_millis(step.at_ms)).await;
            match step.act {
                Act::Create => self.want(None, step.broker).await,
                Act::CreateGang(gang) => self.want(Some(gang), step.broker).await,
                Act::Again(pick) => {
                    if let Some(n) = self.pick(pick) {
                        self.create(n, step.broker).await;
                    }
                }
                Act::Look(pick) => {
                    if let Some(session) = self.known(pick) {
                        self.callers.ask(step.broker, Ask::Look { session }).await;
                    }
                }
                Act::End(pick) => {
                    if let Some(session) = self.known(pick) {
                        self.callers.ask(step.broker, Ask::End { session }).await;
                    }
                }
                Act::List => {
                    self.callers.ask(step.broker, Ask::List).await;
                }
            }
        }
    }

    /// Asks for something new.
    async fn want(&mut self, gang: Option<Gang>, broker: usize) {
        let n = self.wanted.len();
        self.wanted.push(Wanted {
            key: format!("client-{}-{n}", self.n),
            gang,
            session: None,
        });
        self.create(n, broker).await;
    }

    fn pick(&self, pick: u16) -> Option<usize> {
        usize::from(pick).checked_rem(self.wanted.len())
    }

    fn known(&self, pick: u16) -> Option<String> {
        self.wanted[self.pick(pick)?].session.clone()
    }

    /// Asks one broker after the other until one of them has an answer that counts.
    async fn create(&mut self, n: usize, broker: usize) {
        for i in 0..TRIES {
            let Wanted { key, gang, .. } = self.wanted[n].clone();
            let broker = (broker + i) % self.callers.brokers.len();
            match self.callers.ask(broker, Ask::Create { key, gang }).await {
                Some(answer) if answer.status == 201 => {
                    self.wanted[n].session = answer.session;
                    return;
                }
                Some(answer) if answer.status < 500 => return,
                Some(_) | None => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
