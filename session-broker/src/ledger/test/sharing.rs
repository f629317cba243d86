//! Brokers that share a ledger: whose is what, and who finds out.

use super::place::{Place, Server};
use super::*;
use sqlx::Row;

/// Two brokers on one ledger.
pub(super) struct Two {
    pub(super) a: Store,
    pub(super) b: Store,
}

impl Two {
    pub(super) async fn open(place: Place) -> Self {
        Self {
            a: Store::open_as(place.clone(), member("a", "a:1")).await,
            b: Store::open_as(place, member("b", "b:1")).await,
        }
    }

    /// A node of `a` with a session that holds its slot.
    pub(super) async fn running(&self) -> (NodeRow, SessionRow, Claim) {
        let node = self.a.node(1, 1000).await;
        let session = self.a.session().await;
        let reserve = reserve(&node, 0, &session);
        let claim = reserve.claim.clone();
        let applied = self.a.write(Op::Reserve(Box::new(reserve))).await;
        assert!(matches!(applied, Applied::Ordered { .. }), "{applied:?}");
        (node, session, claim)
    }

    pub(super) async fn hold(&self, node: &NodeRow) -> Applied {
        let (node, at) = (node.id.clone(), MonoTime(9_000));
        self.b.write(Op::HoldNode { node, at }).await
    }

    /// How far a broker's row has come.
    pub(super) async fn seq(&self, name: &str) -> u64 {
        row_of(&self.b, name).await.seq
    }
}

async fn write_by(store: &Store, ops: Vec<Op>, basis: Basis) -> Result<Vec<Applied>, StoreError> {
    store.ledger.write_as_holder(ops, basis).await
}

fn handed_back(written: Result<Vec<Applied>, StoreError>) -> HandedBack {
    match written {
        Err(StoreError::Lost(back)) => *back,
        other => panic!("{other:?}"),
    }
}

async fn holder_of(store: &Store, session: &SessionRow) -> String {
    let found = store.ledger.session(session.id.clone()).await.unwrap();
    found.unwrap().1.to_string()
}

async fn row_of(store: &Store, name: &str) -> BrokerRow {
    let brokers = store.ledger.brokers().await.unwrap();
    let row = brokers.into_iter().find(|b| b.member.id.as_str() == name);
    row.unwrap()
}

pub(super) async fn a_node_that_is_taken_brings_its_sessions_and_its_loser_finds_out_first(
    place: Place,
) {
    let two = Two::open(place).await;
    let (node, session, claim) = two.running().await;
    let waiting = two.a.session().await;
    assert_eq!(two.hold(&node).await, Applied::Done);
    assert_eq!(holder_of(&two.a, &session).await, "b");
    assert_eq!(
        holder_of(&two.a, &waiting).await,
        "a",
        "it holds no claim there"
    );

    // What the loser writes as a holder comes back to it, and changes nothing.
    let release = Op::Release {
        session: session.id.clone(),
        claim: claim.clone(),
        billed_until: MonoTime(10_000),
        at: MonoTime(10_000),
    };
    let late = write_by(&two.a, vec![release], Basis::default()).await;
    let back = handed_back(late);
    assert_eq!((back.ops.len(), &back.nodes), (1, &vec![node.id.clone()]));
    assert_eq!(back.basis.losses, 1);
    // What it writes for others than itself is not held up.
    two.a.session().await;
    let knows = write_by(&two.a, Vec::new(), back.basis).await;
    assert_eq!(knows.unwrap(), []);

    let of_b = two.b.loaded().await;
    assert_eq!(of_b.nodes.len(), 1);
    assert_eq!(of_b.outbox.len(), 1, "its orders, too");
    let held = Lifecycle::restore(limits(), of_b.sessions[0].phase.clone(), 0);
    assert_eq!(
        held.held().map(|h| &h.claim),
        Some(&claim),
        "the claim still holds"
    );
    let of_a = two.a.loaded().await;
    assert_eq!((of_a.nodes.len(), of_a.basis), (0, back.basis));
    assert_eq!(two.hold(&node).await, Applied::Done, "once more is no harm");
    let knows = write_by(&two.a, Vec::new(), back.basis).await;
    assert_eq!(knows.unwrap(), []);
}

/// Who learned that a node was taken, of a ledger that went back behind that: as many were taken again, but others.
pub(super) async fn what_was_learned_of_what_is_lost_is_not_gone_by(place: Place) {
    let two = Two::open(place.clone()).await;
    let (node, _, _) = two.running().await;
    let other = two.a.node(1, 1000).await;
    let mut beside = place.connect().await;
    assert_eq!(two.hold(&node).await, Applied::Done);
    let seq = row_of(&two.b, "a").await.seq;
    let back = handed_back(write_by(&two.a, Vec::new(), Basis::default()).await);
    assert_eq!(back.nodes, [node.id]);

    let went_back = format!(
        "UPDATE node SET holder = 'a'; UPDATE session SET holder = 'a'; DELETE FROM node_move;
         UPDATE writer SET losses = 0, seq = {seq} WHERE writer_id = 'a'"
    );
    let went_back = sqlx::raw_sql(sqlx::AssertSqlSafe(went_back));
    went_back.execute(&mut beside).await.unwrap();
    assert_eq!(two.hold(&other).await, Applied::Done);
    let of_before = vec![create(&session(), "before", None)];
    let late = write_by(&two.a, of_before, back.basis).await;
    assert!(matches!(late, Err(StoreError::NotApplied(_))), "{late:?}");
    assert_eq!(two.a.ledger.setbacks(), 1);
    let loaded = two.a.loaded().await;
    assert_eq!((loaded.nodes.len(), loaded.sessions.len()), (1, 1));
    let knows = write_by(&two.a, Vec::new(), loaded.basis).await;
    assert_eq!(knows.unwrap(), []);
}

pub(super) async fn a_session_is_given_while_it_waits_and_to_a_broker_that_is_there(place: Place) {
    let two = Two::open(place).await;
    let (_, running, _) = two.running().await;
    let waiting = two.a.session().await;
    let give = |session: &SessionRow, to: &str| Op::GiveSession {
        session: session.id.clone(),
        to: to.parse().unwrap(),
    };
    assert_eq!(two.a.write(give(&running, "b")).await, Applied::RaceLost);
    assert_eq!(
        two.a.write(give(&waiting, "nobody")).await,
        Applied::RaceLost
    );
    assert_eq!(two.a.write(give(&waiting, "b")).await, Applied::Done);
    let of_b = two.b.ledger.waiting().await.unwrap();
    assert_eq!(
        of_b.iter().map(|s| &s.id).collect::<Vec<_>>(),
        [&waiting.id]
    );
    assert_eq!(two.a.ledger.waiting().await.unwrap().len(), 0);
    // One that is created and given at once.
    let new = session();
    let ops = vec![create(&new, "k2", None), give(&new, "b")];
    let applied = two.a.ledger.write(ops).await.unwrap();
    assert_eq!(applied, [Applied::Done, Applied::Done]);
    assert_eq!(holder_of(&two.a, &new).await, "b");
    let of_a = two
        .a
        .ledger
        .live_of("a".parse().unwrap(), LiveOf::Everyone)
        .await
        .unwrap();
    assert_eq!(of_a.len(), 1);
}

/// Who was given a session believes so, and after a failover the ledger does not: the giver has it, and places it.
pub(super) async fn i2_a_session_is_claimed_by_who_holds_it(place: Place) {
    let two = Two::open(place).await;
    let node = two.b.node(1, 1000).await;
    let waiting = two.a.session().await;
    let claim = || op(&reserve(&node, 0, &waiting));
    assert_eq!(two.b.write(claim()).await, Applied::RaceLost);
    let now = two.b.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(now, node, "nothing was taken");
    let give = Op::GiveSession {
        session: waiting.id.clone(),
        to: "b".parse().unwrap(),
    };
    assert_eq!(two.a.write(give).await, Applied::Done);
    assert!(ordered(&two.b.write(claim()).await));
}

/// Otherwise it is over in the ledger while it runs at who holds it, and its places are given back twice.
pub(super) async fn i4_a_session_is_ended_and_given_by_who_holds_it(place: Place) {
    let two = Two::open(place).await;
    let user = nearlight_kit::ids::user();
    let mine = |user: &UserId| SessionRow {
        user: user.clone(),
        ..session()
    };
    let waiting = mine(&user);
    let created = two.a.write(create(&waiting, "k", Some(1))).await;
    assert_eq!(created, Applied::Done);
    let lost = session();
    let of_b = two.b.loaded().await.basis;
    let end = |row: &SessionRow| {
        vec![
            Op::ReturnQuota {
                session: row.id.clone(),
                user: row.user.clone(),
                tenant: None,
            },
            Op::SavePhase {
                session: row.id.clone(),
                phase: Phase::Ended {
                    reason: EndReason::PlayerEnded,
                    detail: String::new(),
                },
                starts_denied: 0,
                at: MonoTime(3_000),
            },
        ]
    };
    // One that is the other broker's, and one that is not there at all.
    for believed in [&waiting, &lost] {
        let ops = [end(believed), end(believed)].concat();
        let back = handed_back(write_by(&two.b, ops, of_b).await);
        assert_eq!((back.ops.len(), back.basis), (4, of_b));
        assert!(back.sessions.iter().all(|id| *id == believed.id));
        assert!(!back.sessions.is_empty());
    }
    let give = Op::GiveSession {
        session: waiting.id.clone(),
        to: "b".parse().unwrap(),
    };
    assert_eq!(two.b.write(give).await, Applied::RaceLost);
    // Nor by a change that nobody has looked at.
    two.b.write(end(&waiting).remove(1)).await;
    let there = two.a.ledger.session(waiting.id.clone()).await.unwrap();
    let (row, holder) = there.unwrap();
    assert_eq!((row.phase, holder.as_str()), (Phase::Queued, "a"));
    let second = two.b.write(create(&mine(&user), "k2", Some(1))).await;
    assert_eq!(second, Applied::QuotaUsedUp, "its place is taken");

    let of_a = two.a.loaded().await.basis;
    let ended = write_by(&two.a, end(&waiting), of_a).await;
    assert_eq!(ended.unwrap(), [Applied::Done, Applied::Done]);
    let second = two.b.write(create(&mine(&user), "k2", Some(1))).await;
    assert_eq!(second, Applied::Done);
}

pub(super) async fn a_broker_that_is_seized_loses_everything_and_its_voice(place: Place) {
    let two = Two::open(place).await;
    let (node, session, _) = two.running().await;
    let stale = row_of(&two.b, "a").await;
    let waiting = two.a.session().await;
    let seize = |row: BrokerRow| Op::SeizeBroker {
        gone: Box::new(row),
        ended_after_ms: 0,
    };
    assert_eq!(
        two.b.write(seize(stale)).await,
        Applied::RaceLost,
        "it moved since"
    );
    assert_eq!(holder_of(&two.b, &session).await, "a");
    let row = row_of(&two.b, "a").await;
    assert!(row.holds && !row.stopped);
    assert_eq!(two.b.write(seize(row)).await, Applied::Done);
    for of in [&session, &waiting] {
        assert_eq!(holder_of(&two.b, of).await, "b");
    }
    assert_eq!(two.b.loaded().await.nodes[0].id, node.id);
    let late = two
        .a
        .ledger
        .write(vec![create(&super::session(), "l", None)])
        .await;
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert!(two.a.shutdown.token().is_cancelled(), "it stops");
    let row = row_of(&two.b, "a").await;
    assert!(row.stopped && !row.holds);
}

pub(super) async fn a_broker_that_stops_says_so(place: Place) {
    let two = Two::open(place).await;
    drop(two.a.ledger);
    two.a.shutdown.drain(GRACE).await;
    assert!(row_of(&two.b, "a").await.stopped);
    assert!(!row_of(&two.b, "b").await.stopped);
    let a = Store::open_as(two.b.place.clone(), member("a", "a:2")).await;
    let row = row_of(&a, "a").await;
    assert_eq!(
        (row.stopped, row.member.address.as_str(), row.term),
        (false, "a:2", 2)
    );
}

pub(super) async fn a_new_node_that_attaches_to_two_brokers_is_the_firsts(place: Place) {
    let two = Two::open(place).await;
    let node = two.a.node(1, 1000).await;
    // Neither had heard of it when it came.
    let save = Op::SaveNode {
        node: node.id.clone(),
        name: "other".to_owned(),
        region: "r".to_owned(),
        build: "b".to_owned(),
        inventory: Box::new(inventory(1, 1)),
        at: MonoTime(1),
    };
    assert_eq!(two.b.write(save).await, Applied::RaceLost);
    let kept = two.a.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!((kept.name, kept.slots), (node.name, node.slots));
    assert_eq!(two.b.loaded().await.nodes.len(), 0);
}

/// What it reads of one node is nothing, rather than what another broker does with it.
pub(super) async fn what_a_broker_reads_of_one_node_is_its_own(place: Place) {
    let two = Two::open(place).await;
    let (node, session, claim) = two.running().await;
    assert_eq!(two.hold(&node).await, Applied::Done);
    let len = |of: &Loaded| (of.nodes.len(), of.sessions.len(), of.outbox.len());
    for none in [
        two.a.ledger.of_node(node.id.clone()).await,
        two.a.ledger.surely_of_node(node.id.clone()).await,
    ] {
        assert_eq!(len(&none.unwrap()), (0, 0, 0));
    }
    let seq = row_of(&two.a, "b").await.seq;
    let surely = two.b.ledger.surely_of_node(node.id.clone()).await;
    assert_eq!(len(&surely.unwrap()), (1, 1, 1));
    assert_eq!(row_of(&two.a, "b").await.seq, seq + 1, "with a turn");
    assert_eq!(two.a.ledger.node(node.id.clone()).await.unwrap(), None);
    let all = two.b.ledger.of_node(node.id.clone()).await.unwrap();
    assert_eq!(len(&all), (1, 1, 1));
    let held = all.nodes[0].slots[&claim.slot].held_by.clone().unwrap();
    assert_eq!((held.session, held.epoch), (session.id, claim.epoch));
}

/// Whether somebody waits for a lock that another one has.
const WAITS: &str = "SELECT COUNT(*) AS n FROM pg_locks WHERE NOT granted";

/// A broker reads its sessions, its orders and its nodes one after the other. A node that were taken in between
/// would leave its sessions with two brokers; and one whose taking were read, and then lost, would be nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_node_from_a_broker_that_reads_what_it_holds() {
    let Some(server) = Server::start() else {
        return;
    };
    let place = server.database("reads").await;
    let two = Two::open(place.clone()).await;
    let (node, session, _) = two.running().await;
    let (mut held_up, mut beside) = (place.connect().await, place.connect().await);
    let hold_up = "BEGIN; LOCK TABLE node IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(hold_up).execute(&mut held_up).await.unwrap();

    let is_held_up = async {
        while {
            let row = sqlx::raw_sql(WAITS).fetch_one(&mut beside).await.unwrap();
            row.get::<i64, _>("n") == 0
        } {
            tokio::task::yield_now().await;
        }
        // What whoever takes or seizes has to change first.
        let take = "SELECT 1 FROM writer WHERE writer_id = 'a' FOR UPDATE NOWAIT";
        let taken = sqlx::raw_sql(take).execute(&mut beside).await;
        assert!(taken.is_err(), "it is in the way: {taken:?}");
        sqlx::raw_sql("COMMIT").execute(&mut held_up).await.unwrap();
    };
    let (loaded, ()) = tokio::join!(two.a.loaded(), is_held_up);
    let whose = |loaded: &Loaded| (loaded.nodes[0].id.clone(), loaded.sessions[0].id.clone());
    assert_eq!(whose(&loaded), (node.id.clone(), session.id));
    assert_eq!(two.hold(&node).await, Applied::Done);
    let back = handed_back(write_by(&two.a, Vec::new(), loaded.basis).await);
    assert_eq!(back.nodes, [node.id]);
}

/// Epochs are a slot's, so two runs of one session may have the same one.
pub(super) async fn an_order_of_a_later_run_is_its_nodes_and_no_other_node_acks_it(place: Place) {
    let store = Store::open(place).await;
    let session = store.session().await;
    let (former, later) = (store.node(1, 1000).await, store.node(1, 1000).await);
    let stop = async |node: &NodeRow, reason| {
        let order = Order::Stop {
            session: session.id.clone(),
            reason,
        };
        let op = Op::OrderStop {
            session: session.id.clone(),
            node: node.id.clone(),
            epoch: Epoch(1),
            order,
            at: MonoTime(9_000),
        };
        match store.write(op).await {
            Applied::Ordered { command } => command,
            other => panic!("{other:?}"),
        }
    };
    let acked = async |node: &NodeRow, command| {
        let node = node.id.clone();
        store.write(Op::Acked { node, command }).await;
        store.loaded().await.outbox
    };
    let first = stop(&former, EndReason::NodeLost).await;
    let second = stop(&later, EndReason::JobDone).await;
    let left = acked(&former, first).await;
    assert_eq!(left.len(), 1, "the former node has no say in it");
    assert_eq!((&left[0].node, left[0].command), (&later.id, second));
    let reason = EndReason::JobDone;
    let of = session.id.clone();
    assert_eq!(
        left[0].order,
        Order::Stop {
            session: of,
            reason
        }
    );
    assert_eq!(acked(&later, second).await, []);
}

pub(super) async fn only_the_sessions_that_are_asked_for_are_read(place: Place) {
    let store = Store::open(place).await;
    let tenant = nearlight_kit::ids::tenant();
    let mut users = Vec::new();
    for (n, of) in [Some(&tenant), Some(&tenant), None, None]
        .into_iter()
        .enumerate()
    {
        let mut row = session();
        row.user = nearlight_kit::ids::user();
        row.tenant = of.cloned();
        store.write(create(&row, &format!("k{n}"), None)).await;
        users.push(row.user);
    }
    let count = async |whose| {
        let me = "broker".parse().unwrap();
        store.ledger.live_of(me, whose).await.unwrap().len()
    };
    assert_eq!(count(LiveOf::Everyone).await, 4);
    assert_eq!(count(LiveOf::Tenant(tenant)).await, 2);
    assert_eq!(count(LiveOf::Users(users[2..].to_vec())).await, 2);
    assert_eq!(count(LiveOf::Users(users[..1].to_vec())).await, 1);
    let nobody = vec![nearlight_kit::ids::user()];
    assert_eq!(count(LiveOf::Users(nobody)).await, 0);
}
