//! Who asks: a guest or a player by cookie, or an API key. Secrets are looked up by their hash.

use super::Api;
use super::cookies::{self, GUEST, PLAYER};
use super::identities::{Known, Turn};
use super::problem::{Refusal, forbidden, not_found, store_failed, too_many, unauthenticated};
use super::serve::Peer;
use crate::access::{Permission, Permissions, Reach};
use crate::ledger::{
    AuditRow, Credential, CredentialHash, IdentityChange, Op, OwnerId, StoreError,
};
use crate::secret::{certified_hash, credential_hash};
use crate::sessions::{ShownSession, Whose};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nearlight_kit::network::network_of;
use nearlight_kit::pki::CheckerName;
use nearlight_protocol::api::Role;
use nearlight_protocol::id::{KeyId, SessionId, TenantId, UserId};
use nearlight_protocol::identity::{AuditAction, AuditOutcome};
use nearlight_protocol::limits::GUEST_SESSIONS_MAX;
use std::net::IpAddr;
use std::sync::Arc;

/// Longest secret that is worth hashing.
const SECRET_BYTES_MAX: usize = 256;

/// Whose rate it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RateKey {
    /// A known caller's.
    User(UserId),
    /// An API key's.
    Key(KeyId),
    /// That of a tenant's members together.
    Tenant(TenantId),
    /// An address's; of IPv6 the network, for a host has 2^64 of them.
    Address(IpAddr),
}

impl RateKey {
    pub(super) fn of(peer: Peer) -> Self {
        Self::Address(network_of(peer.0.ip()))
    }
}

/// A known caller, within its rate.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: UserId,
    pub(super) role: Role,
    pub(super) permissions: Permissions,
    pub(super) who: Arc<Credential>,
    /// Who it is by its certificate, if it is a checker.
    pub(super) checker: Option<CheckerName>,
    /// The caller, and the guests that they were.
    users: Arc<[UserId]>,
    peer: Peer,
}

/// Who showed a certificate of our CA, on the node listener or at the broker that handed the request on.
#[derive(Clone, Debug)]
pub(super) struct Certified(pub(super) CheckerName);

impl Caller {
    pub(super) fn new(who: Arc<Credential>, peer: Peer) -> Self {
        let users = std::iter::once(&who.user).chain(&who.former);
        Self {
            user: who.user.clone(),
            role: who.role,
            permissions: Permissions::of(who.role, who.scopes.as_deref()),
            users: users.cloned().collect(),
            checker: None,
            who,
            peer,
        }
    }

    pub(super) fn tenant(&self) -> Option<&TenantId> {
        self.who.tenant.as_ref().map(|of| &of.tenant)
    }

    /// Whose registries its jobs pull from: its tenant's, or its own.
    pub(super) fn owner(&self) -> OwnerId {
        OwnerId::of(self.tenant(), &self.user)
    }

    /// The sessions within its reach.
    pub(super) fn whose(&self) -> Whose<'_> {
        match (Reach::of(self.role), self.tenant()) {
            (Reach::All, _) => Whose::Everyones,
            (Reach::Tenant, Some(tenant)) => Whose::Tenant(tenant),
            (Reach::Tenant, None) | (Reach::Own, _) => Whose::Users(&self.users),
        }
    }

    /// Whether a session is within its reach.
    pub(super) fn may_use(&self, session: &ShownSession) -> bool {
        self.whose().has(session)
    }

    /// Whether a session is its own.
    pub(super) fn owns(&self, session: &ShownSession) -> bool {
        self.is(&session.user)
    }

    /// Whether this is the caller, or a guest that they were.
    pub(super) fn is(&self, user: &UserId) -> bool {
        self.users.contains(user)
    }

    /// Refuses what it may not do, whatever it is done to.
    pub(super) fn check(&self, permission: Permission) -> Result<(), Refusal> {
        if self.permissions.has(permission) {
            return Ok(());
        }
        Err(forbidden(match permission.scope() {
            Some(scope) if permission.is_of(self.role) => {
                format!("The key lacks the scope `{}`.", scope.name())
            }
            Some(_) | None => format!("The role `{}` may not do this.", self.role.name()),
        }))
    }

    /// Sessions that it may hold: as a user, and with its tenant's other members.
    pub(super) fn quotas(&self, players_max: u32) -> [Option<u32>; 2] {
        let of_role = match self.role {
            Role::Guest => Some(GUEST_SESSIONS_MAX),
            Role::Player if self.who.key.is_none() => Some(players_max),
            Role::Player | Role::Tenant | Role::Operator | Role::Admin => None,
        };
        let of_tenant = self.who.tenant.as_ref().and_then(|of| of.sessions_max);
        [self.who.sessions_max.or(of_role), of_tenant]
    }

    /// A line for the audit log.
    pub(super) fn audit(
        &self,
        api: &Api,
        action: AuditAction,
        subject: impl ToString,
        detail: impl Into<String>,
    ) -> Box<AuditRow> {
        Box::new(AuditRow {
            at_ms: api.clock.unix_ms(),
            request: nearlight_kit::problem::current_request().to_string(),
            user: Some(self.user.clone()),
            role: Some(self.role),
            key: self.who.key.clone(),
            tenant: self.tenant().cloned(),
            address: Some(self.peer.0.ip().to_string()),
            action,
            subject: subject.to_string(),
            outcome: AuditOutcome::Done,
            detail: detail.into(),
        })
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let peer = Peer::of(&parts.extensions);
        if let Some(Certified(name)) = parts.extensions.get() {
            return api.certified(name, peer).await;
        }
        let caller = api.caller(&parts.headers, peer).await?;
        caller.ok_or_else(nobody)
    }
}

/// The caller is not known.
pub(super) fn nobody() -> Refusal {
    unauthenticated(
        "Send `Authorization: Bearer` with an API key, become a guest with GET /v1/whoami, or log \
         in; GET /v1/login/options says what this broker takes.",
    )
}

impl Api {
    /// Whoever the headers name. `None` if they name nobody, or somebody by a cookie that is not known.
    pub(super) async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Peer,
    ) -> Result<Option<Caller>, Refusal> {
        if let Some(key) = bearer(headers) {
            return self.key_owner(key, peer).await.map(Some);
        }
        for secret in cookies::shown(headers, [PLAYER, GUEST], self.https) {
            let found = self.cookie_owner(secret, peer).await?;
            let allowed = |who: &Arc<Credential>| who.role != Role::Guest || self.guests;
            if let Some(who) = found.filter(allowed) {
                return self.let_in(who, peer).map(Some);
            }
        }
        Ok(None)
    }

    /// Whose cookie this is, whatever they may do. One that cannot be ours is nobody's: anybody may have set it.
    pub(super) async fn cookie_owner(
        &self,
        secret: &str,
        peer: Peer,
    ) -> Result<Option<Arc<Credential>>, Refusal> {
        match credential_hash_of(secret) {
            Some(hash) => self.look_up(hash, peer).await,
            None => Ok(None),
        }
    }

    /// The caller of an API key.
    pub(super) async fn key_owner(&self, key: &str, peer: Peer) -> Result<Caller, Refusal> {
        let too_long = || unauthenticated("The secret is longer than any of ours.");
        let hash = credential_hash_of(key).ok_or_else(too_long)?;
        let found = self.look_up(hash, peer).await?;
        let wrong = || {
            unauthenticated(
                "The API key is not one of ours, or is no longer valid. Ask whoever gave it to you for a new one.",
            )
        };
        let who = found.ok_or_else(wrong)?;
        if let Some(key) = &who.key {
            self.identities.used(key, self.clock.unix_ms());
        }
        self.let_in(who, peer)
    }

    /// The checker of a certificate, for as long as its account holds.
    pub(super) async fn certified(
        &self,
        name: &CheckerName,
        peer: Peer,
    ) -> Result<Caller, Refusal> {
        let found = self.look_up(certified_hash(&name.account), peer).await?;
        let void = || {
            unauthenticated(
                "The checker was shut out, or came in again and has another certificate since. It can come in with a new \
                 token: `checker join`.",
            )
        };
        let who = found.ok_or_else(void)?;
        self.identities.used(&name.account, self.clock.unix_ms());
        let caller = self.let_in(who, peer)?;
        Ok(Caller {
            checker: Some(name.clone()),
            ..caller
        })
    }

    fn let_in(&self, who: Arc<Credential>, peer: Peer) -> Result<Caller, Refusal> {
        if who.tenant.as_ref().is_some_and(|of| of.suspended) {
            return Err(forbidden(
                "The tenant is suspended. Its sessions go on; ask the operator.",
            ));
        }
        let caller = Caller::new(who, peer);
        self.check_rate(&caller)?;
        Ok(caller)
    }

    /// Whether a caller of a while ago would still be let in. No rate stands in the way: nobody asks here for what
    /// they do not know, and a flood of their own address' would keep them in.
    pub(super) async fn still_holds(&self, caller: &Caller) -> bool {
        match self.find(caller.who.hash).await {
            Ok(found) => found.is_some_and(|who| self.is_in_force(&who)),
            // The ledger is away: who was let in stays.
            Err(_) => true,
        }
    }

    /// Whether whoever asked for a ticket may still be let in: by the hash of what they showed, as the ticket has
    /// it. One without is of a broker that did not write it.
    pub(crate) async fn maker_holds(&self, by: &str, peer: Peer) -> Result<bool, Refusal> {
        if let Some(holds) = self.maker_held(by) {
            return Ok(holds);
        }
        let Some(hash) = hash_by(by) else {
            return Ok(false);
        };
        // Tickets of a key that is void cost whoever goes on sending them.
        let was_let_in = self.is_known_or_within_rate(&hash, peer)?;
        match self.find(hash).await {
            Ok(found) => Ok(found.is_some_and(|who| self.is_in_force(&who))),
            // The ledger is away: who was let in stays.
            Err(_) if was_let_in => Ok(true),
            Err(error) => Err(store_failed(&error)),
        }
    }

    /// The same, as far as it was looked up of late: nothing is asked.
    pub(crate) fn maker_held(&self, by: &str) -> Option<bool> {
        if by.is_empty() {
            return Some(true);
        }
        let now = self.clock.now();
        match hash_by(by) {
            None => Some(false),
            Some(hash) if self.identities.is_void(&hash, now) => Some(false),
            Some(hash) => match self.identities.known(&hash, now) {
                Known::Holds(who) => Some(self.is_in_force(&who)),
                Known::InDoubt | Known::Nothing => None,
            },
        }
    }

    fn is_in_force(&self, who: &Credential) -> bool {
        let now_ms = self.clock.unix_ms();
        who.expires_ms.is_none_or(|end_ms| end_ms > now_ms)
            && who.tenant.as_ref().is_none_or(|of| !of.suspended)
    }

    /// A session within the caller's reach. What is not is answered like what does not exist.
    pub(super) fn session_of(
        &self,
        caller: &Caller,
        permission: Permission,
        id: &SessionId,
    ) -> Result<ShownSession, Refusal> {
        caller.check(permission)?;
        let session = self.sessions.directory().session(id);
        let session = session.filter(|session| caller.may_use(session));
        session.ok_or_else(|| not_found("session"))
    }

    /// Refuses what the caller may not do, and notes the attempt in the audit log.
    pub(super) async fn check_noted(
        &self,
        caller: &Caller,
        permission: Permission,
        action: AuditAction,
        subject: &str,
    ) -> Result<(), Refusal> {
        let Err(refusal) = caller.check(permission) else {
            return Ok(());
        };
        self.note_denied(caller, action, subject).await?;
        Err(refusal)
    }

    /// Notes in the audit log that a caller was denied something. A flood of attempts is not noted whole.
    pub(super) async fn note_denied(
        &self,
        caller: &Caller,
        action: AuditAction,
        subject: &str,
    ) -> Result<(), Refusal> {
        let key = RateKey::User(caller.user.clone());
        if self.rates.denials.take(key, self.clock.now()).is_err() {
            return Ok(());
        }
        let row = AuditRow {
            outcome: AuditOutcome::Denied,
            ..*caller.audit(self, action, subject, "")
        };
        self.note(Box::new(row)).await
    }

    /// Puts a line into the audit log that no change of the ledger comes with.
    pub(super) async fn note(&self, row: Box<AuditRow>) -> Result<(), Refusal> {
        let note = Op::Identity {
            change: IdentityChange::Nothing,
            audit: Some(row),
        };
        let written = self.ledger.write(vec![note]).await;
        written.map(drop).map_err(|e| store_failed(&e))
    }

    /// An administrator's own tools are not held up: whoever has that key needs no flood.
    fn check_rate(&self, caller: &Caller) -> Result<(), Refusal> {
        let rates = &self.rates;
        self.take_rates(caller, [&rates.requests, &rates.keys, &rates.tenants])
    }

    /// Takes from the caller's rate of what costs more than an answer.
    pub(super) fn check_create_rate(&self, caller: &Caller) -> Result<(), Refusal> {
        let rates = &self.rates;
        self.take_rates(
            caller,
            [&rates.creates, &rates.key_creates, &rates.tenant_creates],
        )
    }

    /// From the rates of users, of keys and of tenants.
    fn take_rates(
        &self,
        caller: &Caller,
        [users, keys, tenants]: [&crate::rate::RateLimit<RateKey>; 3],
    ) -> Result<(), Refusal> {
        match caller.role {
            Role::Admin => return Ok(()),
            Role::Guest | Role::Player | Role::Tenant | Role::Operator => {}
        }
        let now = self.clock.now();
        match &caller.who.key {
            Some(key) => keys.take(RateKey::Key(key.clone()), now),
            None => users.take(RateKey::User(caller.user.clone()), now),
        }
        .map_err(too_many)?;
        match caller.tenant() {
            Some(tenant) => tenants.take(RateKey::Tenant(tenant.clone()), now),
            None => Ok(()),
        }
        .map_err(too_many)
    }

    pub(super) fn within_rate(&self, key: RateKey) -> Result<(), Refusal> {
        self.rates
            .requests
            .take(key, self.clock.now())
            .map_err(too_many)
    }

    /// The credential of this hash, if it holds.
    async fn look_up(
        &self,
        hash: CredentialHash,
        peer: Peer,
    ) -> Result<Option<Arc<Credential>>, Refusal> {
        self.is_known_or_within_rate(&hash, peer)?;
        let found = self.find(hash).await.map_err(|e| store_failed(&e))?;
        let now_ms = self.clock.unix_ms();
        Ok(found.filter(|who| who.expires_ms.is_none_or(|end_ms| end_ms > now_ms)))
    }

    /// Whether somebody was let in by this hash of late. A guess costs its address, before it costs us.
    fn is_known_or_within_rate(&self, hash: &CredentialHash, peer: Peer) -> Result<bool, Refusal> {
        match self.identities.known(hash, self.clock.now()) {
            Known::Holds(_) | Known::InDoubt => Ok(true),
            Known::Nothing => self.within_rate(RateKey::of(peer)).map(|()| false),
        }
    }

    /// The credential of this hash, as it is or was of late. One look-up at a time: whoever asks meanwhile has what
    /// comes of it.
    async fn find(&self, hash: CredentialHash) -> Result<Option<Arc<Credential>>, Arc<StoreError>> {
        loop {
            let now = self.clock.now();
            if let Known::Holds(who) = self.identities.known(&hash, now) {
                return Ok(Some(who));
            }
            if self.identities.is_void(&hash, now) {
                return Ok(None);
            }
            let look = match self.identities.turn(hash) {
                Turn::Ours(look) => look,
                Turn::Theirs(look) => match look.end().await {
                    Some(error) => return Err(error),
                    None => continue,
                },
            };
            return match self.ledger.credential(hash).await.map_err(Arc::new) {
                Ok(found) => {
                    let found = found.map(Arc::new);
                    look.found(found.clone(), self.clock.now());
                    Ok(found)
                }
                Err(error) => {
                    look.failed(error.clone());
                    Err(error)
                }
            };
        }
    }
}

/// The hash in a ticket, of what its maker showed.
fn hash_by(by: &str) -> Option<CredentialHash> {
    let hash = URL_SAFE_NO_PAD.decode(by).ok()?;
    CredentialHash::try_from(hash).ok()
}

/// The hash of a secret; `None` of one that is too long to be ours.
fn credential_hash_of(secret: &str) -> Option<CredentialHash> {
    (secret.len() <= SECRET_BYTES_MAX).then(|| credential_hash(secret))
}

/// The token of `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
