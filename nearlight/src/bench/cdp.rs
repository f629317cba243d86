//! The Chrome DevTools Protocol, as much of it as the bench speaks: commands and their answers over
//! one WebSocket, and the calls that a page makes to a binding of ours.
//!
//! One owner, one command at a time. **Invariants.** Every wait has a deadline. Notices that nobody
//! asked for yet are kept, at most [`NOTICES_MAX`].
//!
//! Does not know: what the pages are.

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A browser that answers at all answers within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// A page tells a few things a second, and they are read at once.
const NOTICES_MAX: usize = 1024;

/// Why the browser did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CdpError {
    /// The connection.
    #[error("the connection to the browser broke; it may have crashed or been closed")]
    Broken(#[source] Box<tungstenite::Error>),
    /// It was closed.
    #[error("the browser closed the connection; it may have crashed or been closed")]
    Closed,
    /// It refused.
    #[error("the browser refused {method}: {message}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// Its words.
        message: String,
    },
    /// A script of the page failed.
    #[error("a script in the page failed: {0}")]
    Script(String),
    /// It took too long.
    #[error("the browser did not answer {0} in time; is the machine very busy?")]
    Late(&'static str),
    /// It said something else than was asked for.
    #[error(
        "the browser answered {method} with something unexpected; is it a Chromium of this decade?"
    )]
    Strange {
        /// What was asked.
        method: &'static str,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// What came from the browser.
#[derive(Debug, PartialEq)]
enum Incoming {
    /// An answer to the command of this number.
    Answer(u64, Result<Value, String>),
    /// A page called the binding.
    Notice(String),
    /// Something that the bench does not care about.
    Other,
}

#[derive(Deserialize)]
struct Frame {
    id: Option<u64>,
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

fn parse(text: &str) -> Incoming {
    let Ok(frame) = serde_json::from_str::<Frame>(text) else {
        return Incoming::Other;
    };
    match (frame.id, frame.method.as_deref()) {
        (Some(id), _) => {
            let outcome = match frame.error {
                Some(refusal) => Err(refusal.message),
                None => Ok(frame.result),
            };
            Incoming::Answer(id, outcome)
        }
        (None, Some("Runtime.bindingCalled")) => match frame.params.get("payload") {
            Some(Value::String(payload)) => Incoming::Notice(payload.clone()),
            _ => Incoming::Other,
        },
        (None, _) => Incoming::Other,
    }
}

fn command(id: u64, target: Option<&str>, method: &str, params: Value) -> String {
    let mut frame = json!({ "id": id, "method": method, "params": params });
    if let Some(target) = target {
        frame["sessionId"] = target.into();
    }
    frame.to_string()
}

/// A connection to a browser.
#[derive(Debug)]
pub(super) struct Cdp {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    notices: VecDeque<String>,
}

impl Cdp {
    /// Connects to a browser's own endpoint.
    pub(super) async fn connect(url: &str) -> Result<Self, CdpError> {
        let deadline = Instant::now() + ANSWER_DEADLINE;
        let (socket, _) = timeout_at(deadline, tokio_tungstenite::connect_async(url))
            .await
            .map_err(|_elapsed| CdpError::Late("the connection"))?
            .map_err(|error| CdpError::Broken(Box::new(error)))?;
        Ok(Self {
            socket,
            last_id: 0,
            notices: VecDeque::new(),
        })
    }

    /// Sends a command, to the browser itself or to an attached target, and waits for its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &mut self,
        target: Option<&str>,
        method: &'static str,
        params: Value,
    ) -> Result<T, CdpError> {
        self.last_id += 1;
        let id = self.last_id;
        let frame = command(id, target, method, params);
        self.socket
            .send(Message::text(frame))
            .await
            .map_err(|error| CdpError::Broken(Box::new(error)))?;
        let deadline = Instant::now() + ANSWER_DEADLINE;
        loop {
            let incoming = timeout_at(deadline, self.receive())
                .await
                .map_err(|_elapsed| CdpError::Late(method))??;
            match incoming {
                Incoming::Answer(to, outcome) if to == id => {
                    let value = outcome.map_err(|message| CdpError::Refused { method, message })?;
                    return serde_json::from_value(value)
                        .map_err(|source| CdpError::Strange { method, source });
                }
                Incoming::Notice(payload) => self.keep(payload),
                // The answer to a command that was given up.
                Incoming::Answer(..) | Incoming::Other => {}
            }
        }
    }

    /// The next thing that a page told, or nothing until `deadline`.
    pub(super) async fn notice(&mut self, deadline: Instant) -> Result<Option<String>, CdpError> {
        if let Some(payload) = self.notices.pop_front() {
            return Ok(Some(payload));
        }
        loop {
            match timeout_at(deadline, self.receive()).await {
                Ok(Ok(Incoming::Notice(payload))) => return Ok(Some(payload)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_elapsed) => return Ok(None),
            }
        }
    }

    /// Forgets what pages told so far.
    pub(super) fn forget_notices(&mut self) {
        self.notices.clear();
    }

    fn keep(&mut self, payload: String) {
        if self.notices.len() == NOTICES_MAX {
            self.notices.pop_front();
        }
        self.notices.push_back(payload);
    }

    async fn receive(&mut self) -> Result<Incoming, CdpError> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(parse(&text)),
                Some(Ok(Message::Close(_))) | None => return Err(CdpError::Closed),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(CdpError::Broken(Box::new(error))),
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn commands_name_their_target() {
        let frame: Value =
            serde_json::from_str(&command(3, Some("T"), "A.b", json!({"c": 1}))).unwrap();
        assert_eq!(
            frame,
            json!({"id": 3, "method": "A.b", "params": {"c": 1}, "sessionId": "T"})
        );
        let frame: Value = serde_json::from_str(&command(4, None, "A.b", json!({}))).unwrap();
        assert_eq!(frame.get("sessionId"), None);
    }

    #[test]
    fn answers_notices_and_noise_are_told_apart() {
        let answer = parse(r#"{"id":1,"result":{"x":2},"sessionId":"T"}"#);
        assert_eq!(answer, Incoming::Answer(1, Ok(json!({"x": 2}))));
        let refusal = parse(r#"{"id":1,"error":{"code":-32000,"message":"no"}}"#);
        assert_eq!(refusal, Incoming::Answer(1, Err("no".to_owned())));
        let notice =
            parse(r#"{"method":"Runtime.bindingCalled","params":{"name":"n","payload":"p"}}"#);
        assert_eq!(notice, Incoming::Notice("p".to_owned()));
        for noise in [r#"{"method":"Page.x","params":{}}"#, "{}", "[", ""] {
            assert_eq!(parse(noise), Incoming::Other, "{noise}");
        }
    }

    /// A browser that says these lines after each command.
    async fn browser_that_says(lines: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(Message::Text(_))) = socket.next().await {
                for line in &lines {
                    socket.send(Message::text(line.clone())).await.unwrap();
                }
            }
        });
        url
    }

    #[tokio::test]
    async fn notices_that_come_before_an_answer_are_kept() {
        let notice = r#"{"method":"Runtime.bindingCalled","params":{"payload":"seen"}}"#;
        let lines = [
            notice,
            r#"{"id":9,"result":{}}"#,
            r#"{"id":1,"result":[5]}"#,
        ];
        let lines = lines.map(str::to_owned).to_vec();
        tokio::task::LocalSet::new()
            .run_until(async {
                let mut cdp = Cdp::connect(&browser_that_says(lines).await).await.unwrap();
                let answer: Vec<u32> = cdp.call(None, "A.b", json!({})).await.unwrap();
                assert_eq!(answer, [5]);
                let deadline = Instant::now() + ANSWER_DEADLINE;
                assert_eq!(cdp.notice(deadline).await.unwrap().as_deref(), Some("seen"));
                assert_eq!(cdp.notice(Instant::now()).await.unwrap(), None);
            })
            .await;
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_the_browsers_words() {
        let lines = vec![r#"{"id":1,"error":{"message":"not so"}}"#.to_owned()];
        tokio::task::LocalSet::new()
            .run_until(async {
                let mut cdp = Cdp::connect(&browser_that_says(lines).await).await.unwrap();
                let refused = cdp.call::<Value>(None, "A.b", json!({})).await.unwrap_err();
                assert_eq!(refused.to_string(), "the browser refused A.b: not so");
            })
            .await;
    }
}
