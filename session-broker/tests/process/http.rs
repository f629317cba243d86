//! A small HTTP/1.1 client that shows exactly what is on the wire, and sends what a browser would
//! not.

use nearlight_kit::enrol::broker_name;
use rustls::ClientConfig;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Every wait of a test ends; this long is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A caller of the API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) at: SocketAddr,
    /// Sent with every request.
    pub(crate) headers: Vec<(String, String)>,
    /// A certificate that it shows, on a listener for those that have one.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn nobody(at: SocketAddr) -> Self {
        Self {
            at,
            headers: Vec::new(),
            tls: None,
        }
    }

    /// Whoever has a certificate, where that is asked for.
    #[allow(dead_code, reason = "for tests of checkers")]
    pub(crate) fn certified(at: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let by_name = Self::nobody(at).with("host", "nearlight-broker");
        Self {
            tls: Some(tls),
            ..by_name
        }
    }

    /// A new guest.
    pub(crate) async fn guest(at: SocketAddr) -> Self {
        let answer = Self::nobody(at).get("/v1/whoami").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        let pair = cookie.split(';').next().unwrap().to_owned();
        Self::nobody(at).with("cookie", &pair)
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(n, _)| n != name);
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], "").await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.request("POST", path, &headers, &body.to_string())
            .await
    }

    /// `POST /v1/sessions` with a fresh key.
    pub(crate) async fn create(&self, app: &str) -> Answer {
        let key = nearlight_kit::ids::request().to_string();
        let client = self.with("idempotency-key", &key);
        client
            .post_json("/v1/sessions", &serde_json::json!({ "app": app }))
            .await
    }

    /// The one request on `socket`, as bytes come.
    pub(crate) async fn over<S>(&self, mut socket: S, path: &str) -> Answer
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let head = self.head("GET", path, &[], "");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes).await;
        Answer::parse(&bytes)
    }

    /// The body of an answer, whatever it is.
    pub(crate) async fn bytes(&self, path: &str) -> Vec<u8> {
        let exchange = async {
            let mut tcp = self.open("GET", path, &[], "").await;
            let mut bytes = Vec::new();
            let _ = tcp.read_to_end(&mut bytes).await;
            let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            bytes.split_off(head.map_or(0, |at| at + 4))
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let exchange = async {
            if let Some(tls) = &self.tls {
                let request = self.head(method, path, headers, body);
                return Answer::parse(&over_tls(self.at, tls.clone(), &request).await);
            }
            let mut tcp = self.open(method, path, headers, body).await;
            let mut bytes = Vec::new();
            // The broker may close before it has read an oversized body; the answer counts.
            let _ = tcp.read_to_end(&mut bytes).await;
            Answer::parse(&bytes)
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }

    /// Puts bytes, which need be no text.
    pub(crate) async fn put_bytes(&self, path: &str, header: (&str, &str), body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let head = self.head("PUT", path, &[header, ("content-length", &length)], "");
        let exchange = async {
            let mut tcp = TcpStream::connect(self.at).await.unwrap();
            let _ = tcp.write_all(head.as_bytes()).await;
            let _ = tcp.write_all(body).await;
            let mut bytes = Vec::new();
            let _ = tcp.read_to_end(&mut bytes).await;
            Answer::parse(&bytes)
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap()
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut tcp = TcpStream::connect(self.at).await.unwrap();
        let request = self.head(method, path, headers, body);
        let _ = tcp.write_all(request.as_bytes()).await;
        tcp
    }

    /// A request as it goes on the wire, body included.
    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        let own = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let all: Vec<(&str, &str)> = own.chain(headers.iter().copied()).collect();
        if !all.iter().any(|(name, _)| *name == "host") {
            head += &format!("host: {}\r\n", self.at);
        }
        for (name, value) in all {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        format!("{head}\r\n{body}")
    }

    /// The events of a session.
    pub(crate) async fn events(&self, session: &str) -> Events {
        let path = format!("/v1/sessions/{session}/events");
        let tcp = self.open("GET", &path, &[], "").await;
        Events {
            lines: BufReader::new(tcp),
        }
    }
}

/// What comes to a request on a connection with a certificate; nothing where the connection does not come about.
async fn over_tls(at: SocketAddr, tls: Arc<ClientConfig>, request: &str) -> Vec<u8> {
    let tcp = TcpStream::connect(at).await.unwrap();
    let mut bytes = Vec::new();
    if let Ok(mut socket) = TlsConnector::from(tls).connect(broker_name(), tcp).await {
        let _ = socket.write_all(request.as_bytes()).await;
        let _ = socket.read_to_end(&mut bytes).await;
    }
    bytes
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1));
        let headers: Vec<(String, String)> = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        Self {
            status: status.and_then(|s| s.parse().ok()).unwrap_or(0),
            headers,
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A string of the JSON body, such as `/state/phase`.
    pub(crate) fn at(&self, pointer: &str) -> String {
        let json = self.json();
        let value = json.pointer(pointer).unwrap_or(&Value::Null);
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Asserts that it is this problem, whole.
    pub(crate) fn refused(&self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        assert_eq!(self.at("/name"), name, "{self:?}");
        assert_eq!(
            self.at("/type"),
            format!("https://nearlight.dev/problems/{name}")
        );
        assert_eq!(self.at("/status"), status.to_string());
        assert!(!self.at("/detail").is_empty());
        assert_eq!(
            self.header("x-request-id"),
            Some(self.at("/instance").as_str())
        );
    }
}

/// Server-sent events as they come.
pub(crate) struct Events {
    lines: BufReader<TcpStream>,
}

impl Events {
    /// The next session that is shown.
    pub(crate) async fn next(&mut self) -> Value {
        self.next_or_end()
            .await
            .expect("the stream of events goes on")
    }

    /// The next session that is shown; `None` once the stream has ended.
    pub(crate) async fn next_or_end(&mut self) -> Option<Value> {
        let read = async {
            let mut line = String::new();
            loop {
                line.clear();
                if self.lines.read_line(&mut line).await.unwrap() == 0 {
                    return None;
                }
                if let Some(data) = line.strip_prefix("data: ") {
                    return Some(serde_json::from_str(data).unwrap());
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap()
    }

    /// Reads on until the session is in `phase`.
    pub(crate) async fn until(&mut self, phase: &str) -> Value {
        loop {
            let session = self.next().await;
            let now = session.pointer("/state/phase").and_then(Value::as_str);
            if now == Some(phase) {
                return session;
            }
            assert_ne!(now, Some("ended"), "waiting for {phase}: {session}");
        }
    }
}
