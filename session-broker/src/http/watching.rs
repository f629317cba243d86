//! `/v1/watch/{token}`: whoever has a watch link sees and hears its session. No identity is asked
//! for; the link's secret is the right, and an address has a rate.

use super::Api;
use super::body::{WatchPath, WatcherPath, check_type};
use super::caller::RateKey;
use super::problem::{Refusal, link_ended, not_found, store_failed, too_many};
use super::relay::{
    ACCEPT_POST, FRAGMENT, Relay, SDP, attached, expect_answer, expect_done, offer, sdp_text,
};
use super::serve::Peer;
use super::ticket::attachable;
use crate::ledger::WatchLinkRow;
use crate::secret::credential_hash;
use crate::sessions::ShownSession;
use crate::watch::end_watch;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Extensions, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearlight_protocol::api::Watched;
use nearlight_protocol::control::{ViewerRole, WhepAction};
use nearlight_protocol::id::AttachmentId;
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// What there is to watch.
#[utoipa::path(
    get, path = "/v1/watch/{token}", tag = "watching",
    params(("token" = String, Path, description = "The last part of the link's address.")),
    responses(
        (status = 200, body = Watched, description = "The app, and whether it has a picture now."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `link-ended`, `too-many-requests`."),
    )
)]
pub(super) async fn show_watched(
    State(api): State<Arc<Api>>,
    WatchPath(token): WatchPath,
    extensions: Extensions,
) -> Result<Json<Watched>, Refusal> {
    let (link, session) = api.watched(&token, Peer::of(&extensions)).await?;
    let live = attachable(&session, true).is_ok() && api.way_to(&session).is_ok();
    let title = session.view.borrow().title.clone();
    Ok(Json(Watched {
        title,
        live,
        ice_servers: api.ice_servers(link.id.as_str()),
        expires_unix_ms: link.expires_ms,
    }))
}

/// Attaches a viewer who only watches: an SDP offer in, the edge's answer out.
#[utoipa::path(
    post, path = "/v1/watch/{token}/whep", tag = "watching",
    params(("token" = String, Path, description = "The last part of the link's address.")),
    request_body(content = String, content_type = "application/sdp", description = "The offer."),
    responses(
        (status = 201, content_type = "application/sdp", body = String,
         description = "The answer, with every candidate of the node.",
         headers(("location" = String, description = "The attachment."),
                 ("etag" = String, description = "The ICE session."),
                 ("accept-patch" = String, description = "Trickled candidates are taken."))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `link-ended`, `invalid-offer`, `session-not-ready`, \
                        `session-ended`, `node-unreachable`, `too-many-requests`, …"),
    )
)]
pub(super) async fn watch(
    State(api): State<Arc<Api>>,
    WatchPath(token): WatchPath,
    request: Request,
) -> Result<Response, Refusal> {
    let peer = Peer::of(request.extensions());
    check_type(request.headers(), SDP)?;
    let (link, session) = api.watched(&token, peer).await?;
    let taken = api.rates.viewers.take(RateKey::of(peer), api.clock.now());
    taken.map_err(too_many)?;
    attachable(&session, true)?;
    let sdp = offer(request).await?;
    let relay = api.way_to(&session)?;
    let attachment = nearlight_kit::ids::attachment();
    let asked = WhepAction::Offer {
        attachment: attachment.clone(),
        sdp,
        role: ViewerRole::Watcher {
            link: link.id.clone(),
        },
    };
    let sdp = expect_answer(relay.whep(&link.session, asked).await?)?;
    if !api.links.let_in(&link.hash, attachment.clone()) {
        // The edge was told that the link ended, and let this viewer in after that.
        relay.0.send(end_watch(&link.session, &link.id));
        return Err(link_ended());
    }
    let path = format!("/v1/watch/{token}/whep");
    let relays = api.ice_servers(link.id.as_str());
    Ok(attached(&path, &attachment, &relays, sdp))
}

/// What the endpoint takes.
#[utoipa::path(
    options, path = "/v1/watch/{token}/whep", tag = "watching",
    params(("token" = String, Path, description = "The last part of the link's address.")),
    responses((status = 204, description = "`Accept-Post: application/sdp`."))
)]
pub(super) async fn watch_options() -> impl IntoResponse {
    (
        StatusCode::NO_CONTENT,
        [(ACCEPT_POST, SDP), (header::ALLOW, "OPTIONS, POST")],
    )
}

/// Hands a watcher's trickled candidates to the edge (RFC 8840).
#[utoipa::path(
    patch, path = "/v1/watch/{token}/whep/{attachment}", tag = "watching",
    params(("token" = String, Path, description = "The last part of the link's address."),
           ("attachment" = String, Path, description = "The attachment.")),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses(
        (status = 204, description = "The edge has them."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `link-ended`, `node-unreachable`, …"),
    )
)]
pub(super) async fn patch_watcher(
    State(api): State<Arc<Api>>,
    WatcherPath(token, attachment): WatcherPath,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let peer = Peer::of(request.extensions());
    check_type(request.headers(), FRAGMENT)?;
    let (link, relay) = api.watcher(&token, &attachment, peer).await?;
    let fragment = sdp_text(request).await?;
    let patch = WhepAction::Patch {
        attachment,
        fragment,
    };
    expect_done(relay.whep(&link.session, patch).await?)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A watcher leaves.
#[utoipa::path(
    delete, path = "/v1/watch/{token}/whep/{attachment}", tag = "watching",
    params(("token" = String, Path, description = "The last part of the link's address."),
           ("attachment" = String, Path, description = "The attachment.")),
    responses(
        (status = 200, description = "It is gone."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `link-ended`, `node-unreachable`, …"),
    )
)]
pub(super) async fn end_watcher(
    State(api): State<Arc<Api>>,
    WatcherPath(token, attachment): WatcherPath,
    extensions: Extensions,
) -> Result<StatusCode, Refusal> {
    let peer = Peer::of(&extensions);
    let (link, relay) = api.watcher(&token, &attachment, peer).await?;
    let delete = WhepAction::Delete { attachment };
    expect_done(relay.whep(&link.session, delete).await?)?;
    Ok(StatusCode::OK)
}

impl Api {
    /// The link of a secret and its session.
    async fn watched(
        &self,
        token: &str,
        peer: Peer,
    ) -> Result<(WatchLinkRow, ShownSession), Refusal> {
        self.within_rate(RateKey::of(peer))?;
        let hash = credential_hash(token);
        let Some(link) = self.links.find(&hash, self.clock.unix_ms()) else {
            let known = self.ledger.watch_link(hash).await;
            return Err(match known.map_err(|e| store_failed(&e))? {
                Some(_) => link_ended(),
                None => not_found("watch link"),
            });
        };
        let session = self.sessions.directory().session(&link.session);
        Ok((link, session.ok_or_else(link_ended)?))
    }

    /// The way to a viewer that came on this link.
    async fn watcher(
        &self,
        token: &str,
        attachment: &AttachmentId,
        peer: Peer,
    ) -> Result<(WatchLinkRow, Relay), Refusal> {
        let (link, session) = self.watched(token, peer).await?;
        if !self.links.came_on(&link.hash, attachment) {
            return Err(not_found("attachment"));
        }
        Ok((link, self.way_to(&session)?))
    }
}
