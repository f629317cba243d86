//! The node's side of enrolment: asks the broker's node listener for a certificate, without one.
//!
//! ```text
//!   join token -> TLS: is this the CA that the token names? -> secret, request -> certificate
//!   old certificate -> TLS: is this a server of our CA? -> nonce -> proof, request -> certificate
//! ```
//!
//! **Invariants.** Nothing is said before the server's certificate was checked. The private key stays
//! here. Every answer is bounded, and so is the time for all of it.

use crate::clock::WallClock;
use crate::join::JoinToken;
use crate::pki::{
    AnswerError, Credentials, Issued, PendingKey, PkiError, pinned_config, renewal_proof,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use nearlight_protocol::enrol::{
    ENROL_PATH, Enrol, Enrolled, NONCE_PATH, RENEW_PATH, RenewLate, RenewNonce, Renewed,
};
use nearlight_protocol::limits::ENROL_BODY_BYTES_MAX;
use nearlight_protocol::problem::{Problem, ProblemType};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// From the dial to the certificate.
const WITHIN: Duration = Duration::from_secs(20);

/// The name in every broker's certificate.
pub fn broker_name() -> ServerName<'static> {
    ServerName::try_from("nearlight-broker").expect("it is a DNS name")
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Nobody there.
    #[error("cannot reach the broker at {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long.
    #[error("the broker at {address} did not answer within {} s", WITHIN.as_secs())]
    Late {
        /// Where.
        address: String,
    },
    /// TLS failed, or somebody else answered.
    #[error("{address} is not the broker that is looked for; nothing was told to it")]
    NotTheBroker {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection to the broker broke")]
    Broken(#[source] hyper::Error),
    /// The answer is none.
    #[error("the broker answered {status} with something that this build does not know")]
    Foreign {
        /// The status.
        status: u16,
    },
    /// It says no.
    #[error("the broker refused: {}: {}", problem.title, problem.detail)]
    Refused {
        /// Why.
        problem: Box<Problem>,
        /// Seconds before the next attempt.
        retry_after_s: Option<u32>,
    },
    /// The certificate is not usable.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Our own files.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl EnrolError {
    /// What the broker's refusal is called.
    pub fn problem(&self) -> Option<ProblemType> {
        match self {
            Self::Refused { problem, .. } => Some(problem.name),
            _ => None,
        }
    }

    /// When the broker wants to be asked again, if it says so.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Refused { retry_after_s, .. } => *retry_after_s,
            _ => None,
        }
    }
}

/// Comes in with a join token, at the first of its addresses that answers as the broker.
///
/// # Errors
/// [`EnrolError`]; with the same key it may be asked again.
pub async fn enrol(
    token: &JoinToken,
    server_name: &ServerName<'static>,
    key: &PendingKey,
    clock: &WallClock,
) -> Result<(Enrolled, Issued, String), EnrolError> {
    let tls = pinned_config(token.ca, clock)?;
    let body = Enrol {
        secret: token.secret_text(),
        request: key.request()?,
    };
    let mut last = None;
    for address in &token.addresses {
        let asked = on_connection(address, server_name, tls.clone(), async |ask| {
            ask.post::<Enrolled>(ENROL_PATH, &body).await
        });
        match asked.await {
            Ok(enrolled) => {
                let issued = key.accept(&enrolled.certificate, &enrolled.ca, clock)?;
                if crate::pki::node_of(&issued.spiffe).as_ref() != Some(&enrolled.node) {
                    return Err(AnswerError::OtherName(issued.spiffe).into());
                }
                return Ok((enrolled, issued, address.clone()));
            }
            // Another address leads to the same ledger.
            Err(error @ EnrolError::Refused { .. }) => return Err(error),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| EnrolError::Late {
        address: String::new(),
    }))
}

/// Has a certificate that is over renewed, with proof of its key.
///
/// # Errors
/// [`EnrolError`]; it may be asked again.
pub async fn renew_late(
    address: &str,
    server_name: &ServerName<'static>,
    credentials: &Credentials,
    key: &PendingKey,
    clock: &WallClock,
) -> Result<Issued, EnrolError> {
    let tls = credentials.anonymous_config(clock)?;
    let request = key.request()?;
    let renewed = on_connection(address, server_name, tls, async |ask| {
        let RenewNonce { nonce } = ask.post(NONCE_PATH, &serde_json::json!({})).await?;
        let signature = credentials.sign(&renewal_proof(&nonce, &request))?;
        let body = RenewLate {
            certificate: credentials.certificate_pem(),
            request: request.clone(),
            signature: URL_SAFE_NO_PAD.encode(signature),
        };
        ask.post::<Renewed>(RENEW_PATH, &body).await
    });
    let renewed = renewed.await?;
    let issued = key.accept(&renewed.certificate, &renewed.ca, clock)?;
    if issued.spiffe != credentials.spiffe {
        return Err(AnswerError::OtherName(issued.spiffe).into());
    }
    Ok(issued)
}

/// Requests on one connection.
struct Asking {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

async fn on_connection<T>(
    address: &str,
    server_name: &ServerName<'static>,
    tls: Arc<ClientConfig>,
    exchange: impl AsyncFnOnce(&mut Asking) -> Result<T, EnrolError>,
) -> Result<T, EnrolError> {
    let all = async {
        let tcp = TcpStream::connect(address).await;
        let tcp = tcp.map_err(|source| EnrolError::Unreachable {
            address: address.to_owned(),
            source,
        })?;
        let tls = TlsConnector::from(tls).connect(server_name.clone(), tcp);
        let tls = tls.await.map_err(|source| EnrolError::NotTheBroker {
            address: address.to_owned(),
            source,
        })?;
        let (sender, connection) = handshake(TokioIo::new(tls))
            .await
            .map_err(EnrolError::Broken)?;
        let mut asking = Asking {
            sender,
            host: server_name.to_str().into_owned(),
        };
        // Both in this task: the connection moves while somebody waits for an answer.
        let mut connection = pin!(connection);
        let mut exchange = pin!(exchange(&mut asking));
        tokio::select! {
            answered = &mut exchange => answered,
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(EnrolError::Broken(error)),
            },
        }
    };
    let all = tokio::time::timeout(WITHIN, all).await;
    all.unwrap_or_else(|_| {
        Err(EnrolError::Late {
            address: address.to_owned(),
        })
    })
}

impl Asking {
    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, EnrolError> {
        let body = serde_json::to_vec(body).expect("what is asked has string keys alone");
        let request = hyper::Request::post(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("a path of ours and a server name that was parsed");
        let answer = self.sender.send_request(request).await;
        let answer = answer.map_err(EnrolError::Broken)?;
        let status = answer.status();
        let retry_after_s = answer.headers().get(RETRY_AFTER);
        let retry_after_s = retry_after_s
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        let foreign = || EnrolError::Foreign {
            status: status.as_u16(),
        };
        let body = Limited::new(answer.into_body(), ENROL_BODY_BYTES_MAX);
        let body = body.collect().await.map_err(|_| foreign())?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| foreign());
        }
        let problem = serde_json::from_slice(&body).map_err(|_| foreign())?;
        Err(EnrolError::Refused {
            problem: Box::new(problem),
            retry_after_s,
        })
    }
}
