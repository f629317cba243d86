//! Who checks whom: nodes' keys, checkers, and assignments.

use super::*;
use crate::ledger::identity::Secret;
use nearlight_protocol::api::Role;
use nearlight_protocol::identity::Scope;

const FAR_S: u64 = 4_000_000_000;

fn check(change: CheckChange) -> Op {
    Op::Check {
        change,
        audit: None,
    }
}

fn shown(node: &NodeId, key: &str, at_s: u64) -> Op {
    shown_of(node, key, at_s, 3)
}

fn shown_of(node: &NodeId, key: &str, at_s: u64, most: u32) -> Op {
    check(CheckChange::NodeKey(Box::new(NodeKey {
        node: node.clone(),
        key: key.to_owned(),
        key_id: format!("id of {key}"),
        operator: "network".to_owned(),
        most,
        from_s: at_s - 1,
        until_s: FAR_S,
        at_s,
    })))
}

/// A new key ends the former one's window, both in the directory; a key is of one node.
pub(super) async fn a_nodes_key_is_listed_until_it_has_another_one(place: Place) {
    let store = Store::open(place).await;
    let (one, two) = (nearlight_kit::ids::node(), nearlight_kit::ids::node());
    assert_eq!(store.write(shown(&one, "a", 10)).await, Applied::Done);
    assert_eq!(store.write(shown(&one, "a", 11)).await, Applied::Skipped);
    assert_eq!(store.write(shown(&two, "a", 12)).await, Applied::RaceLost);
    assert_eq!(store.write(shown(&one, "b", 20)).await, Applied::Done);
    let windows = async || {
        let rows = store.ledger.directory().await.unwrap();
        let of = rows.keys.into_iter().map(|k| (k.key, k.from_s, k.until_s));
        (rows.serial, of.collect::<Vec<_>>())
    };
    let (serial, keys) = windows().await;
    assert_eq!(keys, [("a".to_owned(), 9, 20), ("b".to_owned(), 19, FAR_S)]);
    let now = store.ledger.node_keys(20).await.unwrap();
    assert_eq!(now.len(), 1);
    assert_eq!(
        (now[0].key.as_str(), now[0].operator.as_str()),
        ("b", "network")
    );
    // Its data directory was restored: the window of the first goes on.
    assert_eq!(store.write(shown(&one, "a", 30)).await, Applied::Done);
    let (later, keys) = windows().await;
    assert!(later > serial);
    assert_eq!(keys, [("a".to_owned(), 9, FAR_S), ("b".to_owned(), 19, 30)]);
    // Four keys in 30 days; one that it had before is none of them.
    let day = 24 * 3600;
    assert_eq!(store.write(shown_of(&one, "e", 31, 9)).await, Applied::Done);
    assert_eq!(store.write(shown_of(&one, "f", 32, 9)).await, Applied::Done);
    let fifth = store.write(shown_of(&one, "g", 33, 9)).await;
    assert_eq!(fifth, Applied::QuotaUsedUp);
    assert_eq!(store.write(shown(&one, "a", 34)).await, Applied::Done);
    let fifth = store.write(shown_of(&one, "g", 11 + 30 * day, 9)).await;
    assert_eq!(fifth, Applied::Done, "a month later");
    assert_eq!(
        store.write(shown(&one, "a", 12 + 30 * day)).await,
        Applied::Done
    );
    // A full directory leaves a node without, and says so.
    assert_eq!(store.write(shown_of(&two, "c", 40, 6)).await, Applied::Done);
    let three = nearlight_kit::ids::node();
    assert_eq!(
        store.write(shown(&three, "d", 50)).await,
        Applied::QuotaUsedUp
    );
}

fn token(n: u8, expires_ms: u64) -> Op {
    check(CheckChange::AddToken(CheckerTokenRow {
        hash: [n; 32],
        operator: format!("operator {n}"),
        licence: None,
        created_ms: 1,
        expires_ms,
        used_by: None,
    }))
}

fn joins(token: u8, key: &str, at_ms: u64) -> Op {
    let api_key = KeyRow {
        id: nearlight_kit::ids::key(),
        user: nearlight_kit::ids::user(),
        tenant: None,
        name: "checker".to_owned(),
        role: Role::Operator,
        scopes: Some(vec![Scope::NodesProbe]),
        is_beyond: false,
        prefix: "nlk_x".to_owned(),
        sessions_max: None,
        created_ms: at_ms,
        expires_ms: None,
        last_used_ms: None,
        revoked_ms: None,
    };
    check(CheckChange::Join(Box::new(CheckerJoins {
        token: [token; 32],
        key: key.to_owned(),
        key_id: format!("id of {key}"),
        until_s: FAR_S,
        early_s: 1,
        most: 2,
        secret: Secret {
            hash: rand::random(),
            prefix: "nlk_x".to_owned(),
        },
        api_key,
        at_ms,
    })))
}

fn hold(instance: &str, now_ms: u64) -> Op {
    check(CheckChange::Hold {
        key_id: "id of a".to_owned(),
        instance: instance.to_owned(),
        until_ms: now_ms + 100,
        plays: None,
        now_ms,
    })
}

/// Since when it plays is remembered while it goes on saying so, and begins anew.
async fn plays_since(store: &Store) {
    let says = async |plays, now_ms| {
        let said = check(CheckChange::Hold {
            key_id: "id of a".to_owned(),
            instance: "one".to_owned(),
            until_ms: now_ms + 1_000,
            plays,
            now_ms,
        });
        assert_eq!(store.write(said).await, Applied::Done);
        store.ledger.checkers().await.unwrap()[0].plays_since_ms
    };
    assert_eq!(says(None, 20_000).await, None);
    assert_eq!(says(Some(true), 20_001).await, Some(20_001));
    assert_eq!(says(Some(true), 20_500).await, Some(20_001));
    assert_eq!(says(None, 20_600).await, Some(20_001));
    assert_eq!(says(Some(false), 20_700).await, None);
    assert_eq!(says(Some(true), 20_800).await, Some(20_800));
}

/// What a copy asked before it said that it stops may come after that: it kept its key from the next copy.
async fn a_copy_that_stopped_holds_nothing(store: &Store) {
    let stop = |instance: &str, now_ms| {
        check(CheckChange::Hold {
            key_id: "id of a".to_owned(),
            instance: instance.to_owned(),
            until_ms: 0,
            plays: None,
            now_ms,
        })
    };
    let write = async |op| store.write(op).await;
    assert_eq!(write(hold("first", 30_000)).await, Applied::Done);
    assert_eq!(write(stop("other", 30_010)).await, Applied::RaceLost);
    assert_eq!(write(stop("first", 30_020)).await, Applied::Done);
    assert_eq!(write(hold("first", 30_030)).await, Applied::RaceLost);
    assert_eq!(write(stop("first", 30_040)).await, Applied::Done, "again");
    assert_eq!(write(hold("second", 30_050)).await, Applied::Done);
    assert_eq!(write(hold("first", 30_060)).await, Applied::RaceLost);
    // One that was away for longer than it held its key goes on, if nobody came in between.
    assert_eq!(write(hold("second", 31_000)).await, Applied::Done);
    // Nor does the first hold it once the second has stopped, too.
    assert_eq!(write(stop("second", 31_010)).await, Applied::Done);
    assert_eq!(write(hold("first", 31_020)).await, Applied::RaceLost);
    assert_eq!(write(hold("third", 31_030)).await, Applied::Done);
}

/// A token lets one key in; a copy of a checker holds its key for a while; who is shut out stays out.
pub(super) async fn a_checker_comes_in_once_and_runs_once(place: Place) {
    let store = Store::open(place).await;
    store.write(token(1, 10_000)).await;
    assert_eq!(store.write(joins(2, "a", 5_000)).await, Applied::Missing);
    assert_eq!(
        store.write(joins(1, "a", 10_000)).await,
        Applied::Missing,
        "over"
    );
    assert_eq!(store.write(joins(1, "a", 5_000)).await, Applied::Done);
    assert_eq!(
        store.write(joins(1, "b", 5_000)).await,
        Applied::Missing,
        "used"
    );
    assert_eq!(
        store.write(joins(1, "a", 6_000)).await,
        Applied::Done,
        "the same"
    );
    let known = store.ledger.checkers().await.unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(
        (known[0].joined_s, known[0].operator.as_str()),
        (5, "operator 1")
    );
    store.write(token(3, 10_000)).await;
    assert_eq!(
        store.write(joins(3, "a", 5_000)).await,
        Applied::NameTaken,
        "another's"
    );

    assert_eq!(store.write(hold("x", 1_000)).await, Applied::Done);
    assert_eq!(store.write(hold("y", 1_050)).await, Applied::RaceLost);
    assert_eq!(store.write(hold("x", 1_060)).await, Applied::Done);
    assert_eq!(
        store.write(hold("y", 1_160)).await,
        Applied::Done,
        "the first is gone"
    );
    plays_since(&store).await;
    a_copy_that_stopped_holds_nothing(&store).await;
    let out = check(CheckChange::Revoke {
        key_id: "id of a".to_owned(),
        at_ms: 7_000,
    });
    assert_eq!(store.write(out.clone()).await, Applied::Done);
    assert_eq!(store.write(out).await, Applied::Skipped);
    assert_eq!(store.write(hold("y", 1_170)).await, Applied::Missing);
    let rows = store.ledger.directory().await.unwrap();
    assert_eq!(rows.keys[0].revoked_at_s, Some(7));
    store.write(token(4, 10_000)).await;
    assert_eq!(store.write(joins(4, "a", 5_000)).await, Applied::NameTaken);
    let revoked_s = store.ledger.checkers().await.unwrap()[0].revoked_s;
    assert!(revoked_s.is_some());
}

fn assigned(duty: &str) -> AssignmentRow {
    AssignmentRow {
        round: 7,
        node_key: "n".to_owned(),
        node: nearlight_kit::ids::node(),
        duty: duty.to_owned(),
        checker: "c".to_owned(),
        place: 0,
        due_ms: 100,
        until_ms: 200,
        state: AssignmentState::Due,
        why: String::new(),
        leaf: String::new(),
        session: None,
    }
}

/// An assignment is settled once, and the same round assigns nobody twice.
pub(super) async fn an_assignment_is_settled_once(place: Place) {
    let store = Store::open(place).await;
    let row = assigned("alive");
    let assign = check(CheckChange::Assign(vec![row.clone()]));
    assert_eq!(store.write(assign.clone()).await, Applied::Done);
    assert_eq!(store.write(assign.clone()).await, Applied::Skipped);
    let settle = |state, why: &str| {
        check(CheckChange::Settle {
            round: 7,
            node_key: "n".to_owned(),
            duty: "alive".to_owned(),
            checker: "c".to_owned(),
            state,
            why: why.to_owned(),
            leaf: String::new(),
        })
    };
    let ask = async |of| store.ledger.assignments(of).await.unwrap();
    let due = |now_ms| AssignmentQuery::Due {
        checker: "c".to_owned(),
        now_ms,
    };
    assert_eq!(ask(due(99)).await, []);
    assert_eq!(ask(due(100)).await, std::slice::from_ref(&row));
    assert_eq!(ask(due(200)).await, []);
    let overdue = |now_ms| AssignmentQuery::Overdue { now_ms };
    assert_eq!(ask(overdue(199)).await, []);
    assert_eq!(ask(overdue(200)).await.len(), 1);
    let missed = settle(AssignmentState::Missed, "a\0b");
    assert_eq!(store.write(missed).await, Applied::Done);
    let done = settle(AssignmentState::Done, "");
    assert_eq!(store.write(done).await, Applied::Missing, "it is settled");
    assert_eq!(store.write(assign).await, Applied::Skipped);
    let found = ask(AssignmentQuery::Round(7)).await;
    assert_eq!(
        (found[0].state, found[0].why.as_str()),
        (AssignmentState::Missed, "a\u{fffd}b")
    );
    let prune = check(CheckChange::Prune {
        before_ms: 1_000,
        all_before_ms: 0,
    });
    store.write(prune).await;
    assert_eq!(
        ask(AssignmentQuery::Round(7)).await.len(),
        1,
        "what was missed stays"
    );
}

/// However much else its checker has to do first, what is due of a node is found.
pub(super) async fn what_is_due_of_a_node_is_found_behind_any_number(place: Place) {
    let store = Store::open(place).await;
    let node = nearlight_kit::ids::node();
    let before = |n: u64| AssignmentRow {
        round: n,
        until_ms: 150,
        ..assigned("alive")
    };
    let wanted = AssignmentRow {
        round: 60,
        node: node.clone(),
        ..assigned("capacity/gpu-1")
    };
    let rows = (0..40).map(before).chain([wanted.clone()]).collect();
    let assign = check(CheckChange::Assign(rows));
    assert_eq!(store.write(assign).await, Applied::Done);
    let ask = async |of| store.ledger.assignments(of).await.unwrap();
    let page = AssignmentQuery::Due {
        checker: "c".to_owned(),
        now_ms: 100,
    };
    assert!(!ask(page).await.contains(&wanted), "a page has the first");
    let due = |duty: &str, now_ms| AssignmentQuery::DueOf {
        checker: "c".to_owned(),
        node: node.clone(),
        duty: duty.to_owned(),
        now_ms,
    };
    assert_eq!(ask(due("capacity/gpu-1", 100)).await, [wanted]);
    assert_eq!(ask(due("capacity/gpu-1", 99)).await, []);
    assert_eq!(ask(due("capacity/gpu-1", 200)).await, []);
    assert_eq!(ask(due("capacity/gpu-2", 100)).await, []);
}

/// Two brokers may say two things of a round: the first stays, be it that the round is void.
pub(super) async fn a_beacon_is_used_from_a_round_to_come_and_what_it_gave_stays(place: Place) {
    let store = Store::open(place).await;
    assert_eq!(store.ledger.chain().await.unwrap(), None);
    let chain = ChainRow {
        anchor: "a".to_owned(),
        genesis_ms: 1,
        round_ms: 2,
        length: 3,
        used: Vec::new(),
    };
    store.write(check(CheckChange::BeginChain(chain))).await;
    let of = |from_round, beacon: &str| BeaconRow {
        from_round,
        beacon: beacon.to_owned(),
    };
    let uses = |row: BeaconRow| check(CheckChange::UseBeacon(row));
    assert_eq!(store.write(uses(of(5, "quicknet"))).await, Applied::Done);
    for late in [of(5, "chain"), of(4, "chain")] {
        assert_eq!(store.write(uses(late)).await, Applied::Skipped);
    }
    assert_eq!(store.write(uses(of(6, "chain"))).await, Applied::Done);
    let same = store.write(uses(of(7, "chain"))).await;
    assert_eq!(same, Applied::Skipped, "it is used already");
    let known = store.ledger.chain().await.unwrap().unwrap();
    assert_eq!(known.used, [of(5, "quicknet"), of(6, "chain")]);
    assert_eq!((known.genesis_ms, known.length), (1, 3));

    let draw = |round, signature: &str| {
        let signature = signature.to_owned();
        check(CheckChange::Draw { round, signature })
    };
    assert_eq!(store.write(draw(5, "aa")).await, Applied::Done);
    assert_eq!(store.write(draw(5, "bb")).await, Applied::Skipped);
    assert_eq!(store.write(draw(6, "")).await, Applied::Done);
    assert_eq!(store.write(draw(6, "cc")).await, Applied::Skipped, "void");
    assert_eq!(store.write(draw(8, "dd")).await, Applied::Done);
    let drawn = async |span| store.ledger.drawn(span).await.unwrap();
    let text = |of: &str| of.to_owned();
    let expected = [(5, text("aa")), (6, text(""))];
    assert_eq!(drawn((5, 7)).await, DrawnRounds::from(expected));
    assert!(drawn((9, 9)).await.is_empty());
}

/// Of two players with one pass the first has a session; and what nobody could do is told apart from what was missed.
pub(super) async fn a_stream_has_one_session_and_may_be_void(place: Place) {
    let store = Store::open(place).await;
    let row = assigned("stream");
    let assign = check(CheckChange::Assign(vec![row.clone()]));
    assert_eq!(store.write(assign).await, Applied::Done);
    let play = |session: &SessionId| {
        check(CheckChange::Play {
            round: 7,
            node_key: "n".to_owned(),
            duty: "stream".to_owned(),
            checker: "c".to_owned(),
            session: session.clone(),
        })
    };
    let (first, second) = (nearlight_kit::ids::session(), nearlight_kit::ids::session());
    assert_eq!(store.write(play(&first)).await, Applied::Done);
    assert_eq!(store.write(play(&second)).await, Applied::RaceLost);
    let round = async || {
        let all = AssignmentQuery::Round(7);
        store.ledger.assignments(all).await.unwrap().remove(0)
    };
    assert_eq!(round().await.session, Some(first));
    let void = check(CheckChange::Settle {
        round: 7,
        node_key: "n".to_owned(),
        duty: "stream".to_owned(),
        checker: "c".to_owned(),
        state: AssignmentState::Void,
        why: "no free slot".to_owned(),
        leaf: String::new(),
    });
    assert_eq!(store.write(void.clone()).await, Applied::Done);
    assert_eq!(store.write(void).await, Applied::Missing, "it is settled");
    let found = round().await;
    assert_eq!(
        (found.state, found.why.as_str()),
        (AssignmentState::Void, "no free slot")
    );
    assert_eq!(store.write(play(&second)).await, Applied::RaceLost);
}
