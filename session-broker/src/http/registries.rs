//! `/v1/registries`: what a tenant's jobs pull their images with. Written, and never read.

use super::Api;
use super::body::JsonBody;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, not_found, store_failed};
use crate::access::Permission;
use crate::ledger::{Applied, Op, OutsideChange, OwnerId, RegistryRow};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::job::ImageRef;
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::registry::{
    REGISTRIES_MAX, REGISTRY_PASSWORD_BYTES_MAX, REGISTRY_USER_BYTES_MAX, Registry, RegistryList,
    RegistryLogin, registry_name,
};
use nearlight_protocol::work::PullLogin;
use std::sync::Arc;

/// The registries that jobs of your tenant pull from with a credential; without their passwords.
#[utoipa::path(
    get, path = "/v1/registries", tag = "identity",
    security(("api_key" = [])),
    responses(
        (status = 200, body = RegistryList, description = "The registries."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn list_registries(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<RegistryList>, Refusal> {
    caller.check(Permission::SeeKeys)?;
    let rows = api.ledger.registries(caller.owner()).await;
    let rows = rows.map_err(|e| store_failed(&e))?;
    let shown = rows.into_iter().map(|row| Registry {
        registry: row.registry,
        username: row.username,
        created_unix_ms: row.created_ms,
    });
    Ok(Json(RegistryList {
        registries: shown.collect(),
    }))
}

/// Gives your tenant a credential for a registry, in place of the one that it has. Jobs that are
/// started from now on are pulled with it.
#[utoipa::path(
    put, path = "/v1/registries/{registry}", tag = "identity",
    security(("api_key" = [])),
    params(("registry" = String, Path,
        description = "`HOST` or `HOST:PORT`, as references of images have it.")),
    request_body = RegistryLogin,
    responses(
        (status = 204, description = "It is kept, sealed."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn put_registry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(named): Path<String>,
    JsonBody(body): JsonBody<RegistryLogin>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::RegistryLogin;
    let registry = checked_registry(&named)?;
    api.check_noted(&caller, Permission::ChangeKeys, action, registry)
        .await?;
    check_login(&body)?;
    let owner = caller.owner();
    let sealed = api.sealer.seal_for(
        &sealed_for(&owner, registry),
        body.password.clone().into_bytes(),
    );
    let change = OutsideChange::PutRegistry {
        row: RegistryRow {
            registry: registry.to_owned(),
            username: body.username.clone(),
            sealed: sealed.map_err(ProblemResponse::internal)?,
            created_ms: api.clock.unix_ms(),
        },
        owner,
        most: REGISTRIES_MAX,
    };
    let audit = Some(caller.audit(&api, action, registry, body.username));
    match api.change(Op::Outside { change, audit }).await? {
        Applied::QuotaUsedUp => Err(bad_request(format!(
            "A tenant has credentials for at most {REGISTRIES_MAX} registries; remove one."
        ))),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Forgets a credential. Jobs that run go on; what nodes have of that registry is for nobody without one.
#[utoipa::path(
    delete, path = "/v1/registries/{registry}", tag = "identity",
    security(("api_key" = [])),
    params(("registry" = String, Path, description = "As it was given.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`not-found`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn remove_registry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(named): Path<String>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::RegistryRemove;
    let registry = registry_name(&named);
    api.check_noted(&caller, Permission::ChangeKeys, action, registry)
        .await?;
    let audit = Some(caller.audit(&api, action, registry, ""));
    let change = OutsideChange::RemoveRegistry {
        owner: caller.owner(),
        registry: registry.to_owned(),
    };
    match api.change(Op::Outside { change, audit }).await? {
        Applied::Missing => Err(not_found("registry")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// What a credential is sealed for: no other row of the ledger opens with it.
pub(crate) fn sealed_for(owner: &OwnerId, registry: &str) -> String {
    format!("registry {registry} of {owner}")
}

/// The host as references of images have it.
fn checked_registry(named: &str) -> Result<&str, Refusal> {
    let named = registry_name(named);
    let image: Option<ImageRef> = format!("{named}/image").parse().ok();
    match image.is_some_and(|image| image.registry() == Some(named)) {
        true => Ok(named),
        false => Err(bad_request(
            "A registry is named HOST or HOST:PORT, as in the reference of an image: \
             registry.example, docker.io, 127.0.0.1:5000.",
        )),
    }
}

fn check_login(login: &RegistryLogin) -> Result<(), Refusal> {
    let is_user = |name: &str| !name.is_empty() && !name.contains(':');
    if !is_user(&login.username) || !is_plain_text(&login.username, REGISTRY_USER_BYTES_MAX) {
        return Err(bad_request(
            "`username` is plain text of up to 256 bytes without a colon.",
        ));
    }
    let length = login.password.len();
    if !(1..=REGISTRY_PASSWORD_BYTES_MAX).contains(&length)
        || login.password.chars().any(char::is_control)
    {
        return Err(bad_request(
            "`password` is a password or a token of up to 8 KiB, without control characters.",
        ));
    }
    Ok(())
}

/// How a registry is asked for one tenant.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// As whom.
    pub(super) login: Option<PullLogin>,
    /// Whether it has to be asked even for a digest: nodes may have what it does not give to everybody.
    pub(super) is_guarded: bool,
}

impl Api {
    /// How the registry of `image` is asked for `owner`.
    pub(super) async fn asking(
        &self,
        owner: &OwnerId,
        image: &ImageRef,
    ) -> Result<Asking, Refusal> {
        let Some(registry) = image.registry().map(registry_name) else {
            return Ok(Asking::default());
        };
        let known = self.ledger.registry(owner.clone(), registry.to_owned());
        let known = known.await.map_err(|e| store_failed(&e))?;
        let login = known.login.map(|row| {
            let opened = self
                .sealer
                .open_for(&sealed_for(owner, registry), &row.sealed);
            let password = opened.ok().and_then(|text| String::from_utf8(text).ok());
            password.map(|password| PullLogin {
                username: row.username,
                password,
            })
        });
        match login {
            Some(None) => Err(bad_request(format!(
                "The credential for {registry} was sealed with the key of another CA. Give it \
                 again: nearlight registry login {registry}"
            ))),
            login => Ok(Asking {
                login: login.flatten(),
                is_guarded: known.is_guarded,
            }),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_registry_is_named_as_images_name_it() {
        for (named, is) in [
            ("registry.example", Some("registry.example")),
            ("127.0.0.1:5000", Some("127.0.0.1:5000")),
            ("localhost", Some("localhost")),
            ("index.docker.io", Some("docker.io")),
            ("team", None),
            ("https:", None),
            ("a.b/c", None),
            ("", None),
        ] {
            assert_eq!(checked_registry(named).ok(), is, "{named}");
        }
    }
}
