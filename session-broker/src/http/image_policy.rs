//! `/v1/image-policy`: which images a tenant's jobs may have.

use super::Api;
use super::body::JsonBody;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, store_failed};
use crate::access::Permission;
use crate::ledger::{Op, OutsideChange, OwnerId};
use crate::registry::{ImageKey, NotAKey};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::identity::AuditAction;
use nearlight_protocol::job::ImageRef;
use nearlight_protocol::plain::is_plain_text;
use nearlight_protocol::problem::Problem;
use nearlight_protocol::registry::{IMAGE_KEY_BYTES_MAX, IMAGE_PREFIXES_MAX, ImagePolicy};
use nearlight_protocol::work::PullLogin;
use std::sync::Arc;

/// Longest prefix, bytes: that of a name.
const PREFIX_BYTES_MAX: usize = 255;

/// Which images jobs of your tenant may have.
#[utoipa::path(
    get, path = "/v1/image-policy", tag = "identity",
    security(("api_key" = [])),
    responses(
        (status = 200, body = ImagePolicy, description = "The policy; an empty one allows any."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_image_policy(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<Json<ImagePolicy>, Refusal> {
    caller.check(Permission::SeeKeys)?;
    Ok(Json(api.image_policy(&caller.owner()).await?))
}

/// Sets it as a whole. Jobs that run go on.
#[utoipa::path(
    put, path = "/v1/image-policy", tag = "identity",
    security(("api_key" = [])),
    request_body = ImagePolicy,
    responses(
        (status = 204, description = "It holds for jobs that are started from now on."),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn set_image_policy(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(policy): JsonBody<ImagePolicy>,
) -> Result<StatusCode, Refusal> {
    let action = AuditAction::ImagePolicy;
    let owner = caller.owner();
    api.check_noted(&caller, Permission::ChangeKeys, action, owner.as_str())
        .await?;
    check(&policy)?;
    let signed = if policy.key.is_some() { ", signed" } else { "" };
    let detail = format!("{} prefixes{signed}", policy.allow.len());
    let audit = Some(caller.audit(&api, action, &owner, detail));
    let change = OutsideChange::PutImagePolicy { owner, policy };
    api.change(Op::Outside { change, audit }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(policy: &ImagePolicy) -> Result<(), Refusal> {
    let is_prefix = |prefix: &String| {
        !prefix.trim_end_matches('/').is_empty() && is_plain_text(prefix, PREFIX_BYTES_MAX)
    };
    if policy.allow.len() > IMAGE_PREFIXES_MAX || !policy.allow.iter().all(is_prefix) {
        return Err(bad_request(format!(
            "`allow` has at most {IMAGE_PREFIXES_MAX} prefixes such as registry.example/team."
        )));
    }
    let Some(key) = &policy.key else {
        return Ok(());
    };
    let known = (key.len() <= IMAGE_KEY_BYTES_MAX).then(|| ImageKey::parse(key));
    match known {
        Some(Ok(_)) => Ok(()),
        Some(Err(NotAKey)) | None => Err(bad_request(format!("`key` {NotAKey}."))),
    }
}

impl Api {
    async fn image_policy(&self, owner: &OwnerId) -> Result<ImagePolicy, Refusal> {
        let policy = self.ledger.image_policy(owner.clone()).await;
        policy.map_err(|e| store_failed(&e))
    }

    /// Refuses an image that the owner's policy does not allow. `pinned` has its digest.
    pub(super) async fn check_policy(
        &self,
        owner: &OwnerId,
        pinned: &str,
        login: Option<&PullLogin>,
    ) -> Result<(), Refusal> {
        let policy = self.image_policy(owner).await?;
        let image: ImageRef = pinned.parse().map_err(ProblemResponse::internal)?;
        let name = match image.registry() {
            Some(registry) => format!("{registry}/{}", image.repository()),
            None => image.repository().to_owned(),
        };
        if !policy.allows(&name) {
            return Err(bad_request(format!(
                "job.image: your tenant's policy does not allow `{name}`; \
                 `nearlight registry policy` shows what it does."
            )));
        }
        let Some((key, digest)) = to_be_signed(&policy, &image)? else {
            return Ok(());
        };
        let key = ImageKey::parse(key).map_err(ProblemResponse::internal)?;
        let of = (&image, digest);
        match self.registries.is_signed(owner, of, login, &key).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(bad_request(format!(
                "job.image: `{pinned}` has no signature of your tenant's key. Sign it by its digest: \
                 cosign sign --key cosign.key {name}@{digest}"
            ))),
            Err(error) => Err(bad_request(format!(
                "job.image: whether `{pinned}` is signed cannot be looked up: {error}."
            ))),
        }
    }
}

/// The key that has to have signed an image, and the digest that it has to have signed. Without one nothing says what
/// runs, so nothing does.
fn to_be_signed<'a>(
    policy: &'a ImagePolicy,
    image: &'a ImageRef,
) -> Result<Option<(&'a str, &'a str)>, Refusal> {
    let Some(key) = &policy.key else {
        return Ok(None);
    };
    let digest = image.digest().ok_or_else(|| {
        bad_request(format!(
            "job.image: your tenant's policy asks for signed images, and `{image}` was not pinned to a digest. Try \
             again, or give the image as NAME@sha256:..."
        ))
    })?;
    Ok(Some((key, digest)))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_image_without_a_digest_does_not_pass_where_a_key_is_asked_for() {
        let pinned = format!("registry.example/a@sha256:{}", "0".repeat(64));
        let (tag, pinned): (ImageRef, ImageRef) = (
            "registry.example/a:1".parse().unwrap(),
            pinned.parse().unwrap(),
        );
        let none = ImagePolicy::default();
        assert_eq!(to_be_signed(&none, &tag).unwrap(), None);
        let policy = ImagePolicy {
            key: Some("a key".to_owned()),
            ..ImagePolicy::default()
        };
        assert!(to_be_signed(&policy, &tag).is_err());
        let signed = to_be_signed(&policy, &pinned).unwrap();
        assert_eq!(signed, Some(("a key", pinned.digest().unwrap())));
    }
}
