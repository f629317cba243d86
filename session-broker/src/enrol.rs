//! Who becomes a node, and stays one: join tokens, certificates, and the deny-list. Checkers, whose tokens and accounts
//! are not its own, get their certificates here, too.
//!
//! ```text
//!   admin --invite--> join token --enrol (once)--> certificate --renew--> certificate …
//!                                                      |    `--over, within 90 days--> renew_late
//!                                                      `-- revoked: nothing any more
//! ```
//!
//! **Owns** the CA while the broker runs, and (as [`Standings`]) what was decided about nodes, a copy
//! of the ledger's.
//!
//! **Invariants.** The broker chooses a node's id and everything in its certificate; of a request it
//! takes the key. A token is used in the ledger before anything is signed. A node that is revoked
//! gets nothing signed. Time is the wall clock that the CA was given.
//!
//! **What it does not know:** how a node's stream is closed and its sessions are ended; the owner of
//! sessions does.

use crate::ledger::{Applied, JoinTokenRow, Ledger, Op, Redeemed, Standing, StoreError};
use crate::secret::certified_hash;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::clock::WallClock;
use nearlight_kit::join::JoinToken;
use nearlight_kit::pki::{
    Ca, CheckerName, Identity, PkiError, RequestError, SigningRequest, checker_of, node_of,
    renewal_proof,
};
use nearlight_protocol::api::{CreateJoinToken, NewJoinToken};
use nearlight_protocol::checker::CheckerCertificate;
use nearlight_protocol::enrol::{Enrol, Enrolled, RenewLate, Renewed};
use nearlight_protocol::id::NodeId;
use sha2::{Digest, Sha256};
use std::sync::Arc;

mod standings;

pub(crate) use standings::{StandingChange, Standings};

/// How long a join token works unless its maker says otherwise.
const TOKEN_S: u32 = 15 * 60;

/// Signs for nodes and checkers that may.
#[derive(Debug)]
pub(crate) struct Registrar {
    ca: Arc<Ca>,
    ledger: Arc<dyn Ledger>,
    standings: Arc<Standings>,
    /// Where nodes reach us, for tokens; empty if nobody has said.
    addresses: Vec<String>,
}

/// Why a node or a checker gets no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// The token.
    #[error("the join token was used, is over, or never was one")]
    Token,
    /// The node.
    #[error("the node was revoked")]
    Revoked,
    /// The checker.
    #[error("the checker was shut out, or came in again since")]
    ShutOut,
    /// Where it would dial is not known.
    #[error("nobody has said where nodes and checkers reach this broker")]
    NoAddress,
    /// What it sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The CA.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Why there is no join token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InviteError {
    /// Where nodes would dial is not known.
    #[error("nobody has said where nodes reach this broker")]
    NoAddress,
    /// The ledger.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Registrar {
    /// The clock by which certificates hold.
    pub(crate) fn wall(&self) -> &WallClock {
        self.ca.clock()
    }

    pub(crate) fn new(
        ca: Arc<Ca>,
        ledger: Arc<dyn Ledger>,
        standings: Arc<Standings>,
        addresses: Vec<String>,
    ) -> Self {
        Self {
            ca,
            ledger,
            standings,
            addresses,
        }
    }

    /// Makes a join token. `wanted` was checked.
    pub(crate) async fn invite(
        &self,
        wanted: CreateJoinToken,
    ) -> Result<NewJoinToken, InviteError> {
        if self.addresses.is_empty() {
            return Err(InviteError::NoAddress);
        }
        let token = JoinToken {
            addresses: self.addresses.clone(),
            ca: self.ca.fingerprint(),
            secret: rand::random(),
        };
        let now_ms = self.ca.clock().unix_ms();
        let expires_s = wanted.expires_s.unwrap_or(TOKEN_S);
        let row = JoinTokenRow {
            hash: secret_hash(&token.secret_text()),
            name: wanted.name,
            region: wanted.region,
            operator: wanted.operator,
            created_ms: now_ms,
            expires_ms: now_ms + u64::from(expires_s) * 1000,
            used: None,
        };
        let expires_unix_ms = row.expires_ms;
        let add = Op::AddJoinToken { token: row };
        self.ledger.write(vec![add]).await?;
        Ok(NewJoinToken {
            token: token.to_string(),
            expires_unix_ms,
            addresses: token.addresses,
        })
    }

    /// Takes a new node in. The same token and key get the same node again: an answer may be lost.
    pub(crate) async fn enrol(&self, asked: &Enrol) -> Result<Enrolled, EnrolError> {
        let request = SigningRequest::parse(&asked.request)?;
        let hash = secret_hash(&asked.secret);
        let by = Redeemed {
            key_hash: request.key_hash(),
            node: nearlight_kit::ids::node(),
        };
        let redeem = Op::RedeemJoinToken {
            hash,
            by: by.clone(),
            at_ms: self.ca.clock().unix_ms(),
        };
        let applied = self.ledger.write(vec![redeem]).await?;
        let row = self.ledger.join_token(hash).await?;
        let row = row.ok_or(EnrolError::Token)?;
        let used = row.used.ok_or(EnrolError::Token)?;
        let won = applied.first() == Some(&Applied::Done);
        let again = used.key_hash == by.key_hash && row.expires_ms > self.ca.clock().unix_ms();
        if !won && !again {
            return Err(EnrolError::Token);
        }
        let node = used.node;
        self.standings.enrolled(&node, &row.operator);
        tracing::info!(node_id = %node, name = row.name, again = !won, "a node comes in");
        Ok(Enrolled {
            certificate: self.certify(&node, &request)?,
            ca: self.ca.bundle().to_owned(),
            node,
            name: row.name,
            region: row.region,
        })
    }

    /// The next certificate of a node that is known by its present one.
    pub(crate) fn renew(&self, node: &NodeId, request: &str) -> Result<Renewed, EnrolError> {
        let request = SigningRequest::parse(request)?;
        Ok(Renewed {
            certificate: self.certify(node, &request)?,
            ca: self.ca.bundle().to_owned(),
        })
    }

    /// Whether it is known where nodes and checkers reach this broker.
    pub(crate) fn has_address(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// A certificate of a checker that is known by its token, or by its present one.
    pub(crate) fn certify_checker(
        &self,
        name: &CheckerName,
        request: &SigningRequest,
    ) -> Result<CheckerCertificate, EnrolError> {
        if !self.has_address() {
            return Err(EnrolError::NoAddress);
        }
        Ok(CheckerCertificate {
            certificate: self.ca.certify(request, Identity::checker(name))?,
            ca: self.ca.bundle().to_owned(),
            addresses: self.addresses.clone(),
        })
    }

    /// The next certificate of a node or a checker whose present one is over, if it proves to have its key.
    pub(crate) async fn renew_late(
        &self,
        nonce: &str,
        asked: &RenewLate,
    ) -> Result<Renewed, EnrolError> {
        let signature = URL_SAFE_NO_PAD.decode(&asked.signature);
        let signature = signature.map_err(|_| RequestError::Unreadable)?;
        let message = renewal_proof(nonce, &asked.request);
        let spiffe = self
            .ca
            .recognise_late(&asked.certificate, &message, &signature)?;
        if let Some(name) = checker_of(&spiffe) {
            return self.renew_late_checker(&name, &asked.request).await;
        }
        let node = node_of(&spiffe).ok_or(RequestError::Unreadable)?;
        let renewed = self.renew(&node, &asked.request)?;
        tracing::info!(node_id = %node, "a node renews a certificate that is over");
        Ok(renewed)
    }

    async fn renew_late_checker(
        &self,
        name: &CheckerName,
        request: &str,
    ) -> Result<Renewed, EnrolError> {
        let request = SigningRequest::parse(request)?;
        let account = self.ledger.credential(certified_hash(&name.account));
        let now_ms = self.ca.clock().unix_ms();
        let account = account.await?;
        let holds = account.filter(|who| who.expires_ms.is_none_or(|end_ms| end_ms > now_ms));
        holds.ok_or(EnrolError::ShutOut)?;
        tracing::info!(
            checker = name.key_id(),
            "a checker renews a certificate that is over"
        );
        Ok(Renewed {
            certificate: self.ca.certify(&request, Identity::checker(name))?,
            ca: self.ca.bundle().to_owned(),
        })
    }

    fn certify(&self, node: &NodeId, request: &SigningRequest) -> Result<String, EnrolError> {
        if self.standings.of(node).standing == Standing::Revoked {
            return Err(EnrolError::Revoked);
        }
        Ok(self.ca.certify(request, Identity::node(node))?)
    }
}

/// Secrets are random, so that no slow hash is needed.
fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
