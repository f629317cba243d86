//! Credentials that no request makes: the development key, the first administrator's; and the upkeep of
//! what is noted of all of them.

use crate::config::{AuditLog, Config};
use crate::http::Api;
use crate::ledger::{
    Applied, AuditRow, Credential, IdentityChange, KeyRow, Ledger, Op, change_beside,
};
use crate::secret;
use crate::time::Clock;
use anyhow::Context;
use nearlight_kit::files::write_atomic;
use nearlight_protocol::api::Role;
use nearlight_protocol::identity::{AuditAction, AuditOutcome, NewKey};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two notes of which keys were used.
const NOTE_EVERY: Duration = Duration::from_secs(30);
/// Notes between two prunings.
const PRUNE_EVERY: u64 = 120;

/// Makes the first administrator's key in the ledger that the configuration names, whether a broker
/// runs on it or not. `None` if there is an administrator already, unless `force` says that there may be.
///
/// # Errors
/// Whatever keeps the ledger from being changed.
pub async fn bootstrap(config: &Config, force: bool) -> anyhow::Result<Option<NewKey>> {
    std::fs::create_dir_all(&config.data)
        .with_context(|| format!("cannot make {}", config.data.display()))?;
    let secret = secret::new_key();
    let kept = secret::kept(&secret);
    let now_ms = Clock::start().unix_ms();
    let key = first_key(kept.prefix.clone(), now_ms);
    let audit = AuditRow {
        at_ms: now_ms,
        request: nearlight_kit::ids::request().to_string(),
        user: None,
        role: None,
        key: None,
        tenant: None,
        address: None,
        action: AuditAction::Bootstrap,
        subject: key.id.to_string(),
        outcome: AuditOutcome::Done,
        detail: if force { "forced" } else { "" }.to_owned(),
    };
    let add = Op::Identity {
        change: IdentityChange::AddKey {
            key: key.clone(),
            secret: kept,
            if_no_admin: !force,
        },
        audit: Some(Box::new(audit)),
    };
    let applied = change_beside(&config.ledger, &config.name, add).await?;
    Ok((applied == Applied::Done).then(|| NewKey {
        key: key.into(),
        secret,
    }))
}

fn first_key(prefix: String, now_ms: UnixMillis) -> KeyRow {
    KeyRow {
        id: nearlight_kit::ids::key(),
        user: nearlight_kit::ids::user(),
        tenant: None,
        name: "bootstrap".to_owned(),
        role: Role::Admin,
        scopes: None,
        is_beyond: false,
        prefix,
        sessions_max: None,
        created_ms: now_ms,
        expires_ms: None,
        last_used_ms: None,
        revoked_ms: None,
    }
}

/// Takes the development key of `file`, made if it is missing, as an administrator's.
pub(crate) async fn add_dev_key(
    ledger: &Arc<dyn Ledger>,
    file: &Path,
    clock: Clock,
) -> anyhow::Result<()> {
    if !file.exists() {
        let key = secret::new_key();
        write_atomic(file, format!("{key}\n").as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let key = text.trim();
    anyhow::ensure!(
        secret::is_key(key),
        "{} holds no API key; delete it to have a new one made",
        file.display()
    );
    let (hash, user) = (secret::credential_hash(key), nearlight_kit::ids::user());
    let credential = Credential::plain(hash, user, "development", Role::Admin);
    let at = clock.now();
    ledger
        .write(vec![Op::AddCredential { credential, at }])
        .await?;
    Ok(())
}

/// Notes which keys were used, and lets go what the audit log keeps no longer.
pub(crate) async fn keep(api: Arc<Api>, audit: AuditLog, stop: CancellationToken) {
    let mut beat = tokio::time::interval(NOTE_EVERY);
    for beats in 0_u64.. {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let mut ops = Vec::new();
        let used = api.identities.take_used();
        let mut push = |change| {
            ops.push(Op::Identity {
                change,
                audit: None,
            })
        };
        if !used.is_empty() {
            push(IdentityChange::UsedKeys(used));
        }
        if beats.is_multiple_of(PRUNE_EVERY) {
            let now = api.clock.now();
            let kept_us = audit.retain().map_or(u128::MAX, |kept| kept.as_micros());
            let kept_us = u64::try_from(kept_us).unwrap_or(u64::MAX);
            let audit_before = MonoTime(now.0.saturating_sub(kept_us));
            push(IdentityChange::Prune { audit_before, now });
        }
        if !ops.is_empty()
            && let Err(error) = api.ledger.write(ops).await
        {
            tracing::warn!(%error, "which keys were used is not noted");
        }
    }
}
