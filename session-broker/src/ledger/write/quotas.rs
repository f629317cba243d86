//! How many sessions a user or a tenant holds at once: taken with a session's row, given back when it is
//! ending.

use super::sessions::Creates;
use crate::ledger::StoreError;
use crate::ledger::tx::Tx;
use nearlight_protocol::id::{TenantId, UserId};
use serde::Serialize;
use sqlx::Row;
use std::collections::{BTreeMap, HashSet};

pub(super) const OPEN: &str = "
    INSERT INTO quota (user_id, used) SELECT r.user_id, 0 FROM {rows user_id text}
    WHERE TRUE ON CONFLICT DO NOTHING";

pub(super) const TAKE: &str = "
    UPDATE quota SET used = quota.used + r.n FROM {rows user_id text, n bigint, cap bigint}
    WHERE quota.user_id = r.user_id AND quota.used <= r.cap - r.n
    RETURNING quota.user_id AS user_id";

pub(super) const RETURN: &str = "
    UPDATE quota SET used = CASE WHEN quota.used > r.n THEN quota.used - r.n ELSE 0 END
    FROM {rows user_id text, n bigint} WHERE quota.user_id = r.user_id";

/// Whose quota it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holder {
    User,
    Tenant,
}

#[derive(Debug, Serialize)]
pub(super) struct Quota<'a> {
    pub(super) user_id: &'a str,
    pub(super) n: i64,
    pub(super) cap: i64,
}

/// Those within their holder's quota, and those beyond it. Per holder all at once; where that is too
/// much, one by one in their order.
pub(super) async fn take<'a>(
    tx: &mut Tx,
    creates: Creates<'a>,
    of: Holder,
) -> Result<(Creates<'a>, Creates<'a>), StoreError> {
    let mut by_holder: BTreeMap<&str, Quota<'_>> = BTreeMap::new();
    for (_, create) in &creates {
        let Some((user_id, cap)) = create.place(of) else {
            continue;
        };
        let quota = by_holder
            .entry(user_id)
            .or_insert(Quota { user_id, n: 0, cap });
        quota.n += create.counts_as;
        quota.cap = quota.cap.min(cap);
    }
    let mut wanted: Vec<Quota<'_>> = by_holder.into_values().collect();
    let mut taken = HashSet::new();
    // Most users have a row.
    take_together(tx, &mut wanted, &mut taken).await?;
    if tx.run(OPEN, &wanted).await? > 0 {
        take_together(tx, &mut wanted, &mut taken).await?;
    }
    let (mut within, mut beyond) = (Vec::new(), Vec::new());
    for create in creates {
        let Some((user_id, cap)) = create.1.place(of) else {
            within.push(create);
            continue;
        };
        let n = create.1.counts_as;
        let one = Quota { user_id, n, cap };
        if taken.contains(user_id) || !tx.ask(TAKE, &[one]).await?.is_empty() {
            within.push(create);
        } else {
            beyond.push(create);
        }
    }
    Ok((within, beyond))
}

/// Moves those that are within their quotas.
async fn take_together(
    tx: &mut Tx,
    wanted: &mut Vec<Quota<'_>>,
    taken: &mut HashSet<String>,
) -> Result<(), StoreError> {
    let rows = tx.ask(TAKE, wanted).await?;
    taken.extend(rows.iter().map(|row| row.get::<String, _>("user_id")));
    wanted.retain(|quota| !taken.contains(quota.user_id));
    Ok(())
}

/// A place that a user or a tenant has again.
#[derive(Debug)]
pub(crate) struct Return<'a>(&'a str);

impl<'a> Return<'a> {
    pub(super) const fn to(holder: &'a str) -> Self {
        Self(holder)
    }

    pub(in crate::ledger) fn of(
        user: &'a UserId,
        tenant: Option<&'a TenantId>,
    ) -> impl Iterator<Item = Self> {
        std::iter::once(user.as_str())
            .chain(tenant.map(TenantId::as_str))
            .map(Self)
    }
}

pub(crate) async fn give_back(tx: &mut Tx, returns: Vec<Return<'_>>) -> Result<(), StoreError> {
    let mut by_user: BTreeMap<&str, i64> = BTreeMap::new();
    for Return(user) in returns {
        *by_user.entry(user).or_default() += 1;
    }
    let quota = |(user_id, n)| Quota { user_id, n, cap: 0 };
    let rows: Vec<Quota<'_>> = by_user.into_iter().map(quota).collect();
    tx.run(RETURN, &rows).await?;
    Ok(())
}
