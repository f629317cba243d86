//! `GET /v1/sessions/{id}/placement`: why a session runs where it does, or why it waits.

use super::Api;
use super::body::SessionPath;
use super::caller::Caller;
use super::problem::Refusal;
use crate::access::Permission;
use crate::sessions::{self, latency_step, millis};
use axum::Json;
use axum::extract::State;
use nearlight_placement::{Reason, Rejection, Why};
use nearlight_protocol::placement::{ClusterLack, Excluded, ExcludedBy, Placement, Points};
use nearlight_protocol::problem::Problem;
use std::sync::Arc;

/// Why a session runs where it does; or, while it waits, how many nodes each constraint excludes.
/// Somebody else's session is as unknown as one that never was.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/placement", tag = "sessions",
    security(("api_key" = []), ("guest" = [])),
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 200, body = Placement, description = "What came of the last attempt to place it."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_placement(
    State(api): State<Arc<Api>>,
    caller: Caller,
    SessionPath(id): SessionPath,
) -> Result<Json<Placement>, Refusal> {
    let session = api.session_of(&caller, Permission::SeeSessions, &id)?;
    let placement = session.placement.borrow().clone();
    Ok(Json(placement.into()))
}

impl From<sessions::Placement> for Placement {
    fn from(placement: sessions::Placement) -> Self {
        match placement {
            sessions::Placement::Unknown => Self::Unknown,
            sessions::Placement::Waits(rejection) => waits(&rejection, None, None),
            sessions::Placement::WaitsTogether(lack) => {
                let cluster = ClusterLack {
                    replicas: lack.replicas,
                    best: lack.best,
                    most: Some(lack.most),
                };
                waits(&lack.rejection, Some(cluster), None)
            }
            sessions::Placement::WaitsForVolume(rejection, words)
            | sessions::Placement::Nowhere(rejection, words) => {
                waits(&rejection, None, Some(words))
            }
            sessions::Placement::Placed {
                node,
                why,
                waited_ms,
                placed_in,
            } => Self::Placed {
                node,
                rtt_ms: why.rtt_ms,
                rtt_from: placed_in.rtt_from,
                chosen: placed_in.chosen,
                points: points(&why),
                waited_ms: millis(waited_ms),
                step: placed_in.step,
            },
        }
    }
}

fn waits(rejection: &Rejection, cluster: Option<ClusterLack>, detail: Option<String>) -> Placement {
    Placement::Waits {
        excluded: excluded(rejection),
        step: rejection.step.map(latency_step),
        cluster,
        detail,
    }
}

fn excluded(rejection: &Rejection) -> Vec<Excluded> {
    let reasons = rejection.reasons.iter();
    let excluded = reasons.map(|(reason, nodes)| excluded_of(*reason, *nodes));
    excluded.collect()
}

fn points(why: &Why) -> Points {
    Points {
        total: why.points(),
        rtt: why.rtt,
        image: why.image,
        desktop: why.desktop,
        gpu: why.gpu,
        load: why.load,
        uplink: why.uplink,
        receipts: why.receipts,
        price: why.price,
        spread: why.spread,
    }
}

/// Nodes, or placements, by the reason.
pub(super) const fn excluded_of(reason: Reason, nodes: u32) -> Excluded {
    Excluded {
        reason: excluded_by(reason),
        nodes,
    }
}

const fn excluded_by(reason: Reason) -> ExcludedBy {
    match reason {
        Reason::Region => ExcludedBy::Region,
        Reason::OutOfReach => ExcludedBy::OutOfReach,
        Reason::GpuClass => ExcludedBy::GpuClass,
        Reason::Vram => ExcludedBy::Vram,
        Reason::NoEncoder => ExcludedBy::NoEncoder,
        Reason::NoJobs => ExcludedBy::NoJobs,
        Reason::Runtime => ExcludedBy::Runtime,
        Reason::Gpus => ExcludedBy::Gpus,
        Reason::GpuModel => ExcludedBy::GpuModel,
        Reason::GpuMemory => ExcludedBy::GpuMemory,
        Reason::GpuMemoryUnproved => ExcludedBy::GpuMemoryUnproved,
        Reason::GpuCapability => ExcludedBy::GpuCapability,
        Reason::GpusSick => ExcludedBy::GpusSick,
        Reason::Disk => ExcludedBy::Disk,
        Reason::Trust => ExcludedBy::Trust,
        Reason::TooSmall => ExcludedBy::TooSmall,
        Reason::Price => ExcludedBy::Price,
        Reason::ImageMissing => ExcludedBy::ImageMissing,
        Reason::Offline => ExcludedBy::Offline,
        Reason::Draining => ExcludedBy::Draining,
        Reason::FailedChecks => ExcludedBy::FailedChecks,
        Reason::OutboxFull => ExcludedBy::OutboxFull,
        Reason::SlotsTaken => ExcludedBy::SlotsTaken,
        Reason::CpuTaken => ExcludedBy::CpuTaken,
        Reason::MemoryTaken => ExcludedBy::MemoryTaken,
        Reason::UplinkTaken => ExcludedBy::UplinkTaken,
        Reason::DiskTaken => ExcludedBy::DiskTaken,
        Reason::GpusTaken => ExcludedBy::GpusTaken,
        Reason::Unproven => ExcludedBy::Unproven,
        Reason::Refused => ExcludedBy::Refused,
        Reason::Held => ExcludedBy::Held,
        Reason::TooFar => ExcludedBy::TooFar,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_reason_has_one_name_in_metrics_and_answers() {
        for reason in Reason::ALL {
            let name = serde_json::to_value(excluded_by(reason)).unwrap();
            assert_eq!(name, reason.label());
        }
    }
}
