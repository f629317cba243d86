//! What tenants have outside. Changes come one by one: they are few.

use crate::ledger::batch::Answers;
use crate::ledger::dialect::Foreign;
use crate::ledger::identity::AuditRow;
use crate::ledger::outside::{OutsideChange, OwnerId, RegistryRow};
use crate::ledger::phase_row::ms;
use crate::ledger::plan::At;
use crate::ledger::tx::{Tx, json};
use crate::ledger::{Applied, StoreError};
use serde::Serialize;

const PUT_REGISTRY: &str = "
    INSERT INTO registry_login (owner, registry, username, sealed, created_ms)
    SELECT r.owner, r.registry, r.username, r.sealed, r.at
    FROM {rows owner text, registry text, username text, sealed text, at bigint, most bigint}
    WHERE (SELECT COUNT(*) FROM registry_login l WHERE l.owner = r.owner
        AND l.registry <> r.registry AND l.sealed IS NOT NULL) < r.most
    ON CONFLICT (owner, registry) DO UPDATE SET username = excluded.username,
        sealed = excluded.sealed, created_ms = excluded.created_ms";

const REMOVE_REGISTRY: &str = "
    UPDATE registry_login SET sealed = NULL, username = ''
    FROM {rows owner text, registry text}
    WHERE registry_login.owner = r.owner AND registry_login.registry = r.registry
        AND {still registry_login.sealed IS NOT NULL}";

const PUT_POLICY: &str = "
    INSERT INTO image_policy (owner, allow, image_key) SELECT r.owner, r.allow, r.image_key
    FROM {rows owner text, allow text, image_key text} WHERE TRUE
    ON CONFLICT (owner) DO UPDATE SET allow = excluded.allow, image_key = excluded.image_key";

/// A change and its line of the audit log.
pub(crate) type Change<'a> = (At, &'a OutsideChange, Option<&'a AuditRow>);

pub(crate) async fn change(
    tx: &mut Tx,
    changes: &[Change<'_>],
    answers: &mut Answers,
) -> Result<(), StoreError> {
    for (at, change, audit) in changes {
        let applied = carry_out(tx, change).await?;
        super::identity::answer(tx, (*at, applied), *audit, answers).await?;
    }
    Ok(())
}

async fn carry_out(tx: &mut Tx, change: &OutsideChange) -> Result<Applied, StoreError> {
    match change {
        OutsideChange::PutRegistry { owner, row, most } => {
            let put = tx.run(PUT_REGISTRY, &[Put::of(owner, row, *most)]).await?;
            Ok(done_or(put > 0, Applied::QuotaUsedUp))
        }
        OutsideChange::RemoveRegistry { owner, registry } => {
            let named = Named {
                owner: owner.as_str(),
                registry: Foreign(registry),
            };
            let removed = tx.run(REMOVE_REGISTRY, &[named]).await?;
            Ok(done_or(removed > 0, Applied::Missing))
        }
        OutsideChange::PutImagePolicy { owner, policy } => {
            let row = Policy {
                owner: owner.as_str(),
                allow: json(&policy.allow)?,
                image_key: policy.key.as_deref().map(Foreign),
            };
            tx.run(PUT_POLICY, &[row]).await?;
            Ok(Applied::Done)
        }
        other => Ok(super::webhooks::change(tx, other)
            .await?
            .unwrap_or(Applied::Missing)),
    }
}

fn done_or(done: bool, otherwise: Applied) -> Applied {
    if done { Applied::Done } else { otherwise }
}

#[derive(Serialize)]
struct Put<'a> {
    owner: &'a str,
    registry: Foreign<'a>,
    username: Foreign<'a>,
    sealed: &'a str,
    at: i64,
    most: u32,
}

impl<'a> Put<'a> {
    fn of(owner: &'a OwnerId, row: &'a RegistryRow, most: u32) -> Self {
        Self {
            owner: owner.as_str(),
            registry: Foreign(&row.registry),
            username: Foreign(&row.username),
            sealed: &row.sealed.0,
            at: ms(row.created_ms),
            most,
        }
    }
}

#[derive(Serialize)]
struct Policy<'a> {
    owner: &'a str,
    allow: String,
    image_key: Option<Foreign<'a>>,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    owner: &'a str,
    registry: Foreign<'a>,
}
