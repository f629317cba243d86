//! Usage as a bill has it: what a day comes to, what outlives what, prices, budgets.

use super::identity::{change, tenant_row};
use super::*;
use crate::budgets::{self, Payer};
use nearlight_protocol::usage::UsageFacts;
use nearlight_session::bill::{Charge, Held, Metered, Range, RateBook, RateCard, Rates};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What is billed of a session, with half a GiB and one and a half cores.
pub(super) fn bill(row: &SessionRow) -> Box<Bill> {
    Box::new(Bill {
        user: row.user.clone(),
        tenant: row.tenant.clone(),
        item: Item::App(row.app().unwrap().id.clone()),
        region: "fra".to_owned(),
        metered: Metered {
            cpu_milli: 1500,
            mem_mib: 512,
            gpus: Vec::new(),
            score_permille: Some(870),
        },
        score_receipt: Some(41),
        labels: BTreeMap::from([("customer".to_owned(), "acme \"&\u{e9}".to_owned())]),
    })
}

pub(super) fn at(ms: u64) -> MonoTime {
    MonoTime(ms * 1000)
}

fn begin(row: &SessionRow, claim: &Claim, ms: u64) -> Op {
    Op::BeginUsage {
        session: row.id.clone(),
        claim: claim.clone(),
        bill: bill(row),
        at: at(ms),
    }
}

fn release(row: &SessionRow, claim: &Claim, billed_ms: u64, ms: u64) -> Op {
    Op::Release {
        session: row.id.clone(),
        claim: claim.clone(),
        billed_until: at(billed_ms),
        at: at(ms),
    }
}

fn claim(node: &NodeRow, slot: usize, epoch: u64) -> Claim {
    Claim {
        node: node.id.clone(),
        slot: node.slots.keys().nth(slot).unwrap().clone(),
        epoch: Epoch(epoch),
    }
}

pub(super) fn all() -> UsageQuery {
    UsageQuery {
        tenant: None,
        from_ms: 0,
        to_ms: u64::MAX,
        after: None,
        max: 1000,
    }
}

/// The claims among the lines.
async fn claims(store: &Store) -> Vec<ClaimLine> {
    let lines = store.ledger.usage_lines(all()).await.unwrap();
    let claim = |line| match line {
        UsageLine::Claim(line) => line,
        UsageLine::Volume(line) => panic!("no volume was made: {line:?}"),
    };
    lines.into_iter().map(claim).collect()
}

/// A day of one slot: five sessions, a price that rises at noon, a restart of the broker in each, every
/// change said twice, and a node that is lost.
pub(super) async fn i5_a_scripted_day_comes_to_what_is_computed_by_hand(place: Place) {
    let mut store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    // Acked start, acked stop, and when the ledger is told of it; milliseconds of the day.
    let day = [
        (0, HOUR_MS, HOUR_MS),
        (2 * HOUR_MS + 1, 2 * HOUR_MS + 90_999, 2 * HOUR_MS + 90_999),
        // Over noon.
        (
            12 * HOUR_MS - 1_500,
            12 * HOUR_MS + 2_700,
            12 * HOUR_MS + 2_700,
        ),
        // Its node was heard of until eight, and given up at nine.
        (15 * HOUR_MS, 20 * HOUR_MS + 250, 21 * HOUR_MS),
        // Its node was heard of last before its start was acked.
        (22 * HOUR_MS, 21 * HOUR_MS, 23 * HOUR_MS),
    ];
    for (number, (began, billed, told)) in (1..).zip(day) {
        let row = store.session().await;
        let claim = claim(&node, 0, number);
        for _ in 0..2 {
            store.write(begin(&row, &claim, began)).await;
        }
        store = store.reopen().await;
        store.write(begin(&row, &claim, told)).await;
        for later in [0, 5_000] {
            store
                .write(release(&row, &claim, billed, told + later))
                .await;
            store
                .write(release(&row, &claim, billed + later, told))
                .await;
        }
    }
    let lines = store.ledger.usage_lines(all()).await.unwrap();
    let card = |from_ms, slot| RateCard {
        from_ms,
        rates: Rates {
            slot,
            cpu_core: 11,
            mem_gib: 2,
            ..Rates::default()
        },
    };
    let book = RateBook::new([card(0, 40), card(12 * HOUR_MS, 50)]);
    let charges: Vec<Charge> = lines
        .iter()
        .map(|line| book.charge(&line.held(), line.interval(DAY_MS), Range::ALL))
        .collect();
    let of = |seconds, micro| Charge { seconds, micro };
    // A second costs 40 (from noon on 50) + 1.5 * 11 + 0.5 * 2 = 57.5 (67.5).
    let by_hand = [
        of(3600, 207_000),
        of(90, 5_175),
        // Two seconds begin before noon, and two after it.
        of(4, 115 + 135),
        of(18_000, 1_215_000),
        of(0, 0),
    ];
    assert_eq!(charges, by_hand);
}

pub(super) async fn i5_another_slot_with_the_same_epoch_is_another_interval(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 64_000).await;
    let row = store.session().await;
    let (first, second) = (claim(&node, 0, 1), claim(&node, 1, 1));
    store.write(begin(&row, &first, 1_000)).await;
    store.write(release(&row, &first, 3_000, 3_000)).await;
    store.write(begin(&row, &second, 4_000)).await;
    let lines = claims(&store).await;
    let ran: Vec<_> = lines.iter().map(|l| (l.began_ms, l.ended_ms)).collect();
    assert_eq!(ran, [(1_000, Some(3_000)), (4_000, None)]);
    assert_eq!(lines[1].slot.as_ref(), Some(&second.slot));
    assert_eq!(lines[1].bill, *bill(&row), "as it was when it began");
    store.write(release(&row, &first, 9_000, 9_000)).await;
    let lines = claims(&store).await;
    assert_eq!(lines[1].ended_ms, None, "that is the other one's");
}

/// Reports that come twice, late, or from an agent that has begun to count anew.
pub(super) async fn what_a_job_used_never_shrinks_and_what_is_unknown_changes_nothing(
    place: Place,
) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let row = store.session().await;
    let claim = claim(&node, 0, 1);
    store.write(begin(&row, &claim, 1_000)).await;
    let facts = |cpu_ms, mem, gpu, mean, busy| UsageFacts {
        cpu_ms,
        mem_mib_peak: mem,
        gpu_mem_mib_peak: gpu,
        gpu_mem_mib_mean: mean,
        gpu_busy_percent_mean: busy,
    };
    let known = facts(Some(700), Some(90), Some(9_000), Some(50), Some(7));
    for (said, expected) in [
        (UsageFacts::default(), UsageFacts::default()),
        (
            facts(Some(0), None, None, None, None),
            facts(Some(0), None, None, None, None),
        ),
        (
            facts(Some(500), Some(90), None, None, None),
            facts(Some(500), Some(90), None, None, None),
        ),
        (
            facts(Some(700), Some(10), Some(9_000), Some(80), Some(5)),
            facts(Some(700), Some(90), Some(9_000), Some(80), Some(5)),
        ),
        (facts(Some(3), Some(4), Some(5), Some(50), Some(7)), known),
        (UsageFacts::default(), known),
        (facts(Some(u64::MAX), None, None, None, None), known),
    ] {
        let noted = Op::NoteUsed {
            session: row.id.clone(),
            claim: claim.clone(),
            facts: said,
        };
        for _ in 0..2 {
            store.write(noted.clone()).await;
        }
        assert_eq!(claims(&store).await[0].used, expected, "{said:?}");
    }
    store.write(release(&row, &claim, 3_000, 3_000)).await;
    let line = &claims(&store).await[0];
    assert_eq!((line.used, line.ended_ms), (known, Some(3_000)));
}

pub(super) async fn i5_usage_outlives_its_session_and_goes_after_a_year(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let row = store.session().await;
    let claim = claim(&node, 0, 1);
    let ended = Phase::Ended {
        reason: EndReason::AppExited,
        detail: String::new(),
    };
    let ops = vec![
        begin(&row, &claim, 1_000),
        release(&row, &claim, 3_000, 3_000),
        Op::SavePhase {
            session: row.id.clone(),
            phase: ended,
            starts_denied: 0,
            at: at(3_000),
        },
        Op::SweepEnded {
            before: at(4_000),
            sessions_max: 10,
        },
    ];
    store.ledger.write(ops).await.unwrap();
    assert_eq!(store.ledger.session(row.id).await.unwrap(), None);
    let prune = |days: u64| prune(Remains::Usage, at(days * DAY_MS));
    store.write(prune(400)).await;
    assert_eq!(store.ledger.usage_lines(all()).await.unwrap().len(), 1);
    store.write(prune(401)).await;
    assert_eq!(store.ledger.usage_lines(all()).await.unwrap(), []);
}

pub(super) async fn lines_are_paged_by_beginning_and_tenants_see_their_own(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let tenant = nearlight_kit::ids::tenant();
    for number in 1..=6 {
        let mut row = session();
        row.tenant = (number % 2 == 0).then(|| tenant.clone());
        let claim = claim(&node, 0, number);
        // All but one begin at once.
        let began = if number == 1 { 9_000 } else { 5_000 };
        store.write(begin(&row, &claim, began)).await;
        if number > 3 {
            store.write(release(&row, &claim, 6_000, 6_000)).await;
        }
    }
    let whole = store.ledger.usage_lines(all()).await.unwrap();
    assert_eq!((whole.len(), whole[5].place().began_ms), (6, 9_000));
    let mut paged = Vec::new();
    while let Some(next) = {
        let after = paged.last().map(UsageLine::place);
        let page = UsageQuery {
            after,
            max: 1,
            ..all()
        };
        store.ledger.usage_lines(page).await.unwrap().pop()
    } {
        paged.push(next);
    }
    assert_eq!(paged, whole);
    let count = async |of: UsageQuery| store.ledger.usage_lines(of).await.unwrap().len();
    let own = UsageQuery {
        tenant: Some(tenant),
        ..all()
    };
    assert_eq!(count(own).await, 3);
    assert_eq!(
        count(UsageQuery {
            from_ms: 6_000,
            ..all()
        })
        .await,
        3,
        "those that run"
    );
    assert_eq!(
        count(UsageQuery {
            to_ms: 9_000,
            ..all()
        })
        .await,
        5
    );
}

pub(super) async fn a_card_that_holds_stays_and_none_reaches_into_the_past(place: Place) {
    let store = Store::open(place).await;
    let put = |declared_ms, card: &str, at_ms| Op::PutRateCard {
        declared_ms,
        card: card.to_owned(),
        at_ms,
    };
    let cards = async || {
        let cards = store.ledger.rate_cards().await.unwrap();
        let shown = cards
            .into_iter()
            .map(|c| (c.declared_ms, c.from_ms, c.card));
        shown.collect::<Vec<_>>()
    };
    let card = |declared_ms, from_ms, card: &str| (declared_ms, from_ms, card.to_owned());
    store.write(put(1_000, "a", 5_000)).await;
    store.write(put(9_000, "b", 5_000)).await;
    store.write(put(1_000, "changed", 6_000)).await;
    store.write(put(9_000, "changed", 6_000)).await;
    let before = [card(1_000, 5_000, "a"), card(9_000, 9_000, "changed")];
    assert_eq!(cards().await, before, "the second does not hold yet");
    store.write(put(9_000, "too late", 9_001)).await;
    assert_eq!(cards().await, before);
}

pub(super) async fn a_budget_is_of_a_session_that_lives_and_of_its_holder(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let row = session();
    let budget = |session: &SessionId| Op::SetBudget {
        session: session.clone(),
        budget_micro: 70,
    };
    let refused = session();
    let ops = vec![
        create(&row, "k", None),
        budget(&row.id),
        create(
            &SessionRow {
                user: row.user.clone(),
                ..refused.clone()
            },
            "k",
            None,
        ),
        budget(&refused.id),
    ];
    store.ledger.write(ops).await.unwrap();
    assert_eq!(store.ledger.budgeted().await.unwrap(), [], "it has not run");
    let claim = claim(&node, 0, 1);
    store.write(begin(&row, &claim, 1_000)).await;
    store.write(begin(&refused, &claim, 1_000)).await;
    let budgeted = store.ledger.budgeted().await.unwrap();
    assert_eq!(budgeted.len(), 1, "a replay brings no budget: {budgeted:?}");
    assert_eq!(
        (&budgeted[0].session, budgeted[0].budget_micro),
        (&row.id, 70)
    );
    let held = Held::Claim(bill(&row).metered);
    assert_eq!(budgeted[0].lines[0].held, held);
    let ended = Op::SavePhase {
        session: row.id,
        phase: Phase::Ended {
            reason: EndReason::BudgetReached,
            detail: String::new(),
        },
        starts_denied: 0,
        at: at(2_000),
    };
    store.write(ended).await;
    assert_eq!(store.ledger.budgeted().await.unwrap(), []);
}

pub(super) async fn budgets_wait_for_no_callers_long_question(place: Place) {
    let store = Store::open(place).await;
    let busy = store.ledger.long_reader().await;
    let waits = store.ledger.usage_lines(all());
    let looked = async {
        let budgeted = store.ledger.budgeted().await.unwrap();
        (budgeted, store.ledger.spent_lines(all()).await.unwrap())
    };
    tokio::select! {
        biased;
        rows = waits => panic!("{rows:?} read beside another long question"),
        looked = looked => assert_eq!(looked, (Vec::new(), Vec::new())),
    }
    drop(busy);
}

/// Usage of one tenant that cannot be read.
pub(super) async fn a_tenant_whose_usage_cannot_be_read_holds_up_no_other_budget(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 64_000).await;
    let tenants = ["a", "b"].map(tenant_row);
    let card =
        r#"{"currency":"EUR","slot":1000000,"cpu_core":0,"mem_gib":0,"gpu_other":0,"gpu":{}}"#;
    let mut ops = vec![Op::PutRateCard {
        declared_ms: 0,
        card: card.to_owned(),
        at_ms: 0,
    }];
    for (slot, tenant) in tenants.iter().enumerate() {
        let row = SessionRow {
            tenant: Some(tenant.id.clone()),
            ..session()
        };
        ops.push(change(IdentityChange::AddTenant(tenant.clone())));
        ops.push(create(&row, "k", None));
        ops.push(begin(&row, &claim(&node, slot, 1), 1_000));
    }
    store.ledger.write(ops).await.unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(store.ledger);
    let due = |tenant: &TenantRow| Payer::Tenant(tenant.id.clone());
    let look = budgets::look(&ledger, &mut HashMap::new(), 2_000).await;
    let look = look.unwrap();
    assert_eq!((look.dues.len(), look.unread.len()), (2, 0), "{look:?}");

    let mut beside = store.place.connect().await;
    let spoil = format!(
        "UPDATE usage_interval SET kind = 'none' WHERE tenant_id = '{}'",
        tenants[0].id
    );
    let spoil = sqlx::AssertSqlSafe(spoil);
    sqlx::raw_sql(spoil).execute(&mut beside).await.unwrap();
    let look = budgets::look(&ledger, &mut HashMap::new(), 2_000).await;
    let look = look.unwrap();
    let payers: Vec<_> = look.dues.iter().map(|due| due.payer.clone()).collect();
    assert_eq!(payers, [due(&tenants[1])], "{look:?}");
    assert_eq!(look.unread.len(), 1);
    assert_eq!(look.unread[0].0, tenants[0].id);
}

/// An older broker names no slot and none of what a bill needs beside; it may still run beside this one.
pub(super) async fn what_an_older_broker_wrote_is_still_there(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let row = store.session().await;
    let held = claim(&node, 0, 1);
    let mut beside = store.place.connect().await;
    let insert = format!(
        "INSERT INTO usage_interval (session_id, epoch, user_id, app_id, node_id, began_ms)
         VALUES ('{}', 1, '{}', 'demo', '{}', 1000) ON CONFLICT DO NOTHING",
        row.id, row.user, node.id
    );
    let insert = sqlx::AssertSqlSafe(insert);
    sqlx::raw_sql(insert).execute(&mut beside).await.unwrap();
    store.write(release(&row, &held, 3_000, 3_000)).await;
    let lines = claims(&store).await;
    assert_eq!(
        (lines[0].slot.as_ref(), lines[0].ended_ms),
        (None, Some(3_000))
    );
    assert_eq!(lines[0].bill.metered, Metered::default());
}

/// What ran when the broker was replaced is billed on, and of what was over nothing is lost.
pub(super) async fn intervals_of_the_schema_before_are_moved_with_what_is_known_of_them(
    place: Place,
) {
    let (node, slot) = (nearlight_kit::ids::node(), nearlight_kit::ids::slot());
    let [runs, over] = [0; 2].map(|_| nearlight_kit::ids::session());
    let user = nearlight_kit::ids::user();
    let text = format!(
        "INSERT INTO node (node_id, name, region, build, inventory, last_seen_ms)
             VALUES ('{node}', 'n', 'fra', 'b', '', 7);
         INSERT INTO claim (slot_id, epoch, node_id, session_id, cpu_milli, mem_mib, kbps, claimed_ms)
             VALUES ('{slot}', 4, '{node}', '{runs}', 1500, 512, 0, 1);
         INSERT INTO usage_interval (session_id, epoch, user_id, app_id, node_id, began_ms, ended_ms)
             VALUES ('{runs}', 4, '{user}', 'demo', '{node}', 2000, NULL),
                    ('{over}', 3, '{user}', 'demo', '{node}', 1000, 1500);"
    );
    let mut before = opening::of_schema(&place.at, 8).await;
    let insert = sqlx::AssertSqlSafe(text);
    sqlx::raw_sql(insert).execute(&mut before).await.unwrap();
    drop(before);

    let store = Store::open(place).await;
    let lines = claims(&store).await;
    let [first, second] = lines.as_slice() else {
        panic!("two were there: {lines:?}")
    };
    assert_eq!((&first.session, first.ended_ms), (&over, Some(1500)));
    assert_eq!((&second.session, second.ended_ms), (&runs, None));
    assert_eq!(
        (first.slot.as_ref(), second.slot.as_ref()),
        (None, Some(&slot))
    );
    assert_eq!(second.bill.region, "fra");
    let held = (second.bill.metered.cpu_milli, second.bill.metered.mem_mib);
    assert_eq!(held, (1500, 512));
}
