//! What the sessions of a tenant may have together, beside their number.

use super::clusters::{op_of, together};
use super::identity::{change, tenant_row};
use super::place::Place;
use super::readmit::{lost, readmit};
use super::tenants::set_tenant;
use super::*;
use nearlight_protocol::identity::TenantChange;
use nearlight_protocol::job::{Cluster, GpuNeed, JobSpec};

/// A tenant with these limits and no other.
async fn tenant(store: &Store, max: Amounts<Option<u32>>) -> TenantRow {
    let tenant = TenantRow {
        sessions_max: None,
        max,
        ..tenant_row("a")
    };
    let add = change(IdentityChange::AddTenant(tenant.clone()));
    assert_eq!(store.write(add).await, Applied::Done);
    tenant
}

/// A job of the tenant with so many GPUs, and as many replicas.
fn job(of: &TenantRow, gpus: u32, replicas: u32) -> SessionRow {
    let cluster: Cluster = serde_json::from_str(&format!("{{\"replicas\":{replicas}}}")).unwrap();
    let mut spec = JobSpec {
        cluster: (replicas > 1).then_some(cluster),
        ..JobSpec::of_image("registry.example/a/server@sha256:00")
    };
    spec.resources.gpu = (gpus > 0).then_some(GpuNeed {
        count: gpus,
        model: None,
        vram_mib: 0,
        compute_capability: 0,
    });
    (spec.resources.cpu_milli, spec.resources.mem_mib) = (2_000, 512);
    SessionRow {
        tenant: Some(of.id.clone()),
        work: Work::Job(Box::new(spec)),
        ..session()
    }
}

fn gpus(max: u32) -> Amounts<Option<u32>> {
    Amounts {
        gpus: Some(max),
        ..Amounts::default()
    }
}

fn beyond(resource: Resource, max: u64, used: u64, asked: u64) -> Applied {
    Applied::BeyondTenant(Beyond {
        resource,
        max,
        used,
        asked,
    })
}

fn end(row: &SessionRow) -> Op {
    Op::SavePhase {
        session: row.id.clone(),
        phase: Phase::Ended {
            reason: EndReason::JobDone,
            detail: String::new(),
        },
        starts_denied: 0,
        at: MonoTime(3_000_000),
    }
}

async fn shown(store: &Store) -> TenantRow {
    store.ledger.tenants(Of::Everyone).await.unwrap().remove(0)
}

pub(super) async fn a_tenants_gpus_are_those_of_its_live_sessions_and_a_refusal_says_how_many(
    place: Place,
) {
    let store = Store::open(place).await;
    let tenant = tenant(&store, gpus(4)).await;
    let asked = [job(&tenant, 2, 1), job(&tenant, 1, 2), job(&tenant, 1, 1)];
    // In one group: each sees those before it. The refused one's key and places are free again.
    let keyed = asked.iter().zip(["a", "b", "c"]);
    let group: Vec<Op> = keyed.map(|(row, key)| create(row, key, Some(2))).collect();
    let applied = store.ledger.write(group).await.unwrap();
    let full = beyond(Resource::Gpus, 4, 4, 1);
    assert_eq!(applied, [Applied::Done, Applied::Done, full.clone()]);
    let found = store.ledger.session(asked[2].id.clone()).await.unwrap();
    assert_eq!(found, None);
    let now = shown(&store).await;
    assert_eq!((now.sessions_used, now.max), (3, gpus(4)), "of two jobs");
    let used = Amounts {
        gpus: 4,
        cpu_milli: 6_000,
        mem_mib: 1_536,
    };
    assert_eq!(now.used, used);
    assert_eq!(store.write(create(&asked[2], "c", Some(1))).await, full);
    // Without a GPU there is nothing that it could be beyond.
    let plain = job(&tenant, 0, 1);
    assert_eq!(store.write(create(&plain, "d", None)).await, Applied::Done);
    assert_eq!(store.write(end(&asked[0])).await, Applied::Done);
    let cluster = job(&tenant, 1, 3);
    let refused = store.write(create(&cluster, "e", None)).await;
    assert_eq!(refused, beyond(Resource::Gpus, 4, 2, 3));
    assert_eq!(
        store.write(create(&asked[2], "c", Some(1))).await,
        Applied::Done
    );
    // Without a limit, nothing is looked at; what is there is shown all the same.
    let nothing = TenantChange {
        gpus_max: Some(None),
        cpu_milli_max: Some(None),
        mem_mib_max: Some(None),
        ..TenantChange::default()
    };
    let free = set_tenant(&tenant.id, nothing);
    assert_eq!(store.write(free).await, Applied::Done);
    assert_eq!(
        store.write(create(&cluster, "e", None)).await,
        Applied::Done
    );
    assert_eq!(shown(&store).await.used.gpus, 6);
}

pub(super) async fn what_frees_a_tenants_gpus_just_before_counts_in_the_same_group(place: Place) {
    let store = Store::open(place).await;
    let tenant = tenant(&store, gpus(2)).await;
    let rows: Vec<SessionRow> = (0..4).map(|_| job(&tenant, 2, 1)).collect();
    assert_eq!(
        store.write(create(&rows[0], "a", None)).await,
        Applied::Done
    );
    let group = vec![end(&rows[0]), create(&rows[1], "b", None)];
    let applied = store.ledger.write(group).await.unwrap();
    assert_eq!(applied, [Applied::Done, Applied::Done], "one has ended");
    // A limit that is raised counts for what comes after it, and not for what came before.
    let more = TenantChange {
        gpus_max: Some(Some(4)),
        ..TenantChange::default()
    };
    let raise = set_tenant(&tenant.id, more);
    let group = vec![
        create(&rows[2], "c", None),
        raise,
        create(&rows[3], "d", None),
    ];
    let applied = store.ledger.write(group).await.unwrap();
    let full = beyond(Resource::Gpus, 2, 2, 2);
    assert_eq!(applied, [full, Applied::Done, Applied::Done]);
    assert_eq!(shown(&store).await.used.gpus, 4);
}

/// Else a burst of both would be a statement for each.
#[test]
fn sessions_that_end_wait_for_none_that_was_asked_for_before() {
    let tenant = tenant_row("a");
    let ends = (0..4).map(|_| end(&job(&tenant, 1, 1)));
    let new = ["a", "b", "c", "d"].map(|key| create(&job(&tenant, 1, 1), key, None));
    let group: Vec<Op> = new
        .into_iter()
        .zip(ends)
        .flat_map(<[Op; 2]>::from)
        .collect();
    assert_eq!(plan::levels(&[&group]).len(), 1);
}

pub(super) async fn a_cluster_that_is_placed_counts_once(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 9_000).await;
    let tenant = tenant(&store, gpus(2)).await;
    let head = job(&tenant, 1, 2);
    assert_eq!(store.write(create(&head, "a", None)).await, Applied::Done);
    let before = shown(&store).await.used;
    assert_eq!((before.gpus, before.mem_mib), (2, 1_024));
    let asked = together(&head, &[(&node, 0), (&node, 1)], 0);
    let placed = store.write(op_of(&asked)).await;
    assert!(matches!(placed, Applied::OrderedAll { .. }), "{placed:?}");
    assert_eq!(store.loaded().await.sessions.len(), 2, "a row for each");
    assert_eq!(shown(&store).await.used, before);
}

pub(super) async fn cpu_and_memory_of_a_tenant_are_limited_alike(place: Place) {
    let store = Store::open(place).await;
    let max = Amounts {
        gpus: None,
        cpu_milli: Some(5_000),
        mem_mib: Some(1_000),
    };
    let tenant = tenant(&store, max).await;
    let first = job(&tenant, 0, 1);
    assert_eq!(store.write(create(&first, "a", None)).await, Applied::Done);
    let memory = store.write(create(&job(&tenant, 0, 1), "b", None)).await;
    assert_eq!(memory, beyond(Resource::Memory, 1_000, 512, 512));
    let cpu = store.write(create(&job(&tenant, 0, 2), "c", None)).await;
    assert_eq!(cpu, beyond(Resource::Cpu, 5_000, 2_000, 4_000));
    // An app of the tenant counts like a job.
    let app = SessionRow {
        tenant: Some(tenant.id.clone()),
        ..session()
    };
    let beyond_it = store.write(create(&app, "d", None)).await;
    assert_eq!(beyond_it, beyond(Resource::Memory, 1_000, 512, 1_024));
    // And no other tenant's, nor who is of none.
    assert_eq!(
        store.write(create(&session(), "e", None)).await,
        Applied::Done
    );
}

pub(super) async fn of_two_brokers_that_take_a_tenants_last_gpus_at_once_one_is_refused(
    place: Place,
) {
    let a = Store::open_as(place.clone(), member("a", "a:1")).await;
    let b = Store::open_as(place, member("b", "b:1")).await;
    let tenant = tenant(&a, gpus(8)).await;
    for round in 0..4 {
        let rows = [job(&tenant, 5, 1), job(&tenant, 5, 1)];
        let [here, there] = [&rows[0], &rows[1]].map(|row| create(row, &round.to_string(), None));
        let (here, there) = tokio::join!(a.write(here), b.write(there));
        let refused = beyond(Resource::Gpus, 8, 5, 5);
        let one_each = [(Applied::Done, refused.clone()), (refused, Applied::Done)];
        assert!(
            one_each.contains(&(here.clone(), there.clone())),
            "{here:?} {there:?}"
        );
        let won = if here == Applied::Done {
            (&a, &rows[0])
        } else {
            (&b, &rows[1])
        };
        assert_eq!(won.0.write(end(won.1)).await, Applied::Done);
    }
}

pub(super) async fn what_comes_back_from_a_grant_counts_for_its_tenant(place: Place) {
    let store = Store::open(place).await;
    store.session().await;
    let node = store.node(2, 2_000).await;
    let tenant = tenant(&store, gpus(1)).await;
    let mut back = lost(&node, 0, 7);
    back.row.tenant = Some(tenant.id.clone());
    back.gpus = vec!["GPU-1".to_owned(), "GPU-2".to_owned()];
    assert_eq!(store.write(readmit(&back)).await, Applied::Done);
    let used = Amounts {
        gpus: 2,
        cpu_milli: 1_000,
        mem_mib: 100,
    };
    assert_eq!(shown(&store).await.used, used, "whatever the limit is");
    let next = store.write(create(&job(&tenant, 1, 1), "a", None)).await;
    assert_eq!(next, beyond(Resource::Gpus, 1, 2, 1));
}

pub(super) async fn what_ran_before_there_were_such_limits_counts(place: Place) {
    let (node, slot) = (nearlight_kit::ids::node(), nearlight_kit::ids::slot());
    let [runs, over] = [0; 2].map(|_| nearlight_kit::ids::session());
    let (user, tenant) = (nearlight_kit::ids::user(), nearlight_kit::ids::tenant());
    let row = |id: &SessionId, ended: &str| {
        format!(
            "('{id}', '{user}', '{tenant}', 'demo', '', 1, 1, 1, 'us', 1, 'starting', 1, '', 0, {ended})"
        )
    };
    let text = format!(
        "INSERT INTO tenant (tenant_id, name, created_ms) VALUES ('{tenant}', 'a', 1);
         INSERT INTO session (session_id, user_id, tenant_id, app_id, app_digest, display_width,
            display_height, display_hz, keyboard_layout, created_ms, phase, since_ms, detail,
            starts_denied, ended_ms)
             VALUES {}, {};
         INSERT INTO claim (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps,
            claimed_ms, released_ms, gpus)
             VALUES ('{slot}', 4, '{node}', '{runs}', 1500, 512, 0, 1, NULL, 2),
                    ('{slot}', 3, '{node}', '{runs}', 1500, 512, 0, 1, 2, 2),
                    ('{slot}', 2, '{node}', '{over}', 1500, 512, 0, 1, 2, 2);",
        row(&runs, "NULL"),
        row(&over, "2"),
    );
    let mut before = opening::of_schema(&place.at, 37).await;
    let insert = sqlx::AssertSqlSafe(text);
    sqlx::raw_sql(insert).execute(&mut before).await.unwrap();
    drop(before);
    let store = Store::open(place).await;
    let used = Amounts {
        gpus: 2,
        cpu_milli: 1_500,
        mem_mib: 512,
    };
    assert_eq!(shown(&store).await.used, used);
}
