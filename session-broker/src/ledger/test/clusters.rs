//! Clusters: the claims of all replicas or none (I7), whatever races them.

use super::*;
use nearlight_protocol::job::{Cluster, JobSpec};
use nearlight_protocol::work::Replica;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;

const SEEDS: u64 = 8;

fn job(replicas: u32) -> SessionRow {
    let cluster: Cluster = serde_json::from_str(&format!("{{\"replicas\":{replicas}}}")).unwrap();
    let spec = JobSpec {
        cluster: Some(cluster),
        ..JobSpec::of_image("registry.example/a/server@sha256:00")
    };
    SessionRow {
        work: Work::Job(Box::new(spec)),
        ..session()
    }
}

/// The claims of a cluster at these slots of these nodes, as the rows have them.
pub(super) fn together(head: &SessionRow, at: &[(&NodeRow, usize)], run: u32) -> ReserveCluster {
    let spec = head.work.job().unwrap();
    let mut taken: HashMap<&NodeId, u64> = HashMap::new();
    let (mut reserves, mut members) = (Vec::new(), Vec::new());
    for ((node, slot), rank) in at.iter().zip(0..) {
        let mut row = SessionRow {
            replica: Some(Replica {
                cluster: head.id.clone(),
                run,
                rank,
                of: spec.replicas(),
            }),
            ..head.clone()
        };
        if rank > 0 {
            row.id = nearlight_kit::ids::session();
            row.work = Work::Job(Box::new(spec.of_replica(rank)));
        }
        let mut reserve = reserve(node, *slot, &row);
        let before = taken.entry(&node.id).or_default();
        reserve.capacity_rev += *before;
        *before += 1;
        row.phase = reserve.phase.clone();
        row.node = Some(node.id.clone());
        reserves.push(reserve);
        if rank > 0 {
            members.push(row);
        }
    }
    ReserveCluster {
        reserves,
        members,
        run,
    }
}

pub(super) fn op_of(cluster: &ReserveCluster) -> Op {
    Op::ReserveCluster(Box::new(cluster.clone()))
}

async fn queued(store: &Store, replicas: u32) -> SessionRow {
    let row = job(replicas);
    assert_eq!(store.write(create(&row, "k", None)).await, Applied::Done);
    row
}

/// Live claims of each session of the ledger.
async fn held(store: &Store) -> HashMap<SessionId, usize> {
    let mut held: HashMap<SessionId, usize> = HashMap::new();
    for node in store.loaded().await.nodes {
        for by in node.slots.into_values().filter_map(|slot| slot.held_by) {
            *held.entry(by.session).or_default() += 1;
        }
    }
    held
}

pub(super) async fn i7_a_cluster_is_claimed_with_all_its_replicas_and_read_back(place: Place) {
    let store = Store::open(place).await;
    let (one, two) = (store.node(2, 9_000).await, store.node(1, 9_000).await);
    let head = queued(&store, 3).await;
    let asked = together(&head, &[(&one, 0), (&two, 0), (&one, 1)], 0);
    let Applied::OrderedAll { commands } = store.write(op_of(&asked)).await else {
        panic!("nothing is in its way");
    };
    let store = store.reopen().await;
    let loaded = store.loaded().await;
    assert_eq!(loaded.sessions.len(), 3);
    for (reserve, rank) in asked.reserves.iter().zip(0..) {
        let found = loaded.sessions.iter().find(|row| row.id == reserve.session);
        let row = found.unwrap();
        let holds =
            matches!(&row.phase, Phase::Placing { held, .. } if held.claim == reserve.claim);
        assert!(holds, "{row:?}");
        let replica = row.replica.as_ref().unwrap();
        assert_eq!((&replica.cluster, replica.rank), (&head.id, rank));
        assert_eq!((replica.run, replica.of), (0, 3));
        assert_eq!(row.is_member(), rank > 0);
        let sent = loaded.outbox.iter().find(|order| order.session == row.id);
        let sent = sent.unwrap();
        assert_eq!(sent.command, commands[rank as usize]);
        let Order::Start(start) = &sent.order else {
            panic!("{sent:?}");
        };
        assert_eq!(start.replica, row.replica);
    }
    // A second run: the former one's replicas are others.
    let over = Phase::Ended {
        reason: EndReason::ClusterEnded,
        detail: String::new(),
    };
    let mut ops = Vec::new();
    for reserve in &asked.reserves {
        ops.push(Op::Release {
            session: reserve.session.clone(),
            claim: reserve.claim.clone(),
            billed_until: MonoTime(9_000),
            at: MonoTime(9_000),
        });
        let is_head = reserve.session == head.id;
        ops.push(Op::SavePhase {
            session: reserve.session.clone(),
            phase: if is_head { Phase::Queued } else { over.clone() },
            starts_denied: 0,
            at: MonoTime(9_000),
        });
    }
    store.ledger.write(ops).await.unwrap();
    let now = |node: &NodeRow| store.ledger.node(node.id.clone());
    let one = now(&one).await.unwrap().unwrap();
    let two = now(&two).await.unwrap().unwrap();
    let again = together(&head, &[(&one, 0), (&two, 0), (&one, 1)], 1);
    let applied = store.write(op_of(&again)).await;
    assert!(matches!(applied, Applied::OrderedAll { .. }), "{applied:?}");
    let loaded = store.loaded().await.sessions;
    let runs = loaded.iter().filter_map(|row| row.replica.as_ref());
    let mut runs: Vec<u32> = runs.map(|replica| replica.run).collect();
    runs.sort_unstable();
    assert_eq!(
        runs,
        [0, 0, 1, 1, 1],
        "the first goes on, with the others of its run"
    );
    for rank in 1..3 {
        let last = &again.members[rank as usize - 1].id;
        let found = store.ledger.replica(head.id.clone(), rank).await.unwrap();
        assert_eq!(found.map(|row| row.id).as_ref(), Some(last));
    }
    for (cluster, rank) in [(&head.id, 3), (&again.members[0].id, 1)] {
        let found = store.ledger.replica(cluster.clone(), rank).await.unwrap();
        assert_eq!(found, None, "{rank}");
    }
}

pub(super) async fn i7_no_run_begins_while_a_claim_of_an_earlier_one_is_live(place: Place) {
    let store = Store::open(place).await;
    let (one, two) = (store.node(2, 9_000).await, store.node(2, 9_000).await);
    let head = queued(&store, 2).await;
    let first = together(&head, &[(&one, 0), (&one, 1)], 0);
    let applied = store.write(op_of(&first)).await;
    assert!(matches!(applied, Applied::OrderedAll { .. }), "{applied:?}");
    let release = |reserve: &Reserve| Op::Release {
        session: reserve.session.clone(),
        claim: reserve.claim.clone(),
        billed_until: MonoTime(9_000),
        at: MonoTime(9_000),
    };
    let queue = Op::SavePhase {
        session: head.id.clone(),
        phase: Phase::Queued,
        starts_denied: 0,
        at: MonoTime(9_000),
    };
    let ops = vec![release(&first.reserves[0]), queue];
    store.ledger.write(ops).await.unwrap();
    let again = together(&head, &[(&two, 0), (&two, 1)], 1);
    let applied = store.write(op_of(&again)).await;
    assert_eq!(applied, Applied::RaceLost, "the other one is being stopped");
    assert_eq!(held(&store).await.len(), 1, "nothing is left of the try");
    store.write(release(&first.reserves[1])).await;
    let applied = store.write(op_of(&again)).await;
    assert!(matches!(applied, Applied::OrderedAll { .. }), "{applied:?}");
}

pub(super) async fn i7_a_cluster_that_loses_one_slot_leaves_nothing(place: Place) {
    let store = Store::open(place).await;
    let (one, two) = (store.node(2, 9_000).await, store.node(2, 9_000).await);
    let small = store.node(2, 1_500).await;
    let (first, second) = (queued(&store, 3).await, queued(&store, 3).await);
    let wins = together(&first, &[(&one, 0), (&one, 1), (&two, 0)], 0);
    let loses = together(&second, &[(&two, 1), (&two, 0), (&small, 0)], 0);
    // Both in one transaction, with somebody who has nothing to do with it.
    let other = store.session().await;
    let alone = op(&reserve(&small, 1, &other));
    let lists = [vec![op_of(&wins)], vec![op_of(&loses)], vec![alone]];
    let writes = lists.map(|ops| store.ledger.write(ops));
    let applied = futures_util::future::join_all(writes).await;
    let is_all = |n: usize| matches!(applied[n].as_ref().unwrap()[0], Applied::OrderedAll { .. });
    assert!(is_all(0) != is_all(1), "{applied:?}");
    assert!(ordered(&applied[2].as_ref().unwrap()[0]), "{applied:?}");
    let (won, lost) = if is_all(0) {
        (&wins, &second)
    } else {
        (&loses, &first)
    };
    let held = held(&store).await;
    assert_eq!(held.len(), 4);
    assert!(
        won.reserves
            .iter()
            .all(|reserve| held[&reserve.session] == 1)
    );
    let loaded = store.loaded().await;
    assert_eq!(
        loaded.sessions.len(),
        5,
        "of the loser nobody but its first is there"
    );
    let row = loaded
        .sessions
        .iter()
        .find(|row| row.id == lost.id)
        .unwrap();
    assert_eq!((&row.phase, &row.replica), (&Phase::Queued, &None));
    assert_eq!(loaded.outbox.len(), 4);
    // CPU for one alone: two of one node are too many, wherever the others are.
    let third = queued(&store, 2).await;
    let small = store.ledger.node(small.id).await.unwrap().unwrap();
    let slot = small.slots.values().position(|slot| slot.held_by.is_none());
    let roomy = store.node(1, 9_000).await;
    let dear = together(&third, &[(&roomy, 0), (&small, slot.unwrap())], 0);
    assert_eq!(store.write(op_of(&dear)).await, Applied::RaceLost);
    let after = store.ledger.node(roomy.id).await.unwrap().unwrap();
    assert_eq!(after.capacity, roomy.capacity);
}

/// Clusters and single sessions on few slots, many at a time, with releases in between.
pub(super) async fn i7_no_race_leaves_half_a_cluster(place: Place) {
    let store = Store::open(place).await;
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut nodes = vec![store.node(3, 3_000).await, store.node(3, 2_000).await];
        let mut clusters: Vec<ReserveCluster> = Vec::new();
        for _round in 0..3 {
            let mut places: Vec<(usize, usize)> =
                (0..2).flat_map(|n| (0..3).map(move |s| (n, s))).collect();
            let mut lists = Vec::new();
            for _ in 0..6 {
                places.shuffle(&mut rng);
                let head = queued(&store, rng.random_range(2..4)).await;
                let of = head.work.job().unwrap().replicas() as usize;
                let at: Vec<_> = places[..of].iter().map(|(n, s)| (&nodes[*n], *s)).collect();
                let asked = together(&head, &at, 0);
                lists.push(vec![op_of(&asked)]);
                clusters.push(asked);
                let (n, s) = places[5];
                lists.push(vec![op(&reserve(&nodes[n], s, &store.session().await))]);
            }
            let writes = lists.into_iter().map(|ops| store.ledger.write(ops));
            futures_util::future::join_all(writes).await;
            let held = held(&store).await;
            for cluster in &clusters {
                let of = |reserve: &Reserve| held.get(&reserve.session).copied().unwrap_or(0);
                let claims: Vec<usize> = cluster.reserves.iter().map(of).collect();
                let is_all = claims.iter().all(|n| *n == 1);
                assert!(
                    is_all || claims.iter().all(|n| *n == 0),
                    "{seed}: {claims:?}"
                );
            }
            let mut releases = Vec::new();
            for node in &mut nodes {
                *node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
                assert!(node.capacity.cpu_milli_free <= 3_000);
                for (slot, row) in &node.slots {
                    if let Some(by) = &row.held_by {
                        releases.push(Op::Release {
                            session: by.session.clone(),
                            claim: Claim {
                                node: node.id.clone(),
                                slot: slot.clone(),
                                epoch: row.epoch,
                            },
                            billed_until: MonoTime(9_000),
                            at: MonoTime(9_000),
                        });
                    }
                }
            }
            store.ledger.write(releases).await.unwrap();
            clusters.clear();
            for node in &mut nodes {
                *node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
            }
        }
    }
}

pub(super) async fn a_cluster_takes_as_many_places_of_a_quota_as_it_has_replicas(place: Place) {
    let store = Store::open(place).await;
    let first = job(3);
    let of_user = |row: SessionRow| SessionRow {
        user: first.user.clone(),
        ..row
    };
    assert_eq!(
        store.write(create(&first, "a", Some(4))).await,
        Applied::Done
    );
    let second = of_user(job(2));
    assert_eq!(
        store.write(create(&second, "b", Some(4))).await,
        Applied::QuotaUsedUp
    );
    let one = of_user(session());
    assert_eq!(store.write(create(&one, "c", Some(4))).await, Applied::Done);
}

pub(super) async fn a_cluster_leaves_nothing_behind_once_it_is_swept(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 9_000).await;
    let head = queued(&store, 2).await;
    let asked = together(&head, &[(&node, 0), (&node, 1)], 0);
    store.write(op_of(&asked)).await;
    for reserve in &asked.reserves {
        let ended = Op::SavePhase {
            session: reserve.session.clone(),
            phase: Phase::Ended {
                reason: EndReason::JobDone,
                detail: String::new(),
            },
            starts_denied: 0,
            at: MonoTime(3_000_000),
        };
        store.write(ended).await;
    }
    store
        .write(Op::SweepEnded {
            before: MonoTime(4_000_000),
            sessions_max: 10,
        })
        .await;
    let mut beside = store.place.connect().await;
    for table in ["session", "cluster_replica", "job_spec", "claim"] {
        let query = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM {table}"));
        let row = sqlx::query(query).fetch_one(&mut beside).await.unwrap();
        assert_eq!(sqlx::Row::get::<i64, _>(&row, "n"), 0, "{table}");
    }
}

pub(super) async fn a_budget_counts_all_replicas_of_all_runs(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(3, 9_000).await;
    let head = job(3);
    let ops = vec![
        create(&head, "k", None),
        Op::SetBudget {
            session: head.id.clone(),
            budget_micro: 70,
        },
    ];
    store.ledger.write(ops).await.unwrap();
    let asked = together(&head, &[(&node, 0), (&node, 1), (&node, 2)], 0);
    store.write(op_of(&asked)).await;
    for reserve in &asked.reserves {
        let begin = Op::BeginUsage {
            session: reserve.session.clone(),
            claim: reserve.claim.clone(),
            bill: usage::bill(&session()),
            at: MonoTime(5_000_000),
        };
        store.write(begin).await;
    }
    let budgeted = store.ledger.budgeted().await.unwrap();
    assert_eq!(budgeted.len(), 1, "{budgeted:?}");
    assert_eq!(
        (&budgeted[0].session, budgeted[0].lines.len()),
        (&head.id, 3)
    );
}
