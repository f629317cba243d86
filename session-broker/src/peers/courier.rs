//! Tells peers of sessions that were given to them. What does not arrive they find by themselves.

use super::{AT_HAND, PeerError, Peers};
use crate::ledger::BrokerId;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use futures_util::{StreamExt, stream};
use nearlight_protocol::id::{NodeId, SessionId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where peers take offers.
pub(crate) const OFFER_PATH: &str = "/peer/v1/offers";
/// Offers that wait. Past it they are left to the receiver's own look.
const WAITING_MAX: usize = 1024;
/// Offers under way at once.
const AT_ONCE: usize = 32;

/// A session that was given away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Which.
    pub(crate) session: SessionId,
    /// A node of its new holder that had room for it.
    pub(crate) node: Option<NodeId>,
}

/// The handle to who carries offers.
#[derive(Clone, Debug)]
pub(crate) struct Courier(mpsc::Sender<(BrokerId, Offer)>);

/// What a peer said to an offer.
#[derive(Debug, thiserror::Error)]
enum OfferError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("the peer answers {0}")]
    Refused(StatusCode),
    #[error("it is not there any more")]
    Gone,
}

impl Courier {
    /// A handle, and what [`Courier::run`] takes.
    pub(crate) fn new() -> (Self, mpsc::Receiver<(BrokerId, Offer)>) {
        let (sender, offers) = mpsc::channel(WAITING_MAX);
        (Self(sender), offers)
    }

    /// Tells `peer` of a session that is its own now.
    pub(crate) fn send(&self, peer: BrokerId, offer: Offer) {
        if let Err(error) = self.0.try_send((peer, offer)) {
            tracing::debug!(%error, "an offer is left to its receiver's own look");
        }
    }

    /// Carries offers until every handle is gone.
    pub(crate) async fn run(peers: Arc<Peers>, offers: mpsc::Receiver<(BrokerId, Offer)>) {
        let offers = stream::unfold(offers, async |mut offers| {
            offers.recv().await.map(|offer| (offer, offers))
        });
        offers
            .for_each_concurrent(AT_ONCE, async |(peer, offer)| {
                let session = offer.session.clone();
                if let Err(error) = carry(&peers, &peer, &offer).await {
                    tracing::debug!(%peer, session_id = %session,
                        error = &error as &dyn std::error::Error, "an offer did not arrive");
                }
            })
            .await;
    }
}

async fn carry(peers: &Peers, peer: &BrokerId, offer: &Offer) -> Result<(), OfferError> {
    let address = peers.address(peer).ok_or(OfferError::Gone)?;
    let body = serde_json::to_vec(offer).expect("ids are strings");
    let request = Request::builder()
        .method(Method::POST)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(PeerError::from)?;
    let answer = peers
        .client
        .ask(&address, OFFER_PATH, request, AT_HAND)
        .await?;
    match answer.status() {
        StatusCode::NO_CONTENT => Ok(()),
        other => Err(OfferError::Refused(other)),
    }
}
