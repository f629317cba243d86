//! HTTP/1.1 on kept connections, one request at a time on each.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// One connection, made anew when it is lost.
pub(crate) struct Client {
    broker: SocketAddr,
    bearer: String,
    content_type: &'static str,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(crate) fn new(broker: SocketAddr, key: &str) -> Self {
        Self {
            broker,
            bearer: format!("Bearer {key}"),
            content_type: "application/json",
            sender: None,
        }
    }

    /// What it sends is of this type.
    pub(crate) const fn sending(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    /// Status and body.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        idempotency: Option<&str>,
        body: Bytes,
    ) -> Result<(u16, Bytes)> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            Some(_) | None => self.connect().await?,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.broker.to_string())
            .header("authorization", &self.bearer)
            .header("content-type", self.content_type);
        if let Some(key) = idempotency {
            request = request.header("idempotency-key", key);
        }
        sender.ready().await?;
        let answer = sender.send_request(request.body(Full::new(body))?).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok((status, body))
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "it ends with its sender, and the program with all of them"
    )]
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let tcp = TcpStream::connect(self.broker).await?;
        tcp.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(tcp)).await?;
        drop(tokio::spawn(connection));
        Ok(sender)
    }
}
