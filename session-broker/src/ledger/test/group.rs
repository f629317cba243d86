//! Changes that are carried out together have the outcome of the same changes one by one.

use super::place::Place;
use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const NODES: u64 = 3;
const SLOTS: u64 = 2;
const SESSIONS: u64 = 6;
const CHANGES: usize = 60;
const SEEDS: u64 = 12;

fn part<T>(of: fn(u64, [u8; 10]) -> T, n: u64) -> T {
    of(n, [0; 10])
}

fn user_of(n: u64) -> UserId {
    part(UserId::from_parts, n % 2)
}

/// No session is asked for with two keys: ids are made by the broker.
fn key_of(n: u64) -> usize {
    usize::try_from(n / 2).unwrap()
}

fn claim_of(rng: &mut StdRng) -> Claim {
    let node = rng.random_range(0..NODES);
    Claim {
        node: part(NodeId::from_parts, node),
        slot: part(
            SlotId::from_parts,
            node * SLOTS + rng.random_range(0..SLOTS),
        ),
        epoch: Epoch(rng.random_range(1..4)),
    }
}

fn placed(claim: &Claim) -> Phase {
    let mut life = Lifecycle::new(limits());
    life.handle(MonoTime(2_000), Event::Claimed(claim.clone()));
    life.phase().clone()
}

fn stop_of(session: &SessionId) -> Order {
    Order::Stop {
        session: session.clone(),
        reason: EndReason::Internal,
    }
}

fn save_of(node: u64) -> Op {
    let slots = (0..SLOTS).map(|n| Slot {
        id: part(SlotId::from_parts, node * SLOTS + n),
        epoch: U64(0),
    });
    Op::SaveNode {
        node: part(NodeId::from_parts, node),
        name: "n".to_owned(),
        region: "r".to_owned(),
        build: "b".to_owned(),
        inventory: Box::new(Inventory {
            slots: slots.collect(),
            uplink_kbps: (node == 0).then_some(9_000),
            ..inventory(4_000, 1_024)
        }),
        at: MonoTime(1_000),
    }
}

/// One change; values are so few that it often meets what another one left.
fn change(rng: &mut StdRng) -> Op {
    let n = rng.random_range(0..SESSIONS);
    let session = part(SessionId::from_parts, n);
    let claim = claim_of(rng);
    let at = MonoTime(rng.random_range(2..9) * 1_000);
    match rng.random_range(0..10) {
        0 | 1 => {
            let row = SessionRow {
                id: session,
                user: user_of(n),
                ..super::session()
            };
            let mut asked = create(&row, ["a", "b", "c"][key_of(n)], Some(2));
            if let Op::CreateSession { idempotency, .. } = &mut asked {
                idempotency.body_hash = [rng.random_range(0..2); 32];
            }
            asked
        }
        2..=4 => Op::Reserve(Box::new(Reserve {
            order: start_of(&SessionRow {
                id: session.clone(),
                ..super::session()
            }),
            session,
            with_create: false,
            phase: placed(&claim),
            claim,
            cpu_milli: 1_000,
            mem_mib: 100,
            kbps: 4_000,
            disk_mib: 0,
            gpus: Vec::new(),
            volumes: Vec::new(),
            capacity_rev: rng.random_range(1..6),
            at,
        })),
        5 => Op::Release {
            session,
            claim,
            billed_until: at,
            at,
        },
        6 => Op::SavePhase {
            session,
            phase: placed(&claim),
            starts_denied: 0,
            at,
        },
        7 => Op::BeginUsage {
            bill: usage::bill(&super::session()),
            session,
            claim,
            at,
        },
        8 => Op::OrderStop {
            order: stop_of(&session),
            session,
            node: claim.node,
            epoch: claim.epoch,
            at,
        },
        _ => save_of(rng.random_range(0..NODES)),
    }
}

/// Numbers of orders may differ: one that was undone uses its number up.
fn without_number(applied: Applied) -> Applied {
    match applied {
        Applied::Ordered { .. } => Applied::Ordered { command: 0 },
        other => other,
    }
}

/// Everything that a broker can read of the ledger.
async fn readable(ledger: &SqlLedger) -> String {
    let mut loaded = ledger.load(0).await.unwrap();
    for session in &mut loaded.sessions {
        // Times that begin anew with each load.
        if let Some(claim) = Lifecycle::restore(limits(), session.phase.clone(), 0).held() {
            session.phase = placed(&claim.claim);
        }
    }
    for order in &mut loaded.outbox {
        order.command = 0;
    }
    let key = |o: &OutboxRow| (o.session.clone(), o.epoch.0);
    loaded.outbox.sort_by_key(key);
    let mut text = format!(
        "{:#?}\n{:#?}\n{:#?}",
        loaded.sessions, loaded.nodes, loaded.outbox
    );
    for n in 0..SESSIONS {
        let usage = ledger.usage(part(SessionId::from_parts, n)).await.unwrap();
        text += &format!("\n{usage:?}");
    }
    text
}

pub(super) async fn a_group_is_its_changes_one_by_one(place: Place) {
    let together = Store::open(place).await;
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let apart = Store::open(Place::file()).await;
        together.empty().await;
        let mut ops: Vec<Op> = (0..NODES).map(save_of).collect();
        ops.extend((0..CHANGES).map(|_| change(&mut rng)));
        let as_one = together.ledger.write(ops.clone()).await.unwrap();
        for (n, (op, one)) in ops.into_iter().zip(as_one).enumerate() {
            let shown = format!("{op:?}");
            let single = without_number(apart.write(op).await);
            assert_eq!(
                without_number(one),
                single,
                "seed {seed}, change {n}: {shown}"
            );
            *met.entry(format!("{single:?}").split(' ').next().unwrap().to_owned())
                .or_default() += 1;
        }
        assert_eq!(
            readable(&together.ledger).await,
            readable(&apart.ledger).await,
            "seed {seed}"
        );
    }
    for outcome in [
        "Done",
        "Ordered",
        "RaceLost",
        "Replayed",
        "KeyReused",
        "QuotaUsedUp",
    ] {
        assert!(
            met.contains_key(outcome),
            "no change came to {outcome}: {met:?}"
        );
    }
}

pub(super) async fn of_a_group_that_races_itself_each_slot_goes_to_one(place: Place) {
    let store = Store::open(place).await;
    let (good, stale) = (store.node(1, 64_000).await, store.node(1, 64_000).await);
    let (one, two, three) = (
        store.session().await,
        store.session().await,
        store.session().await,
    );
    let mut late = reserve(&stale, 0, &two);
    // It takes capacity before the slot refuses it.
    late.claim.epoch = Epoch(7);
    let mut second = reserve(&good, 0, &three);
    second.capacity_rev += 1;
    let ops = vec![op(&reserve(&good, 0, &one)), op(&late), op(&second)];
    let applied = store.ledger.write(ops).await.unwrap();
    assert!(ordered(&applied[0]), "{applied:?}");
    assert_eq!(applied[1..], [Applied::RaceLost, Applied::RaceLost]);
    let back = store.ledger.node(stale.id.clone()).await.unwrap().unwrap();
    assert_eq!(back, stale, "what was lost took nothing");
}

pub(super) async fn a_group_takes_what_its_quota_has_and_no_more(place: Place) {
    let store = Store::open(place).await;
    let user = nearlight_kit::ids::user();
    let rows: Vec<SessionRow> = (0..5)
        .map(|_| SessionRow {
            user: user.clone(),
            ..session()
        })
        .collect();
    let keys = ["a", "b", "c", "d", "e"];
    let ops = rows.iter().zip(keys);
    let ops = ops.map(|(row, key)| create(row, key, Some(3))).collect();
    let applied = store.ledger.write(ops).await.unwrap();
    assert_eq!(applied[..3], [Applied::Done, Applied::Done, Applied::Done]);
    assert_eq!(applied[3..], [Applied::QuotaUsedUp, Applied::QuotaUsedUp]);
    assert_eq!(store.loaded().await.sessions.len(), 3);
    // The key of one that was refused is free.
    store
        .write(Op::ReturnQuota {
            session: session().id,
            user,
            tenant: None,
        })
        .await;
    assert_eq!(
        store.write(create(&rows[4], "d", Some(3))).await,
        Applied::Done
    );
}

pub(super) async fn a_nul_in_what_an_edge_says_harms_nobody(place: Place) {
    let store = Store::open(place).await;
    let row = store.session().await;
    let phase = Phase::Ended {
        reason: EndReason::AppCrashed,
        detail: "a\0b".to_owned(),
    };
    let ended = Op::SavePhase {
        session: row.id.clone(),
        phase,
        starts_denied: 0,
        at: MonoTime(3_000),
    };
    let other = session();
    let applied = store
        .ledger
        .write(vec![ended, create(&other, "k", None)])
        .await;
    assert_eq!(applied.unwrap(), [Applied::Done, Applied::Done]);
    let read = store.loaded().await.sessions;
    let ended = read.iter().find(|s| s.id == row.id).unwrap();
    let Phase::Ended { detail, .. } = &ended.phase else {
        panic!("{:?}", ended.phase);
    };
    assert_eq!(detail, "a\u{fffd}b");
}
