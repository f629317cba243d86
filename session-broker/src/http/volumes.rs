//! `/v1/volumes`: what jobs have kept, and its end. A job makes its volumes by naming them.

use super::Api;
use super::body::VolumePath;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, not_found, store_failed};
use crate::access::{Permission, Reach};
use crate::ledger::{IdentityChange, Op, VolumeRow};
use crate::sessions::{Asking, DeleteVolumeError, Lack, Volumes};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::id::{SessionId, TenantId, UserId, VolumeId};
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::job::JobSpec;
use nearlight_protocol::problem::{Problem, ProblemType};
use nearlight_protocol::volume::{Volume, VolumeList, owner};
use std::sync::Arc;

impl Api {
    /// Refuses a job whose volumes are lost, on different nodes or too large, where waiting helps nobody.
    pub(super) async fn check_volumes(
        &self,
        session: &SessionId,
        (tenant, user): (Option<&TenantId>, &UserId),
        key: &str,
        spec: &JobSpec,
    ) -> Result<(), Refusal> {
        if spec.volumes.is_empty() {
            return Ok(());
        }
        let owner = owner(tenant, user);
        let rows = self.ledger.volumes(Some(owner.clone())).await;
        let volumes = Volumes::of(rows.map_err(|e| store_failed(&e))?);
        let by = Asking {
            owner: &owner,
            session,
            owner_mib_max: self.volumes_mib_max,
        };
        let lack = match volumes.plan(by, &spec.volumes) {
            Err(lack) if !lack.passes() => lack,
            Ok(_) | Err(_) => return Ok(()),
        };
        // Asked again with its key: its own session may have changed what there is.
        let known = self.ledger.has_key(user.clone(), key.to_owned()).await;
        if known.map_err(|e| store_failed(&e))? {
            return Ok(());
        }
        Err(match lack {
            Lack::TooMuch { .. } => {
                ProblemResponse::new(ProblemType::QuotaExceeded, format!("job.volumes: {lack}."))
            }
            Lack::InUse { .. } | Lack::Lost { .. } | Lack::Apart { .. } => {
                bad_request(format!("job.volumes: {lack}."))
            }
        })
    }

    /// A volume within the caller's reach.
    async fn volume_of(&self, caller: &Caller, id: &VolumeId) -> Result<VolumeRow, Refusal> {
        let rows = self.volumes_of(caller).await?;
        let found = rows.into_iter().find(|row| row.id == *id);
        found.ok_or_else(|| not_found("volume"))
    }

    async fn volumes_of(&self, caller: &Caller) -> Result<Vec<VolumeRow>, Refusal> {
        let owner = match Reach::of(caller.role) {
            Reach::All => None,
            Reach::Tenant | Reach::Own => Some(owner(caller.tenant(), &caller.user)),
        };
        let rows = self.ledger.volumes(owner).await;
        rows.map_err(|e| store_failed(&e))
    }
}

/// The volumes of your jobs, by name. An administrator sees everyone's.
#[utoipa::path(
    get, path = "/v1/volumes", tag = "volumes",
    security(("api_key" = [])),
    responses(
        (status = 200, body = VolumeList, description = "The volumes."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_volumes(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<VolumeList>, Refusal> {
    caller.check(Permission::SeeVolumes)?;
    let rows = api.volumes_of(&caller).await?;
    let volumes = rows.into_iter().map(Volume::from).collect();
    Ok(Json(VolumeList { volumes }))
}

/// One volume.
#[utoipa::path(
    get, path = "/v1/volumes/{id}", tag = "volumes",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The volume.")),
    responses(
        (status = 200, body = Volume, description = "The volume."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_volume(
    State(api): State<Arc<Api>>,
    caller: Caller,
    VolumePath(id): VolumePath,
) -> Result<Json<Volume>, Refusal> {
    caller.check(Permission::SeeVolumes)?;
    Ok(Json(api.volume_of(&caller, &id).await?.into()))
}

/// Deletes a volume that no session has. Its node wipes it at once, or as soon as it is back; until then it is
/// listed as `wiping`, and its name is free.
#[utoipa::path(
    delete, path = "/v1/volumes/{id}", tag = "volumes",
    security(("api_key" = [])),
    params(("id" = String, Path, description = "The volume.")),
    responses(
        (status = 202, body = Volume, description = "It is being wiped."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request` for one that a session has, `not-found`, `forbidden`, \
                        `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn delete_volume(
    State(api): State<Arc<Api>>,
    caller: Caller,
    VolumePath(id): VolumePath,
) -> Result<(StatusCode, Json<Volume>), Refusal> {
    caller.check(Permission::DeleteVolumes)?;
    let row = api.volume_of(&caller, &id).await?;
    if !row.deleted {
        delete(&api, &caller, &row).await?;
    }
    let row = VolumeRow {
        deleted: true,
        ..row
    };
    Ok((StatusCode::ACCEPTED, Json(row.into())))
}

async fn delete(api: &Api, caller: &Caller, row: &VolumeRow) -> Result<(), Refusal> {
    match api.sessions.delete_volume(row.id.clone()).await {
        Ok(()) => {}
        Err(DeleteVolumeError::InUse) => {
            let by = row.used_by.as_ref();
            let by = by.map_or_else(String::new, |session| format!(" It is {session}."));
            return Err(bad_request(format!(
                "A session has the volume `{}`; end it first.{by}",
                row.name
            )));
        }
        Err(error @ DeleteVolumeError::Unknown) => return Err(ProblemResponse::internal(error)),
    }
    let audit = Some(caller.audit(api, AuditAction::VolumeDelete, &row.id, &row.name));
    let noted = Op::Identity {
        change: IdentityChange::Nothing,
        audit,
    };
    let noted = api.ledger.write(vec![noted]).await;
    noted.map(drop).map_err(|e| store_failed(&e))
}
