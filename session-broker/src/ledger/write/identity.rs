//! Tenants, keys, players and the audit log. Changes come one by one: they are few.

use super::prune::prune;
use super::tenants;
use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::identity::{AuditRow, CredentialHash, IdentityChange, KeyRow, Login, Secret};
use crate::ledger::phase_row::{hex, ms, to_ms};
use crate::ledger::plan::At;
use crate::ledger::tx::Tx;
use crate::ledger::{Applied, StoreError};
use nearlight_protocol::id::KeyId;
use nearlight_protocol::identity::Scope;
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use serde::Serialize;

const ADMINS: &str = "
    SELECT k.user_id FROM api_key k JOIN {rows role text, at bigint} ON k.role = r.role
    WHERE k.revoked_ms IS NULL AND (k.expires_ms IS NULL OR k.expires_ms > r.at)
    UNION ALL SELECT c.user_id FROM credential c WHERE c.role = 'admin' AND c.revoked_ms IS NULL
    LIMIT 1";

const ADD_KEY: &str = "
    INSERT INTO api_key (key_id, user_id, tenant_id, name, role, scopes, sessions_max, created_ms,
        expires_ms)
    SELECT r.key_id, r.user_id, r.tenant_id, r.name, r.role, r.scopes, r.sessions_max, r.at,
        r.expires_ms
    FROM {rows key_id text, user_id text, tenant_id text, name text, role text, scopes text,
        sessions_max bigint, at bigint, expires_ms bigint}
    WHERE TRUE";

const ADD_SECRET: &str = "
    INSERT INTO api_key_secret (hash, key_id, prefix, created_ms)
    SELECT r.hash, r.key_id, r.prefix, r.at
    FROM {rows hash text, key_id text, prefix text, at bigint} WHERE TRUE";

/// A tenant's; as many as it may have are enough to know.
const LIVE_KEYS: &str = "
    SELECT k.key_id FROM api_key k JOIN {rows tenant_id text, at bigint} ON k.tenant_id = r.tenant_id
    WHERE k.revoked_ms IS NULL AND (k.expires_ms IS NULL OR k.expires_ms > r.at) LIMIT 1000";

const LIVE_KEY: &str = "
    SELECT k.key_id FROM api_key k JOIN {rows key_id text, at bigint} ON k.key_id = r.key_id
    WHERE k.revoked_ms IS NULL AND (k.expires_ms IS NULL OR k.expires_ms > r.at)";

const END_SECRETS: &str = "
    UPDATE api_key_secret SET expires_ms =
        CASE WHEN api_key_secret.expires_ms < r.until THEN api_key_secret.expires_ms ELSE r.until END
    FROM {rows key_id text, until bigint} WHERE api_key_secret.key_id = r.key_id";

const FORGET_SECRETS: &str = "
    DELETE FROM api_key_secret WHERE key_id = (SELECT r.key_id FROM {rows key_id text})
        AND expires_ms <= (SELECT r.at FROM {rows at bigint})";

const REVOKE_KEY: &str = "
    UPDATE api_key SET revoked_ms = COALESCE(api_key.revoked_ms, r.at)
    FROM {rows key_id text, at bigint} WHERE api_key.key_id = r.key_id";

const USED_KEYS: &str = "
    UPDATE api_key SET last_used_ms = r.at FROM {rows key_id text, at bigint}
    WHERE api_key.key_id = r.key_id
        AND (api_key.last_used_ms IS NULL OR api_key.last_used_ms < r.at)";

/// The guest that logs in becomes the player, if it is still one.
const ADD_PLAYER_OF_GUEST: &str = "
    INSERT INTO player (user_id, issuer, subject, name, created_ms, last_login_ms)
    SELECT r.guest, r.issuer, r.subject, r.name, r.at, r.at
    FROM {rows guest text, issuer text, subject text, name text, at bigint}
    WHERE EXISTS (SELECT 1 FROM credential c WHERE c.user_id = r.guest AND c.role = 'guest'
        AND c.revoked_ms IS NULL) ON CONFLICT DO NOTHING";

const ADD_PLAYER: &str = "
    INSERT INTO player (user_id, issuer, subject, name, created_ms, last_login_ms)
    SELECT r.user_id, r.issuer, r.subject, r.name, r.at, r.at
    FROM {rows user_id text, issuer text, subject text, name text, at bigint}
    WHERE TRUE ON CONFLICT DO NOTHING";

const SEEN_PLAYER: &str = "
    UPDATE player SET name = r.name, last_login_ms = r.at
    FROM {rows issuer text, subject text, name text, at bigint}
    WHERE player.issuer = r.issuer AND player.subject = r.subject";

const ADD_LOGIN: &str = "
    INSERT INTO login (hash, user_id, created_ms, expires_ms)
    SELECT r.hash, p.user_id, r.at, r.expires_ms
    FROM {rows hash text, issuer text, subject text, at bigint, expires_ms bigint}
    JOIN player p ON p.issuer = r.issuer AND p.subject = r.subject
    WHERE TRUE ON CONFLICT DO NOTHING";

const LINK_GUEST: &str = "
    INSERT INTO player_guest (guest_id, user_id, linked_ms)
    SELECT r.guest, p.user_id, r.at
    FROM {rows guest text, issuer text, subject text, at bigint}
    JOIN player p ON p.issuer = r.issuer AND p.subject = r.subject
    WHERE p.user_id <> r.guest AND EXISTS (SELECT 1 FROM credential c WHERE c.user_id = r.guest
        AND c.role = 'guest' AND c.revoked_ms IS NULL) ON CONFLICT DO NOTHING";

const END_GUEST: &str = "
    UPDATE credential SET revoked_ms = r.at FROM {rows guest text, at bigint}
    WHERE credential.user_id = r.guest AND credential.role = 'guest'
        AND credential.revoked_ms IS NULL";

const END_LOGIN: &str = "
    UPDATE login SET ended_ms = COALESCE(login.ended_ms, r.at) FROM {rows hash text, at bigint}
    WHERE login.hash = r.hash";

const NOTE: &str = "
    INSERT INTO audit (at_ms, request_id, user_id, role, key_id, tenant_id, address, action, subject,
        outcome, detail)
    SELECT r.at, r.request_id, r.user_id, r.role, r.key_id, r.tenant_id, r.address, r.action,
        r.subject, r.outcome, r.detail
    FROM {rows at bigint, request_id text, user_id text, role text, key_id text, tenant_id text,
        address text, action text, subject text, outcome text, detail text} WHERE TRUE";

/// Keys of a tenant that hold at a time.
const KEYS_OF_TENANT_MAX: usize = 1_000;

/// A change and its line of the audit log.
pub(crate) type Change<'a> = (At, &'a IdentityChange, Option<&'a AuditRow>);

pub(crate) async fn change(
    tx: &mut Tx,
    changes: &[Change<'_>],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, change, audit) in changes {
        let applied = carry_out(tx, change).await?;
        answer(tx, (*at, applied), *audit, answers).await?;
    }
    Ok(())
}

/// The answer to a change; one that was done has its line of the audit log.
pub(super) async fn answer(
    tx: &mut Tx,
    (at, applied): (At, Applied),
    audit: Option<&AuditRow>,
    answers: &mut Answers,
) -> Result<(), StoreError> {
    if applied == Applied::Done
        && let Some(row) = audit
    {
        note(tx, row).await?;
    }
    answers.set(at, applied);
    Ok(())
}

/// A line of the audit log.
pub(super) async fn note(tx: &mut Tx, row: &AuditRow) -> Result<(), StoreError> {
    tx.run(NOTE, &[Note::of(row)?]).await?;
    Ok(())
}

async fn carry_out(tx: &mut Tx, change: &IdentityChange) -> Result<Applied, StoreError> {
    match change {
        IdentityChange::AddTenant(tenant) => tenants::add(tx, tenant).await,
        IdentityChange::SetTenant { tenant, change, at } => {
            tenants::set(tx, tenant, change, *at).await
        }
        IdentityChange::AddKey {
            key,
            secret,
            if_no_admin,
        } => add_key(tx, key, secret, *if_no_admin).await,
        IdentityChange::RotateKey {
            key,
            secret,
            former_until_ms,
            at,
        } => rotate_key(tx, key, secret, *former_until_ms, *at).await,
        IdentityChange::RevokeKey { key, at } => {
            let row = [KeyAt::of(key, to_ms(*at))];
            let revoked = tx.run(REVOKE_KEY, &row).await?;
            Ok(done_or(revoked > 0, Applied::Missing))
        }
        IdentityChange::UsedKeys(keys) => {
            let rows: Vec<_> = keys
                .iter()
                .map(|(key, at)| KeyAt::of(key, ms(*at)))
                .collect();
            tx.run(USED_KEYS, &rows).await?;
            Ok(Applied::Done)
        }
        IdentityChange::LogIn(login) => log_in(tx, login).await,
        IdentityChange::LogOut { hash, at } => {
            let ended = tx.run(END_LOGIN, &[HashAt::of(hash, *at)]).await?;
            Ok(done_or(ended > 0, Applied::Missing))
        }
        IdentityChange::Nothing => Ok(Applied::Done),
        IdentityChange::Prune { audit_before, now } => {
            prune(tx, *audit_before, *now).await?;
            Ok(Applied::Done)
        }
    }
}

pub(super) fn done_or(done: bool, otherwise: Applied) -> Applied {
    if done { Applied::Done } else { otherwise }
}

pub(super) async fn add_key(
    tx: &mut Tx,
    key: &KeyRow,
    secret: &Secret,
    if_no_admin: bool,
) -> Result<Applied, StoreError> {
    let row = [Key::of(key)];
    if if_no_admin && !tx.ask(ADMINS, &row).await?.is_empty() {
        return Ok(Applied::Skipped);
    }
    if key.tenant.is_some() && tx.ask(LIVE_KEYS, &row).await?.len() >= KEYS_OF_TENANT_MAX {
        return Ok(Applied::QuotaUsedUp);
    }
    tx.run(ADD_KEY, &row).await?;
    add_secret(tx, &key.id, secret, ms(key.created_ms)).await?;
    Ok(Applied::Done)
}

async fn rotate_key(
    tx: &mut Tx,
    key: &KeyId,
    secret: &Secret,
    former_until_ms: UnixMillis,
    at: MonoTime,
) -> Result<Applied, StoreError> {
    let row = [KeyAt {
        until: ms(former_until_ms),
        ..KeyAt::of(key, to_ms(at))
    }];
    if tx.ask(LIVE_KEY, &row).await?.is_empty() {
        return Ok(Applied::Missing);
    }
    tx.run(FORGET_SECRETS, &row).await?;
    tx.run(END_SECRETS, &row).await?;
    add_secret(tx, key, secret, to_ms(at)).await?;
    Ok(Applied::Done)
}

async fn add_secret(tx: &mut Tx, key: &KeyId, secret: &Secret, at: i64) -> Result<(), StoreError> {
    let row = SecretRow {
        hash: hex(&secret.hash),
        key_id: key.as_str(),
        prefix: &secret.prefix,
        at,
    };
    tx.run(ADD_SECRET, &[row]).await?;
    Ok(())
}

async fn log_in(tx: &mut Tx, login: &Login) -> Result<Applied, StoreError> {
    let row = [LoginRow::of(login)];
    let known = tx.run(SEEN_PLAYER, &row).await? > 0;
    if !known && (login.guest.is_none() || tx.run(ADD_PLAYER_OF_GUEST, &row).await? == 0) {
        tx.run(ADD_PLAYER, &row).await?;
    }
    let added = tx.run(ADD_LOGIN, &row).await?;
    if login.guest.is_some() {
        tx.run(LINK_GUEST, &row).await?;
        tx.run(END_GUEST, &row).await?;
    }
    Ok(done_or(added > 0, Applied::Missing))
}

#[derive(Debug, Serialize)]
struct Key<'a> {
    key_id: &'a str,
    user_id: &'a str,
    tenant_id: Option<&'a str>,
    name: Foreign<'a>,
    role: &'static str,
    scopes: String,
    sessions_max: Option<u32>,
    at: i64,
    expires_ms: Option<i64>,
}

impl<'a> Key<'a> {
    fn of(key: &'a KeyRow) -> Self {
        let scopes = key.scopes.iter().flatten();
        let scopes: Vec<&str> = scopes.map(|scope| Scope::name(*scope)).collect();
        Self {
            key_id: key.id.as_str(),
            user_id: key.user.as_str(),
            tenant_id: key.tenant.as_ref().map(|tenant| tenant.as_str()),
            name: Foreign(&key.name),
            role: key.role.name(),
            scopes: scopes.join(" "),
            sessions_max: key.sessions_max,
            at: ms(key.created_ms),
            expires_ms: key.expires_ms.map(ms),
        }
    }
}

#[derive(Debug, Serialize)]
struct SecretRow<'a> {
    hash: String,
    key_id: &'a str,
    prefix: &'a str,
    at: i64,
}

#[derive(Debug, Serialize)]
struct KeyAt<'a> {
    key_id: &'a str,
    at: i64,
    until: i64,
}

impl<'a> KeyAt<'a> {
    fn of(key: &'a KeyId, at: i64) -> Self {
        Self {
            key_id: key.as_str(),
            at,
            until: at,
        }
    }
}

#[derive(Debug, Serialize)]
struct HashAt {
    hash: String,
    at: i64,
}

impl HashAt {
    fn of(hash: &CredentialHash, at: MonoTime) -> Self {
        Self {
            hash: hex(hash),
            at: to_ms(at),
        }
    }
}

#[derive(Debug, Serialize)]
struct LoginRow<'a> {
    hash: String,
    issuer: Foreign<'a>,
    subject: Foreign<'a>,
    name: Foreign<'a>,
    user_id: &'a str,
    guest: Option<&'a str>,
    at: i64,
    expires_ms: i64,
}

impl<'a> LoginRow<'a> {
    fn of(login: &'a Login) -> Self {
        Self {
            hash: hex(&login.hash),
            issuer: Foreign(&login.issuer),
            subject: Foreign(&login.subject),
            name: Foreign(&login.name),
            user_id: login.user.as_str(),
            guest: login.guest.as_ref().map(|guest| guest.as_str()),
            at: ms(login.at_ms),
            expires_ms: ms(login.expires_ms),
        }
    }
}

#[derive(Debug, Serialize)]
struct Note<'a> {
    at: i64,
    request_id: &'a str,
    user_id: Option<&'a str>,
    role: Option<&'static str>,
    key_id: Option<&'a str>,
    tenant_id: Option<&'a str>,
    address: Option<&'a str>,
    action: String,
    subject: Foreign<'a>,
    outcome: String,
    detail: Foreign<'a>,
}

impl<'a> Note<'a> {
    fn of(row: &'a AuditRow) -> Result<Self, StoreError> {
        Ok(Self {
            at: ms(row.at_ms),
            request_id: &row.request,
            user_id: row.user.as_ref().map(|user| user.as_str()),
            role: row.role.map(|role| role.name()),
            key_id: row.key.as_ref().map(|key| key.as_str()),
            tenant_id: row.tenant.as_ref().map(|tenant| tenant.as_str()),
            address: row.address.as_deref(),
            action: word(&row.action)?,
            subject: Foreign(&row.subject),
            outcome: word(&row.outcome)?,
            detail: Foreign(&row.detail),
        })
    }
}

/// A unit variant by its name.
fn word(value: &impl Serialize) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(_) | Err(_) => Err(StoreError::Corrupt("a name is not a word".to_owned())),
    }
}
