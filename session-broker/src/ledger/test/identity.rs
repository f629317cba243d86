//! Tenants, keys, players and the audit log, as the ledger keeps them.

use super::place::Place;
use super::*;
use nearlight_protocol::api::Role;
use nearlight_protocol::identity::{AuditAction, AuditOutcome, Priority, Scope};

pub(super) fn tenant_row(name: &str) -> TenantRow {
    TenantRow {
        id: nearlight_kit::ids::tenant(),
        name: name.to_owned(),
        sessions_max: Some(1),
        sessions_used: 0,
        max: Amounts {
            gpus: Some(2),
            cpu_milli: Some(64_000),
            mem_mib: None,
        },
        used: Amounts::default(),
        suspended: false,
        priority: Priority::Normal,
        budget_micro_month: Some(9_000_000),
        created_ms: 1,
    }
}

fn key_row(role: Role, tenant: Option<&TenantRow>) -> KeyRow {
    KeyRow {
        id: nearlight_kit::ids::key(),
        user: nearlight_kit::ids::user(),
        tenant: tenant.map(|row| row.id.clone()),
        name: "k\0".to_owned(),
        role,
        scopes: Some(vec![Scope::KeysRead, Scope::SessionsWrite]),
        is_beyond: false,
        prefix: "nlk_abc".to_owned(),
        sessions_max: Some(7),
        created_ms: 2,
        expires_ms: Some(u64::from(u32::MAX)),
        last_used_ms: None,
        revoked_ms: None,
    }
}

fn secret(n: u8) -> Secret {
    Secret {
        hash: [n; 32],
        prefix: format!("nlk_{n}"),
    }
}

pub(super) fn change(change: IdentityChange) -> Op {
    let audit = AuditRow {
        at_ms: 1,
        request: "req".to_owned(),
        user: Some(nearlight_kit::ids::user()),
        role: Some(Role::Admin),
        key: Some(nearlight_kit::ids::key()),
        tenant: None,
        address: None,
        action: AuditAction::KeyRotate,
        subject: "s".to_owned(),
        outcome: AuditOutcome::Done,
        detail: String::new(),
    };
    let audit = Some(Box::new(audit));
    Op::Identity { change, audit }
}

fn add_key(key: &KeyRow, n: u8) -> Op {
    change(IdentityChange::AddKey {
        key: key.clone(),
        secret: secret(n),
        if_no_admin: false,
    })
}

impl Store {
    async fn who(&self, n: u8) -> Option<Credential> {
        self.ledger.credential([n; 32]).await.unwrap()
    }

    async fn noted(&self) -> usize {
        self.ledger.audit(None, 100).await.unwrap().len()
    }
}

pub(super) async fn a_key_is_read_back_with_its_tenant_and_voided(place: Place) {
    let store = Store::open(place).await;
    let tenant = tenant_row("a");
    let add = change(IdentityChange::AddTenant(tenant.clone()));
    assert_eq!(store.write(add).await, Applied::Done);
    let key = key_row(Role::Tenant, Some(&tenant));
    assert_eq!(store.write(add_key(&key, 1)).await, Applied::Done);
    let who = store.who(1).await.unwrap();
    assert_eq!(
        (who.key, who.user),
        (Some(key.id.clone()), key.user.clone())
    );
    assert_eq!((who.role, &who.scopes), (Role::Tenant, &key.scopes));
    let membership = Membership {
        tenant: tenant.id.clone(),
        sessions_max: Some(1),
        suspended: false,
        priority: Priority::Normal,
    };
    assert_eq!(who.tenant, Some(membership));
    assert_eq!(who.expires_ms, key.expires_ms);

    let used = IdentityChange::UsedKeys(vec![(key.id.clone(), 9)]);
    let used = Op::Identity {
        change: used,
        audit: None,
    };
    store.write(used).await;
    let listed = store
        .ledger
        .keys(Of::Tenant(tenant.id.clone()), None, 10)
        .await;
    let expected = KeyRow {
        name: "k\u{fffd}".to_owned(),
        prefix: "nlk_1".to_owned(),
        last_used_ms: Some(9),
        ..key.clone()
    };
    assert_eq!(listed.unwrap(), [expected]);
    let others = Of::Tenant(nearlight_kit::ids::tenant());
    assert_eq!(store.ledger.keys(others, None, 10).await.unwrap(), []);

    let revoke = change(IdentityChange::RevokeKey {
        key: key.id.clone(),
        at: MonoTime(5_000),
    });
    assert_eq!(store.write(revoke).await, Applied::Done);
    assert_eq!(store.who(1).await, None);
    let nobodys = change(IdentityChange::RevokeKey {
        key: nearlight_kit::ids::key(),
        at: MonoTime(5_000),
    });
    assert_eq!(store.write(nobodys).await, Applied::Missing);
    assert_eq!(store.noted().await, 3, "what was not done is not noted");
}

pub(super) async fn a_rotated_key_has_its_former_secrets_for_as_long_as_is_said(place: Place) {
    let store = Store::open(place).await;
    let key = key_row(Role::Operator, None);
    store.write(add_key(&key, 1)).await;
    let rotate = |n: u8, until: u64, at: u64| {
        change(IdentityChange::RotateKey {
            key: key.id.clone(),
            secret: secret(n),
            former_until_ms: until,
            at: MonoTime(at * 1000),
        })
    };
    assert_eq!(store.write(rotate(2, 100, 10)).await, Applied::Done);
    let end = async |n| store.who(n).await.map(|who| who.expires_ms);
    assert_eq!(end(1).await, Some(Some(100)));
    assert_eq!(end(2).await, Some(key.expires_ms));
    assert_eq!(store.write(rotate(3, 500, 20)).await, Applied::Done);
    assert_eq!(end(1).await, Some(Some(100)), "no overlap is made longer");
    assert_eq!(end(2).await, Some(Some(500)));
    assert_eq!(store.write(rotate(4, 900, 200)).await, Applied::Done);
    assert_eq!(end(1).await, None, "what is over is forgotten");
    let prefix = store.ledger.keys(Of::Key(key.id.clone()), None, 1).await;
    assert_eq!(prefix.unwrap()[0].prefix, "nlk_4");
    let revoke = change(IdentityChange::RevokeKey {
        key: key.id.clone(),
        at: MonoTime(300_000),
    });
    store.write(revoke).await;
    assert_eq!(store.write(rotate(5, 900, 400)).await, Applied::Missing);
}

pub(super) async fn the_first_administrator_is_made_once(place: Place) {
    let store = Store::open(place).await;
    let first = |n| {
        change(IdentityChange::AddKey {
            key: key_row(Role::Admin, None),
            secret: secret(n),
            if_no_admin: true,
        })
    };
    store
        .write(add_key(&key_row(Role::Operator, None), 9))
        .await;
    assert_eq!(store.write(first(1)).await, Applied::Done);
    assert_eq!(store.write(first(2)).await, Applied::Skipped);
    assert_eq!(store.who(2).await, None);
}

pub(super) async fn a_tenants_quota_is_taken_with_the_session_and_given_back(place: Place) {
    let store = Store::open(place).await;
    let tenant = tenant_row("a");
    store
        .write(change(IdentityChange::AddTenant(tenant.clone())))
        .await;
    let of_tenant = |key: &str| {
        let row = SessionRow {
            tenant: Some(tenant.id.clone()),
            priority: Priority::Low,
            ..session()
        };
        let mut asked = create(&row, key, Some(1));
        if let Op::CreateSession { tenant_quota, .. } = &mut asked {
            *tenant_quota = Some(1);
        }
        (row, asked)
    };
    let (first, asked) = of_tenant("a");
    let (refused, also_asked) = of_tenant("b");
    // In one group: the second is refused, and its user's own place is free again.
    let applied = store.ledger.write(vec![asked, also_asked]).await.unwrap();
    assert_eq!(applied, [Applied::Done, Applied::TenantQuotaUsedUp]);
    let loaded = store.loaded().await.sessions;
    assert_eq!(loaded[0].tenant, Some(tenant.id.clone()));
    let alone = SessionRow {
        user: refused.user.clone(),
        ..session()
    };
    assert_eq!(
        store.write(create(&alone, "b", Some(1))).await,
        Applied::Done
    );
    let used = store.ledger.tenants(Of::Everyone).await.unwrap();
    assert_eq!(used[0].sessions_used, 1);
    let back = Op::ReturnQuota {
        session: first.id,
        user: first.user,
        tenant: first.tenant,
    };
    store.write(back).await;
    assert_eq!(store.write(of_tenant("c").1).await, Applied::Done);
}

fn login(n: u8, subject: &str, guest: Option<&UserId>) -> Op {
    change(IdentityChange::LogIn(Box::new(Login {
        hash: [n; 32],
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        name: subject.to_uppercase(),
        user: nearlight_kit::ids::user(),
        guest: guest.cloned(),
        at_ms: u64::from(n),
        expires_ms: 1_000,
    })))
}

pub(super) async fn a_guest_that_logs_in_becomes_the_player(place: Place) {
    let store = Store::open(place).await;
    let guest = async |n: u8| {
        let user = nearlight_kit::ids::user();
        let credential = Credential::plain([n; 32], user.clone(), "guest", Role::Guest);
        let at = MonoTime(0);
        store.write(Op::AddCredential { credential, at }).await;
        user
    };
    let (first, second, third) = (guest(101).await, guest(102).await, guest(103).await);
    assert_eq!(
        store.write(login(1, "ann", Some(&first))).await,
        Applied::Done
    );
    let ann = store.who(1).await.unwrap();
    assert_eq!(
        (&ann.user, ann.role, ann.name.as_str()),
        (&first, Role::Player, "ANN")
    );
    assert_eq!(store.who(101).await, None, "the guest is no more");
    // Who was here before keeps the user, and the guest's sessions come along.
    store.write(login(2, "ann", Some(&second))).await;
    let ann = store.who(2).await.unwrap();
    assert_eq!((&ann.user, &ann.former), (&first, &vec![second.clone()]));
    // A guest becomes one player, whoever asks again.
    store.write(login(3, "bob", Some(&second))).await;
    let bob = store.who(3).await.unwrap();
    assert!(bob.user != second && bob.user != first && bob.former.is_empty());
    store.write(login(4, "eve", Some(&first))).await;
    assert!(store.who(4).await.unwrap().user != first);
    store.write(login(5, "bob", None)).await;
    assert_eq!(store.who(5).await.unwrap().user, bob.user);
    assert!(store.who(103).await.is_some_and(|who| who.user == third));

    let out = IdentityChange::LogOut {
        hash: [5; 32],
        at: MonoTime(6_000),
    };
    assert_eq!(store.write(change(out)).await, Applied::Done);
    assert_eq!(store.who(5).await, None);
    assert!(store.who(3).await.is_some(), "other browsers stay");
}

pub(super) async fn old_lines_of_the_audit_log_and_logins_that_are_over_go(place: Place) {
    let store = Store::open(place).await;
    store.write(login(1, "ann", None)).await;
    store.write(change(IdentityChange::Nothing)).await;
    assert_eq!(store.noted().await, 2);
    let prune = |audit, now| Op::Identity {
        change: IdentityChange::Prune {
            audit_before: MonoTime(audit),
            now: MonoTime(now),
        },
        audit: None,
    };
    store.write(prune(1_000, 999_000)).await;
    assert_eq!(
        (store.noted().await, store.who(1).await.is_some()),
        (2, true)
    );
    store.write(prune(2_000, 1_001_000)).await;
    assert_eq!((store.noted().await, store.who(1).await), (0, None));
}

pub(super) async fn a_key_with_scopes_of_a_newer_broker_is_read_and_allows_what_is_known(
    place: Place,
) {
    let store = Store::open(place).await;
    let [known, unknown, all] = [0; 3].map(|_| key_row(Role::Operator, None));
    for (key, n) in [&known, &unknown, &all].into_iter().zip(1..) {
        store.write(add_key(key, n)).await;
    }
    let mut beside = store.place.connect().await;
    for (key, scopes) in [
        (&known, "sessions:read new:read"),
        (&unknown, "new:read new:write"),
        (&all, ""),
    ] {
        let text = format!(
            "UPDATE api_key SET scopes = '{scopes}' WHERE key_id = '{}'",
            key.id
        );
        let update = sqlx::AssertSqlSafe(text);
        sqlx::raw_sql(update).execute(&mut beside).await.unwrap();
    }
    let allowed = async |n| store.who(n).await.unwrap().scopes;
    assert_eq!(allowed(1).await, Some(vec![Scope::SessionsRead]));
    assert_eq!(
        allowed(2).await,
        Some(Vec::new()),
        "and not all of its role"
    );
    assert_eq!(allowed(3).await, None);
    let keys = store.ledger.keys(Of::Everyone, None, 10).await.unwrap();
    assert_eq!(keys.len(), 3, "the list has them");
    for (key, is_beyond) in [(&known, true), (&unknown, true), (&all, false)] {
        let found = keys.iter().find(|found| found.id == key.id);
        assert_eq!(found.map(|found| found.is_beyond), Some(is_beyond));
    }
}

pub(super) async fn who_reads_many_rows_keeps_no_look_up_waiting(place: Place) {
    let store = Store::open(place).await;
    // As many as there are for long questions, and one that waits for them.
    let busy = store.ledger.long_reader().await;
    let waits = store.ledger.audit(None, 1);
    let found = tokio::select! {
        biased;
        rows = waits => panic!("{rows:?} read beside another long question"),
        found = store.ledger.credential([7; 32]) => found.unwrap(),
    };
    assert_eq!(found, None);
    drop(busy);
    assert!(store.ledger.audit(None, 1).await.unwrap().is_empty());
}

pub(super) async fn guests_and_keys_that_ended_long_ago_go(place: Place) {
    const DAY_US: u64 = 24 * 3600 * 1_000_000;
    let store = Store::open(place).await;
    let guest = |n: u8, day: u64| Op::AddCredential {
        credential: Credential::plain([n; 32], nearlight_kit::ids::user(), "guest", Role::Guest),
        at: MonoTime(day * DAY_US),
    };
    store.write(guest(1, 1)).await;
    store.write(guest(2, 100)).await;
    let brief = KeyRow {
        expires_ms: Some(DAY_US / 1000),
        ..key_row(Role::Operator, None)
    };
    let lasting = KeyRow {
        expires_ms: None,
        ..key_row(Role::Operator, None)
    };
    store.write(add_key(&brief, 3)).await;
    store.write(add_key(&lasting, 4)).await;
    let left = async |day: u64| {
        let prune = IdentityChange::Prune {
            audit_before: MonoTime(0),
            now: MonoTime(day * DAY_US),
        };
        store.write(change(prune)).await;
        let keys = store.ledger.keys(Of::Everyone, None, 9).await.unwrap();
        let guests = [store.who(1).await.is_some(), store.who(2).await.is_some()];
        (guests, keys.len(), store.who(4).await.is_some())
    };
    assert_eq!(left(366).await, ([true, true], 2, true));
    assert_eq!(left(402).await, ([false, true], 1, true));
    assert_eq!(left(501).await, ([false, false], 1, true));
}

pub(super) async fn a_tenant_has_so_many_keys_that_hold(place: Place) {
    let store = Store::open(place).await;
    let (one, other) = (tenant_row("one"), tenant_row("other"));
    for row in [&one, &other] {
        let add = IdentityChange::AddTenant(row.clone());
        assert_eq!(store.write(change(add)).await, Applied::Done);
    }
    let key = |of| key_row(Role::Player, Some(of));
    let secret = |n: u32| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        Secret {
            hash,
            prefix: "nlk_".to_owned(),
        }
    };
    let add = |key: &KeyRow, n| {
        change(IdentityChange::AddKey {
            key: key.clone(),
            secret: secret(n),
            if_no_admin: false,
        })
    };
    let first = key(&one);
    let many = (1..1_000).map(|n| add(&key(&one), n));
    let many = std::iter::once(add(&first, 0)).chain(many).collect();
    let added = store.ledger.write(many).await.unwrap();
    assert!(added.iter().all(|applied| *applied == Applied::Done));
    let more = store.write(add(&key(&one), 2_000)).await;
    assert_eq!(more, Applied::QuotaUsedUp);
    let others = store.write(add(&key(&other), 2_001)).await;
    assert_eq!(others, Applied::Done, "another tenant's");
    let revoke = IdentityChange::RevokeKey {
        key: first.id,
        at: MonoTime(9),
    };
    store.write(change(revoke)).await;
    let more = store.write(add(&key(&one), 2_002)).await;
    assert_eq!(more, Applied::Done, "one that is void counts no more");
}
