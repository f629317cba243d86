//! Health checks: `GET path` is answered with 200 to 399, or a port takes a connection.
//!
//! **What it does not know:** what follows from it ([`super::machine`]).

use crate::limits::{HEALTH_HEAD_BYTES_MAX, HEALTH_POLL, HEALTH_POLL_FIRST};
use futures_util::stream::{FuturesUnordered, StreamExt};
use nearlight_protocol::job::{Health, Port};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("no answer within {0} s")]
    Late(u32),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the answer is no HTTP")]
    NoHttp,
    #[error("status {0}")]
    Status(u16),
}

/// Waits until every port has answered well once, for as long as it takes; `why_not` has what the last check said until
/// then. Most programs listen a moment after they were started, and some load for minutes.
pub(crate) async fn healthy(container: Ipv4Addr, ports: &[Port], why_not: &WhyNot) {
    let mut pauses = pauses();
    for port in ports {
        why_not.clear();
        while let Err(error) = check(container, port).await {
            tracing::debug!(port = port.name, %error, "not healthy yet");
            why_not.is(format!("port {} is not healthy: {error}", port.name));
            tokio::time::sleep(pauses.next().unwrap_or(HEALTH_POLL)).await;
        }
    }
    why_not.clear();
}

/// Why a job that is waited for is not healthy, as its last check said.
#[derive(Clone, Debug, Default)]
pub(crate) struct WhyNot(Arc<Mutex<String>>);

impl WhyNot {
    /// What it said; nothing where no check has failed.
    pub(crate) fn words(&self) -> String {
        self.locked().clone()
    }

    /// Nothing of before is a reason any more.
    pub(crate) fn clear(&self) {
        self.is(String::new());
    }

    fn is(&self, words: String) {
        *self.locked() = words;
    }

    fn locked(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pauses between checks of what is not healthy yet: each twice the last one, up to a bound.
fn pauses() -> impl Iterator<Item = Duration> {
    let twice = |pause: &Duration| Some((*pause * 2).min(HEALTH_POLL));
    std::iter::successors(Some(HEALTH_POLL_FIRST), twice)
}

/// Waits until a port has failed so often in a row as its check allows, and says how.
pub(crate) async fn unhealthy(container: Ipv4Addr, ports: &[Port]) -> String {
    let mut watched: FuturesUnordered<_> =
        ports.iter().map(|port| watch(container, port)).collect();
    match watched.next().await {
        Some(how) => how,
        None => std::future::pending().await,
    }
}

async fn watch(container: Ipv4Addr, port: &Port) -> String {
    let rule = port.health.clone().unwrap_or_default();
    let mut failures = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(rule.every_s.into())).await;
        match check(container, port).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::debug!(port = port.name, failures, %error, "a health check failed");
                if failures >= rule.failures {
                    return format!(
                        "port {} failed {failures} checks in a row: {error}",
                        port.name
                    );
                }
            }
        }
    }
}

async fn check(container: Ipv4Addr, port: &Port) -> Result<(), CheckError> {
    let address = SocketAddr::from((container, port.port));
    let timeout_s = port.health.clone().unwrap_or_default().timeout_s;
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        match &port.health {
            Some(health) => ask(&mut stream, address, health).await,
            None => Ok(()),
        }
    };
    tokio::time::timeout(Duration::from_secs(timeout_s.into()), asked)
        .await
        .map_err(|_elapsed| CheckError::Late(timeout_s))?
}

async fn ask(
    stream: &mut TcpStream,
    address: SocketAddr,
    health: &Health,
) -> Result<(), CheckError> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: nearlight-health\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        health.path
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut taken = stream.take(HEALTH_HEAD_BYTES_MAX as u64);
    while !head.contains(&b'\n') {
        if taken.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    match status(&head) {
        Some(200..=399) => Ok(()),
        Some(other) => Err(CheckError::Status(other)),
        None => Err(CheckError::NoHttp),
    }
}

/// The status of an answer (RFC 9112 section 4).
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let code = rest.get(2..5).filter(|_| rest.get(1) == Some(&b' '))?;
    let is_alone = rest
        .get(5)
        .is_none_or(|after| matches!(after, b' ' | b'\r'));
    let code = std::str::from_utf8(code).ok().filter(|_| is_alone)?;
    code.parse().ok().filter(|code| (100..=599).contains(code))
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::job::PortAccess;
    use tokio::net::TcpListener;

    #[test]
    fn an_answer_is_its_status_and_garbage_is_none() {
        for (head, expected) in [
            (&b"HTTP/1.1 200 OK\r\n"[..], Some(200)),
            (b"HTTP/1.0 503 \n", Some(503)),
            (b"HTTP/1.1 204", Some(204)),
            (b"HTTP/1.1 20000", None),
            (b"HTTP/1.1 abc\r\n", None),
            (b"HTTP/1.1", None),
            (b"SSH-2.0-x\r\n", None),
            (b"\xff\xfe\n", None),
            (b"", None),
        ] {
            assert_eq!(
                status(head),
                expected,
                "{:?}",
                String::from_utf8_lossy(head)
            );
        }
    }

    #[test]
    fn one_that_is_about_to_listen_is_looked_at_soon_and_one_that_loads_seldom() {
        let first: Vec<_> = pauses().take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(first, [10, 20, 40, 80, 160, 250, 250]);
    }

    /// A server that gives one answer to each connection in turn, then closes the listener.
    async fn server(answers: Vec<&'static [u8]>) -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        nearlight_kit::shutdown::Shutdown::new().spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 512];
                let n = stream.read(&mut request).await.unwrap();
                assert!(request[..n].starts_with(b"GET /healthz?x=1 HTTP/1.1\r\n"));
                stream.write_all(answer).await.unwrap();
            }
        });
        Port {
            name: "api".to_owned(),
            port,
            health: Some(Health {
                path: "/healthz?x=1".to_owned(),
                every_s: 0,
                timeout_s: 20,
                failures: 2,
            }),
            access: PortAccess::Ticket,
        }
    }

    #[tokio::test]
    async fn it_is_healthy_when_it_says_so_and_unhealthy_after_failures_in_a_row() {
        let ok: &[u8] = b"HTTP/1.1 302 Found\r\n\r\n";
        let bad: &[u8] = b"HTTP/1.1 500 Oops\r\n\r\n";
        let port = server(vec![bad, b"what?\n", ok, bad, ok, bad, bad]).await;
        let why_not = WhyNot::default();
        healthy(Ipv4Addr::LOCALHOST, std::slice::from_ref(&port), &why_not).await;
        assert_eq!(why_not.words(), "", "no reason of a later run");
        let how = unhealthy(Ipv4Addr::LOCALHOST, std::slice::from_ref(&port)).await;
        assert_eq!(how, "port api failed 2 checks in a row: status 500");
        let how = unhealthy(Ipv4Addr::LOCALHOST, &[port]).await;
        assert!(how.contains("refused"), "{how}");
    }
}
