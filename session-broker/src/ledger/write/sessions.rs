//! Sessions and their idempotency keys.

use super::jobs::{self, Job};
use super::quotas::{self, Holder};
use super::work::Columns;
use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::identity::priority_value;
use crate::ledger::phase_row::{PhaseRow, hex, parse, to_ms};
use crate::ledger::plan::At;
use crate::ledger::resources::{self, Amounts};
use crate::ledger::share::BrokerId;
use crate::ledger::tx::{Tx, json};
use crate::ledger::{Applied, Idempotency, SessionRow, StoreError, Wish};
use nearlight_protocol::id::{SessionId, TenantId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::lifecycle::Phase;
use serde::Serialize;
use sqlx::Row;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The phase that no other follows.
const ENDED: &str = "ended";

const TAKE_KEYS: &str = "
    INSERT INTO idempotency (user_id, idem_key, body_hash, session_id, created_ms)
    SELECT r.user_id, r.idem_key, r.body_hash, r.session_id, r.created_ms
    FROM {rows user_id text, idem_key text, body_hash text, session_id text, created_ms bigint}
    WHERE TRUE ON CONFLICT DO NOTHING
    RETURNING session_id";

const FIRST_WITH_KEYS: &str = "
    SELECT r.session_id AS asked, i.body_hash, i.session_id
    FROM {rows user_id text, idem_key text, session_id text}
    JOIN idempotency i ON i.user_id = r.user_id AND i.idem_key = r.idem_key";

const RETURN_KEYS: &str = "
    DELETE FROM idempotency WHERE (user_id, idem_key) IN
        (SELECT r.user_id, r.idem_key FROM {rows user_id text, idem_key text})";

const INSERT: &str = "
    INSERT INTO session (session_id, user_id, app_id, app_digest, display_width, display_height,
        display_hz, keyboard_layout, created_ms, phase, since_ms, node_id, slot_id, epoch, detail,
        starts_denied, holder, tenant_id, wish,
        priority, kind, gpus, cpu_milli, mem_mib)
    SELECT r.session_id, r.user_id, r.app_id, r.app_digest, r.display_width, r.display_height,
        r.display_hz, r.keyboard_layout, r.created_ms, r.phase, r.since_ms, r.node_id, r.slot_id,
        r.epoch, r.detail, r.starts_denied, r.holder, r.tenant_id, r.wish,
        r.priority, r.kind, r.gpus, r.cpu_milli, r.mem_mib
    FROM {rows session_id text, user_id text, app_id text, app_digest text, display_width bigint,
        display_height bigint, display_hz bigint, keyboard_layout text, created_ms bigint,
        phase text, since_ms bigint, node_id text, slot_id text, epoch bigint, detail text,
        starts_denied bigint, holder text, tenant_id text, wish text,
        priority bigint, kind text, gpus bigint, cpu_milli bigint, mem_mib bigint}
    WHERE TRUE";

const ADD_EDITIONS: &str = "
    INSERT INTO app_edition (digest, app) SELECT r.digest, r.app FROM {rows digest text, app text}
    WHERE TRUE ON CONFLICT DO NOTHING";

/// Of who holds it: that it was given to this broker may be lost, and the giver then has it (docs/adr/0049). Of an
/// ended session the last node stays on record.
const SAVE_PHASES: &str = "
    UPDATE session SET phase = r.phase, since_ms = r.since_ms, ready_ms = r.ready_ms,
        node_id = COALESCE(r.node_id, session.node_id), slot_id = r.slot_id, epoch = r.epoch,
        viewer = r.viewer, reason = r.reason, detail = r.detail, starts_denied = r.starts_denied,
        ended_ms = r.ended_ms
    FROM {rows session_id text, phase text, since_ms bigint, ready_ms bigint, node_id text,
        slot_id text, epoch bigint, viewer text, reason text, detail text, starts_denied bigint,
        ended_ms bigint, holder text}
    WHERE session.session_id = r.session_id AND {still session.phase <> 'ended'}
        AND {still session.holder = r.holder}";

/// What finds rows by their keys.
#[cfg(test)]
pub(in crate::ledger) const BY_KEY: &[&str] = &[
    FIRST_WITH_KEYS,
    RETURN_KEYS,
    quotas::TAKE,
    quotas::RETURN,
    quotas::TENANTS_HAVE,
    SAVE_PHASES,
];

/// A new session, its key and its places in the quotas.
#[derive(Debug, Serialize)]
pub(crate) struct Create<'a> {
    session_id: &'a str,
    user_id: &'a str,
    tenant_id: Option<&'a str>,
    app_id: &'a str,
    app_digest: String,
    display_width: u32,
    display_height: u32,
    display_hz: u32,
    keyboard_layout: Foreign<'a>,
    created_ms: i64,
    starts_denied: u8,
    holder: &'a str,
    wish: String,
    priority: i64,
    kind: &'static str,
    gpus: u64,
    cpu_milli: u64,
    mem_mib: u64,
    #[serde(skip)]
    phase: PhaseRow,
    /// The app's description; empty for a job.
    #[serde(skip)]
    app: String,
    #[serde(skip)]
    job: Option<Job<'a>>,
    #[serde(skip)]
    key: Foreign<'a>,
    #[serde(skip)]
    body_hash: String,
    /// Sessions that the user may hold, and the tenant's members together.
    #[serde(skip)]
    caps: [i64; 2],
    /// How many of these it is: a cluster is as many as it has replicas.
    #[serde(skip)]
    pub(super) counts_as: i64,
}

impl<'a> Create<'a> {
    pub(in crate::ledger) fn new(
        row: &'a SessionRow,
        idempotency: &'a Idempotency,
        quotas: [Option<u32>; 2],
        holder: &'a BrokerId,
    ) -> Result<Self, StoreError> {
        let Columns {
            kind,
            app_id,
            app_digest,
            app,
            display,
            keyboard_layout,
        } = Columns::of(&row.work)?;
        // A replica's are its cluster's, on the row of the first.
        let asked = match row.is_member() {
            true => Amounts::default(),
            false => resources::asked(&row.work),
        };
        Ok(Self {
            session_id: row.id.as_str(),
            user_id: row.user.as_str(),
            tenant_id: row.tenant.as_ref().map(TenantId::as_str),
            kind,
            app_id,
            app_digest,
            display_width: display.width,
            display_height: display.height,
            display_hz: display.hz,
            keyboard_layout: Foreign(keyboard_layout),
            created_ms: to_ms(row.created_at),
            phase: PhaseRow::of(&row.phase, row.created_at)?,
            starts_denied: row.starts_denied,
            holder: holder.as_str(),
            wish: wish_text(&row.wish)?,
            priority: priority_value(row.priority),
            gpus: asked.gpus,
            cpu_milli: asked.cpu_milli,
            mem_mib: asked.mem_mib,
            app,
            job: Job::of(row)?,
            key: Foreign(&idempotency.key),
            body_hash: hex(&idempotency.body_hash),
            caps: quotas.map(|quota| quota.map_or(i64::MAX, i64::from)),
            counts_as: row.work.job().map_or(1, |spec| spec.replicas().into()),
        })
    }

    /// The places that it took of these holders' quotas, one by one.
    fn places(&self, of: [Option<&'a str>; 2]) -> impl Iterator<Item = quotas::Return<'a>> {
        let places = usize::try_from(self.counts_as).unwrap_or(0);
        let of = of.into_iter().flatten();
        of.flat_map(move |holder| std::iter::repeat_n(holder, places).map(quotas::Return::to))
    }

    /// The tenant that it counts for.
    pub(super) const fn tenant(&self) -> Option<&'a str> {
        self.tenant_id
    }

    /// What it asks for.
    pub(super) const fn asked(&self) -> Amounts<u64> {
        Amounts {
            gpus: self.gpus,
            cpu_milli: self.cpu_milli,
            mem_mib: self.mem_mib,
        }
    }

    /// Whose quota it needs a place in, and how large that is.
    pub(super) fn place(&self, of: Holder) -> Option<(&'a str, i64)> {
        let [user, tenant] = self.caps;
        match of {
            Holder::User => Some((self.user_id, user)),
            Holder::Tenant => self.tenant_id.map(|id| (id, tenant)),
        }
    }
}

/// Nothing for a session of which nothing is known, as most are.
fn wish_text(wish: &Wish) -> Result<String, StoreError> {
    if *wish == Wish::default() {
        return Ok(String::new());
    }
    // JSON has no NUL: serde writes it as an escape, which PostgreSQL keeps in a text.
    json(wish)
}

#[derive(Debug, Serialize)]
struct Key<'a> {
    user_id: &'a str,
    idem_key: Foreign<'a>,
    body_hash: &'a str,
    session_id: &'a str,
    created_ms: i64,
}

impl<'a> Key<'a> {
    fn of(create: &'a Create<'_>) -> Self {
        Self {
            user_id: create.user_id,
            idem_key: create.key,
            body_hash: &create.body_hash,
            session_id: create.session_id,
            created_ms: create.created_ms,
        }
    }
}

#[derive(Debug, Serialize)]
struct Edition<'a> {
    digest: &'a str,
    app: &'a str,
}

impl Create<'_> {
    pub(super) const fn job(&self) -> Option<&Job<'_>> {
        self.job.as_ref()
    }
}

/// A new session's row.
#[derive(Debug, Serialize)]
pub(crate) struct New<'a> {
    #[serde(flatten)]
    create: &'a Create<'a>,
    #[serde(flatten)]
    phase: PhaseRow,
}

impl<'a> New<'a> {
    pub(super) fn job(&self) -> Option<&Job<'_>> {
        self.create.job()
    }

    pub(crate) fn queued(create: &'a Create<'a>) -> Self {
        let phase = create.phase.clone();
        Self { create, phase }
    }

    /// With the phase of the claim that came with it.
    pub(in crate::ledger) fn placed(
        create: &'a Create<'a>,
        phase: &Phase,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        let phase = PhaseRow::of(phase, at)?;
        Ok(Self { create, phase })
    }
}

pub(crate) type Creates<'a> = Vec<&'a (At, Create<'a>)>;

/// Takes key and quota of each, or says what it lacks. Those that have both: their rows are still to be
/// inserted.
pub(crate) async fn admit<'a>(
    tx: &mut Tx,
    creates: &'a [(At, Create<'a>)],
    answers: &mut Answers,
) -> Result<Creates<'a>, StoreError> {
    if creates.is_empty() {
        return Ok(Vec::new());
    }
    let (first, again) = take_keys(tx, creates).await?;
    if !again.is_empty() {
        answer_again(tx, &again, answers).await?;
    }
    let (within, beyond) = quotas::take(tx, first, Holder::User).await?;
    let (within, beyond_tenants) = quotas::take(tx, within, Holder::Tenant).await?;
    // After the tenant's row in `quota` is this transaction's: whoever asks beside it waits, and sees this one's.
    let (within, lacking) = quotas::within_tenants(tx, within).await?;
    let mut returned = Vec::new();
    for (_, create) in &beyond_tenants {
        returned.extend(create.places([Some(create.user_id), None]));
    }
    for ((_, create), _) in &lacking {
        returned.extend(create.places([Some(create.user_id), create.tenant_id]));
    }
    quotas::give_back(tx, returned).await?;
    let lacking_alone = lacking.iter().map(|(create, _)| create);
    let refused = beyond.iter().chain(&beyond_tenants).chain(lacking_alone);
    let keys: Vec<Key<'_>> = refused.map(|(_, create)| Key::of(create)).collect();
    tx.run(RETURN_KEYS, &keys).await?;
    for ((at, _), beyond) in lacking {
        answers.set(*at, Applied::BeyondTenant(beyond));
    }
    for (at, _) in beyond {
        answers.set(*at, Applied::QuotaUsedUp);
    }
    for (at, _) in beyond_tenants {
        answers.set(*at, Applied::TenantQuotaUsedUp);
    }
    add_editions(tx, &within).await?;
    Ok(within)
}

/// An app's edition, unless this connection has seen it in the ledger.
pub(super) async fn add_edition(tx: &mut Tx, digest: &str, app: &str) -> Result<(), StoreError> {
    if !tx.knows(digest) {
        tx.run(ADD_EDITIONS, &[Edition { digest, app }]).await?;
        tx.learn(digest);
    }
    Ok(())
}

/// Of apps that this connection has not seen in the ledger yet.
async fn add_editions(tx: &mut Tx, creates: &Creates<'_>) -> Result<(), StoreError> {
    let mut new: BTreeMap<&str, Edition<'_>> = BTreeMap::new();
    for (_, create) in creates {
        let Create {
            app_digest, app, ..
        } = create;
        if create.job.is_none() && !tx.knows(app_digest) {
            new.insert(
                app_digest,
                Edition {
                    digest: app_digest,
                    app,
                },
            );
        }
    }
    let rows: Vec<&Edition<'_>> = new.values().collect();
    tx.run(ADD_EDITIONS, &rows).await?;
    for digest in new.into_keys() {
        tx.learn(digest);
    }
    Ok(())
}

/// Inserts the rows of those that were admitted.
pub(crate) async fn insert(tx: &mut Tx, rows: &[New<'_>]) -> Result<(), StoreError> {
    tx.run(INSERT, rows).await?;
    jobs::add_of(tx, rows).await
}

/// Those whose key is new, and the others.
async fn take_keys<'a>(
    tx: &mut Tx,
    creates: &'a [(At, Create<'a>)],
) -> Result<(Creates<'a>, Creates<'a>), StoreError> {
    let keys: Vec<Key<'_>> = creates.iter().map(|(_, create)| Key::of(create)).collect();
    let taken = tx.ask(TAKE_KEYS, &keys).await?;
    let taken: HashSet<String> = taken.iter().map(|row| row.get("session_id")).collect();
    let is_new = |create: &&(At, Create<'_>)| taken.contains(create.1.session_id);
    Ok(creates.iter().partition(is_new))
}

/// The keys were there: whether they stand for the same requests.
async fn answer_again(
    tx: &mut Tx,
    again: &[&(At, Create<'_>)],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let keys: Vec<Key<'_>> = again.iter().map(|(_, create)| Key::of(create)).collect();
    let asked: HashMap<&str, &(At, Create<'_>)> =
        again.iter().map(|c| (c.1.session_id, *c)).collect();
    for row in tx.ask(FIRST_WITH_KEYS, &keys).await? {
        let Some((at, create)) = asked.get(row.get::<&str, _>("asked")) else {
            continue;
        };
        let applied = if row.get::<&str, _>("body_hash") == create.body_hash {
            let session = parse(row.get("session_id"))?;
            Applied::Replayed { session }
        } else {
            Applied::KeyReused
        };
        answers.set(*at, applied);
    }
    Ok(())
}

/// A session's phase.
#[derive(Debug, Serialize)]
pub(crate) struct SavePhase<'a> {
    session_id: &'a str,
    holder: &'a str,
    starts_denied: u8,
    #[serde(flatten)]
    row: PhaseRow,
}

impl<'a> SavePhase<'a> {
    pub(in crate::ledger) fn new(
        (session, holder): (&'a SessionId, &'a BrokerId),
        phase: &Phase,
        starts_denied: u8,
        at: MonoTime,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: session.as_str(),
            holder: holder.as_str(),
            starts_denied,
            row: PhaseRow::of(phase, at)?,
        })
    }

    /// As if it were saved after this one.
    fn take_over(&mut self, later: Self) {
        // Of an ended session the last node stays on record.
        let node = later.row.node_id.or_else(|| self.row.node_id.take());
        self.starts_denied = later.starts_denied;
        self.row = PhaseRow {
            node_id: node,
            ..later.row
        };
    }
}

/// Phases to be saved: of several of one session, the last; nothing follows its end.
#[derive(Debug, Default)]
pub(crate) struct Phases<'a>(BTreeMap<&'a str, SavePhase<'a>>);

impl<'a> Phases<'a> {
    pub(in crate::ledger) fn add(&mut self, save: SavePhase<'a>) {
        match self.0.entry(save.session_id) {
            Entry::Vacant(free) => {
                free.insert(save);
            }
            Entry::Occupied(mut former) if former.get().row.phase != ENDED => {
                former.get_mut().take_over(save);
            }
            Entry::Occupied(_) => {}
        }
    }
}

pub(crate) async fn save_phases(tx: &mut Tx, phases: Phases<'_>) -> Result<(), StoreError> {
    let rows: Vec<SavePhase<'_>> = phases.0.into_values().collect();
    tx.run(SAVE_PHASES, &rows).await?;
    Ok(())
}
