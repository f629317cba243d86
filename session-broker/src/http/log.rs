//! `/log`: the log of receipts as anybody reads it, after C2SP tlog-tiles.

use super::Api;
use super::body::{asked, bytes};
use super::problem::{Refusal, bad_request, log_failed, log_not_yet, not_found};
use crate::receipts::{LINES_BYTES_MAX, Receipts};
use axum::extract::rejection::QueryRejection;
use axum::extract::{OriginalUri, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Extensions, StatusCode};
use axum::response::IntoResponse;
use nearlight_proof::log::tile::Tile;
use nearlight_protocol::problem::Problem;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::openapi::OpenApi;

/// What never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// What changes within seconds.
const AT_ONCE: &str = "no-cache";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const PREFIX: &str = "/log/";
/// Where tiles are, as the router has it.
const TILE_ROUTE: &str = "/log/tile/{*place}";

/// A document has no name for the rest of a path: it has a plain parameter there.
pub(super) fn name_tiles(mut document: OpenApi) -> OpenApi {
    let paths = &mut document.paths.paths;
    if let Some(tiles) = paths.remove(TILE_ROUTE) {
        paths.insert(TILE_ROUTE.replace('*', ""), tiles);
    }
    document
}

impl Api {
    pub(super) fn log(&self) -> Result<&Arc<Receipts>, Refusal> {
        self.receipts.as_ref().ok_or_else(|| not_found("log"))
    }
}

/// The newest checkpoint: a note with the log's name, its size, its root, and who signed that.
#[utoipa::path(
    get, path = "/log/checkpoint", tag = "log",
    responses(
        (status = 200, content_type = "text/plain", body = String, description = "A signed note (c2sp.org/tlog-checkpoint)."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: this broker keeps no log. `log-unavailable`: it shows nothing yet."),
    )
)]
pub(super) async fn checkpoint(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Refusal> {
    let note = api.log()?.checkpoint().ok_or_else(log_not_yet)?;
    let headers = [(CONTENT_TYPE, TEXT), (CACHE_CONTROL, AT_ONCE)];
    Ok((headers, note.to_string()))
}

/// A tile, full or a part, or with `entries` for the level the bundle of its entries.
#[utoipa::path(
    get, path = "/log/tile/{*place}", tag = "log",
    params(("place" = String, Path,
        description = "`LEVEL/INDEX` or `entries/INDEX`, with `.p/WIDTH` for a part, as c2sp.org/tlog-tiles has it: `0/x001/234`, `entries/005.p/17`.")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = [u8], description = "Hashes, or entries each after its length. They never change."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: there is none, or none as wide yet. `log-unavailable`."),
    )
)]
pub(super) async fn tile(
    State(api): State<Arc<Api>>,
    OriginalUri(uri): OriginalUri,
) -> Result<impl IntoResponse, Refusal> {
    let log = api.log()?;
    // As it was written: another spelling is another path.
    let path = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let found = match path.strip_prefix("tile/entries/") {
        Some(place) => {
            let part = Tile::parse(&format!("tile/0/{place}"));
            let part = part.ok_or_else(|| not_found("bundle"))?;
            log.bundle(part).await
        }
        None => {
            let part = Tile::parse(path).ok_or_else(|| not_found("tile"))?;
            log.tile(part).await
        }
    };
    let bytes = found.map_err(log_failed)?;
    let bytes = bytes.ok_or_else(|| not_found("tile"))?;
    Ok(([(CONTENT_TYPE, BYTES), (CACHE_CONTROL, FOR_EVER)], bytes))
}

/// What a witness has seen.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    /// How many entries the log had when it cosigned last; 0 for never.
    old: u64,
}

/// What a witness that dials is to cosign: the body of an add-checkpoint request (c2sp.org/tlog-witness), with the
/// proof that the log it has seen goes on.
#[utoipa::path(
    get, path = "/v1/log/candidate", tag = "log", params(Seen),
    responses(
        (status = 200, content_type = "text/plain", body = String, description = "Old size, proof and checkpoint."),
        (status = 204, description = "There is nothing to cosign."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`: this broker keeps no log. `too-many-requests`."),
    )
)]
pub(super) async fn candidate(
    State(api): State<Arc<Api>>,
    extensions: Extensions,
    seen: Result<Query<Seen>, QueryRejection>,
) -> Result<axum::response::Response, Refusal> {
    let log = api.log()?;
    api.within_rate_of(&extensions)?;
    let seen = asked(seen)?;
    let candidate = log.candidate(seen.old).await.map_err(log_failed)?;
    Ok(match candidate {
        Some(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Takes cosignatures of witnesses that this log knows, for a checkpoint of the last half minute; or a whole checkpoint of
/// this log with such a line that is larger than what the log has: then the log signs nothing until it has as much.
#[utoipa::path(
    post, path = "/v1/log/cosignatures", tag = "log",
    request_body(content = String, content_type = "text/plain",
        description = "Signature lines of a note (c2sp.org/tlog-cosignature), or the whole note."),
    responses(
        (status = 204, description = "They are kept, and shown once enough witnesses agree."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`: none is a known witness's for such a checkpoint. `too-many-requests`."),
    )
)]
pub(super) async fn cosign(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let log = api.log()?;
    api.within_rate_of(request.extensions())?;
    let body = bytes(request, &()).await?;
    if body.len() > LINES_BYTES_MAX {
        return Err(super::body::too_large());
    }
    let lines = String::from_utf8_lossy(&body);
    match log.cosigned(&lines).await.map_err(log_failed)? {
        0 => Err(bad_request(
            "No line is a known witness's for a checkpoint of the last half minute. Ask for a new candidate.",
        )),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}
