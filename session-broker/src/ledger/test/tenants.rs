//! Tenants: their names, and changes that say a part.

use super::identity::{change, tenant_row};
use super::place::Place;
use super::*;
use nearlight_protocol::identity::TenantChange;

pub(super) fn set_tenant(tenant: &TenantId, said: TenantChange) -> Op {
    change(IdentityChange::SetTenant {
        tenant: tenant.clone(),
        change: Box::new(said),
        at: MonoTime(9_000),
    })
}

pub(super) async fn a_tenants_name_is_its_own(place: Place) {
    let store = Store::open(place).await;
    let (a, b) = (tenant_row("a"), tenant_row("b"));
    for tenant in [&a, &b] {
        let add = change(IdentityChange::AddTenant(tenant.clone()));
        assert_eq!(store.write(add).await, Applied::Done);
    }
    let again = change(IdentityChange::AddTenant(tenant_row("a")));
    assert_eq!(store.write(again).await, Applied::NameTaken);
    let set = |id: &TenantId, name: &str, suspended| {
        let said = TenantChange {
            name: Some(name.to_owned()),
            suspended: Some(suspended),
            sessions_max: Some(None),
            priority: Some(Priority::High),
            ..TenantChange::default()
        };
        set_tenant(id, said)
    };
    assert_eq!(
        store.write(set(&a.id, "b", false)).await,
        Applied::NameTaken
    );
    assert_eq!(store.write(set(&a.id, "a", true)).await, Applied::Done);
    let nobody = nearlight_kit::ids::tenant();
    assert_eq!(
        store.write(set(&nobody, "n", false)).await,
        Applied::Missing
    );
    let found = store.ledger.tenants(Of::Tenant(a.id)).await.unwrap();
    assert!(found[0].suspended && found[0].sessions_max.is_none());
    assert_eq!(found[0].priority, Priority::High);
}

/// Two who change one tenant at once, and neither has read what the other has written.
pub(super) async fn what_is_not_said_of_a_tenant_stays(place: Place) {
    let store = Store::open(place).await;
    let tenant = tenant_row("a");
    let shown = async || {
        let found = store.ledger.tenants(Of::Tenant(tenant.id.clone())).await;
        found.unwrap().remove(0)
    };
    let suspend = TenantChange {
        suspended: Some(true),
        ..TenantChange::default()
    };
    let limit = TenantChange {
        gpus_max: Some(Some(7)),
        mem_mib_max: Some(Some(9)),
        budget_micro_per_month: Some(None),
        ..TenantChange::default()
    };
    let ops = vec![
        change(IdentityChange::AddTenant(tenant.clone())),
        set_tenant(&tenant.id, suspend),
        set_tenant(&tenant.id, limit),
    ];
    let applied = store.ledger.write(ops).await.unwrap();
    assert_eq!(applied, [Applied::Done, Applied::Done, Applied::Done]);
    let both = TenantRow {
        suspended: true,
        max: Amounts {
            gpus: Some(7),
            mem_mib: Some(9),
            ..tenant.max
        },
        budget_micro_month: None,
        ..tenant.clone()
    };
    assert_eq!(shown().await, both);
    let lift = TenantChange {
        suspended: Some(false),
        gpus_max: Some(None),
        ..TenantChange::default()
    };
    assert_eq!(
        store.write(set_tenant(&tenant.id, lift)).await,
        Applied::Done
    );
    let lifted = TenantRow {
        suspended: false,
        max: Amounts {
            gpus: None,
            ..both.max
        },
        ..both
    };
    assert_eq!(shown().await, lifted);
}
