//! The invariants of the ledger, by name: one suite, run against a real file and against a real
//! PostgreSQL.

use super::*;
use crate::time::Clock;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::control::{Slot, Start};
use nearlight_protocol::identity::Priority;
use nearlight_protocol::unit::U64;
use nearlight_protocol::work::{AppWork, Secrets, Work};
use nearlight_session::lifecycle::{Event, Lifecycle};
use nearlight_session::{Claim, Limits, Use};
use place::Place;
use std::path::Path;
use std::time::Duration;

mod apps;
mod enrolment;
mod group;
mod identity;
mod jobs;
mod place;
mod plans;
mod readmit;
mod saves;
mod sharing;
mod usage;
mod writers;

const GRACE: Duration = Duration::from_secs(10);

/// Each as a test on SQLite, and all in one on a PostgreSQL that the test starts.
macro_rules! suite {
    ($($($of:ident)::+ => $name:ident),+ $(,)?) => {
        mod sqlite {
            use super::Place;

            $(
                #[tokio::test]
                async fn $name() {
                    super::$($of)::+(Place::file()).await;
                }
            )+
        }

        #[tokio::test]
        async fn postgres_passes_the_same_suite() {
            let Some(server) = place::Server::start() else { return };
            let mut failed = Vec::new();
            $(
                let place = server.database(stringify!($name)).await;
                let alone = tokio::task::LocalSet::new();
                let test = alone.spawn_local($($of)::+(place));
                if alone.run_until(test).await.is_err() {
                    failed.push(stringify!($name));
                }
            )+
            assert!(failed.is_empty(), "on PostgreSQL: {failed:?}");
        }
    };
}

suite! {
    i1_a_slot_is_never_booked_twice_however_many_try_at_once => i1_a_slot_is_never_booked_twice_however_many_try_at_once,
    i1_claims_never_exceed_a_nodes_capacity => i1_claims_never_exceed_a_nodes_capacity,
    i1_an_old_epoch_an_old_revision_and_an_unlisted_slot_lose_the_race => i1_an_old_epoch_an_old_revision_and_an_unlisted_slot_lose_the_race,
    i3_an_acked_reserve_is_visible_after_a_reopen => i3_an_acked_reserve_is_visible_after_a_reopen,
    i4_a_released_reservation_gives_everything_back_once => i4_a_released_reservation_gives_everything_back_once,
    i5_usage_is_from_the_acked_start_to_the_acked_stop => i5_usage_is_from_the_acked_start_to_the_acked_stop,
    an_idempotency_key_stands_for_one_session_of_one_body => an_idempotency_key_stands_for_one_session_of_one_body,
    a_quota_is_taken_with_the_session_and_given_back => a_quota_is_taken_with_the_session_and_given_back,
    a_claim_that_comes_with_its_session_is_skipped_when_that_is_a_replay => a_claim_that_comes_with_its_session_is_skipped_when_that_is_a_replay,
    a_node_cannot_take_over_another_ones_slot => a_node_cannot_take_over_another_ones_slot,
    a_ticket_is_spent_once_whoever_is_first => a_ticket_is_spent_once_whoever_is_first,
    every_phase_is_read_back_as_it_was_written => every_phase_is_read_back_as_it_was_written,
    so_many_watch_links_of_a_session_hold_and_a_revoked_one_leaves_its_place => so_many_watch_links_of_a_session_hold_and_a_revoked_one_leaves_its_place,
    what_ended_long_ago_is_swept_in_batches_and_the_rest_stays => what_ended_long_ago_is_swept_in_batches_and_the_rest_stays,
    i1_claims_never_exceed_a_nodes_uplink => i1_claims_never_exceed_a_nodes_uplink,
    group::a_group_is_its_changes_one_by_one => a_group_is_its_changes_one_by_one,
    group::of_a_group_that_races_itself_each_slot_goes_to_one => of_a_group_that_races_itself_each_slot_goes_to_one,
    group::a_group_takes_what_its_quota_has_and_no_more => a_group_takes_what_its_quota_has_and_no_more,
    group::a_nul_in_what_an_edge_says_harms_nobody => a_nul_in_what_an_edge_says_harms_nobody,
    apps::the_same_description_is_the_same_version => the_same_description_is_the_same_version,
    apps::versions_that_two_brokers_add_at_once_have_their_own_numbers => versions_that_two_brokers_add_at_once_have_their_own_numbers,
    apps::a_version_is_staged_rolled_out_and_taken_back => a_version_is_staged_rolled_out_and_taken_back,
    apps::files_are_followed_until_an_operator_rolls_out => files_are_followed_until_an_operator_rolls_out,
    apps::a_session_keeps_the_edition_that_it_was_placed_with => a_session_keeps_the_edition_that_it_was_placed_with,
    enrolment::a_join_token_works_once_whoever_is_first => a_join_token_works_once_whoever_is_first,
    enrolment::what_is_decided_about_nodes_is_read_back => what_is_decided_about_nodes_is_read_back,
    enrolment::a_node_is_vetted_beside_whatever_else_holds_of_it => a_node_is_vetted_beside_whatever_else_holds_of_it,
    jobs::a_job_is_read_back_with_its_sealed_secrets_until_they_are_forgotten => a_job_is_read_back_with_its_sealed_secrets_until_they_are_forgotten,
    jobs::a_job_leaves_nothing_behind_once_it_is_swept => a_job_leaves_nothing_behind_once_it_is_swept,
    jobs::i1_one_job_has_the_gpus_of_a_node => i1_one_job_has_the_gpus_of_a_node,
    jobs::a_job_that_the_ledger_lost_is_back_from_its_grant => a_job_that_the_ledger_lost_is_back_from_its_grant,
    identity::a_key_is_read_back_with_its_tenant_and_voided => a_key_is_read_back_with_its_tenant_and_voided,
    identity::a_rotated_key_has_its_former_secrets_for_as_long_as_is_said => a_rotated_key_has_its_former_secrets_for_as_long_as_is_said,
    identity::the_first_administrator_is_made_once => the_first_administrator_is_made_once,
    identity::a_tenants_quota_is_taken_with_the_session_and_given_back => a_tenants_quota_is_taken_with_the_session_and_given_back,
    identity::a_tenants_name_is_its_own => a_tenants_name_is_its_own,
    identity::a_guest_that_logs_in_becomes_the_player => a_guest_that_logs_in_becomes_the_player,
    identity::old_lines_of_the_audit_log_and_logins_that_are_over_go => old_lines_of_the_audit_log_and_logins_that_are_over_go,
    writers::a_broker_that_was_superseded_writes_no_more => a_broker_that_was_superseded_writes_no_more,
    sharing::a_node_that_is_taken_brings_its_sessions_and_its_loser_finds_out_first => a_node_that_is_taken_brings_its_sessions_and_its_loser_finds_out_first,
    sharing::a_new_node_that_attaches_to_two_brokers_is_the_firsts => a_new_node_that_attaches_to_two_brokers_is_the_firsts,
    sharing::a_session_is_given_while_it_waits_and_to_a_broker_that_is_there => a_session_is_given_while_it_waits_and_to_a_broker_that_is_there,
    sharing::a_broker_that_is_seized_loses_everything_and_its_voice => a_broker_that_is_seized_loses_everything_and_its_voice,
    sharing::a_broker_that_stops_says_so => a_broker_that_stops_says_so,
    readmit::a_session_that_the_ledger_lost_is_back_with_all_that_it_holds => a_session_that_the_ledger_lost_is_back_with_all_that_it_holds,
    readmit::what_was_claimed_ended_and_swept_does_not_come_back => what_was_claimed_ended_and_swept_does_not_come_back,
    readmit::an_epoch_that_only_a_node_has_shown_comes_back_once => an_epoch_that_only_a_node_has_shown_comes_back_once,
    readmit::what_has_no_room_or_no_edition_does_not_come_back => what_has_no_room_or_no_edition_does_not_come_back,
    usage::i5_a_scripted_day_comes_to_what_is_computed_by_hand => i5_a_scripted_day_comes_to_what_is_computed_by_hand,
    usage::i5_another_slot_with_the_same_epoch_is_another_interval => i5_another_slot_with_the_same_epoch_is_another_interval,
    usage::i5_usage_outlives_its_session_and_goes_after_a_year => i5_usage_outlives_its_session_and_goes_after_a_year,
    usage::lines_are_paged_by_beginning_and_tenants_see_their_own => lines_are_paged_by_beginning_and_tenants_see_their_own,
    usage::a_card_that_holds_stays_and_none_reaches_into_the_past => a_card_that_holds_stays_and_none_reaches_into_the_past,
    usage::a_budget_is_of_a_session_that_lives_and_of_its_holder => a_budget_is_of_a_session_that_lives_and_of_its_holder,
    usage::intervals_of_the_schema_before_are_moved_with_what_is_known_of_them => intervals_of_the_schema_before_are_moved_with_what_is_known_of_them,
    usage::what_an_older_broker_wrote_is_still_there => what_an_older_broker_wrote_is_still_there,
    readmit::i5_usage_before_a_session_that_is_back_ends_with_its_grant => i5_usage_before_a_session_that_is_back_ends_with_its_grant,
    saves::the_node_that_ran_an_app_last_has_its_newest_save => the_node_that_ran_an_app_last_has_its_newest_save,
    saves::a_key_is_known_once_its_session_is => a_key_is_known_once_its_session_is,
    writers::a_schema_that_needs_a_newer_broker_is_refused => a_schema_that_needs_a_newer_broker_is_refused,
}

/// A broker that shares its ledger with nobody.
fn alone() -> Member {
    member("broker", "")
}

fn member(name: &str, address: &str) -> Member {
    Member {
        id: name.parse().unwrap(),
        address: address.to_owned(),
        jwk: String::new(),
    }
}

struct Store {
    place: Place,
    ledger: SqlLedger,
    shutdown: Shutdown,
}

impl Store {
    async fn open(place: Place) -> Self {
        Self::open_as(place, alone()).await
    }

    async fn open_as(place: Place, me: Member) -> Self {
        let shutdown = Shutdown::new();
        let ledger = SqlLedger::open(&place.at, me, Clock::start(), &shutdown).await;
        Self {
            place,
            ledger: ledger.unwrap(),
            shutdown,
        }
    }

    /// Closes it and opens the same one.
    async fn reopen(self) -> Self {
        drop(self.ledger);
        self.shutdown.drain(GRACE).await;
        Self::open(self.place).await
    }

    /// Takes every row out, past the ledger.
    async fn empty(&self) {
        let mut beside = self.place.connect().await;
        for table in [
            "session",
            "claim",
            "node",
            "node_capacity",
            "slot",
            "outbox",
            "usage_interval",
            "session_budget",
            "rate_card",
            "idempotency",
            "quota",
        ] {
            let delete = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
            sqlx::raw_sql(delete).execute(&mut beside).await.unwrap();
        }
    }

    async fn write(&self, op: Op) -> Applied {
        self.ledger.write(vec![op]).await.unwrap().remove(0)
    }

    /// A node with so many slots and so much CPU.
    async fn node(&self, slots: usize, cpu_milli: u32) -> NodeRow {
        let id = nearlight_kit::ids::node();
        let slots = (0..slots)
            .map(|_| Slot {
                id: nearlight_kit::ids::slot(),
                epoch: U64(0),
            })
            .collect();
        let op = Op::SaveNode {
            node: id.clone(),
            name: "n".to_owned(),
            region: "r".to_owned(),
            build: "b".to_owned(),
            inventory: Inventory {
                slots,
                ..inventory(cpu_milli, 1024)
            },
            at: MonoTime(0),
        };
        assert_eq!(self.write(op).await, Applied::Done);
        self.ledger.node(id).await.unwrap().unwrap()
    }

    async fn session(&self) -> SessionRow {
        let row = session();
        assert_eq!(self.write(create(&row, "k", None)).await, Applied::Done);
        row
    }

    async fn loaded(&self) -> Loaded {
        self.ledger.load(0).await.unwrap()
    }
}

fn inventory(cpu_milli: u32, mem_mib: u32) -> Inventory {
    Inventory {
        cpu_milli,
        mem_mib,
        runtime: "docker".to_owned(),
        ..crate::fleet::nothing()
    }
}

fn session() -> SessionRow {
    let app = r#"
        id = "demo"
        title = "Demo"
        summary = "A demo."
        picture = "/apps/demo.webp"
        shelf = "tool"
        launch = { image = "demo:1", command = ["/demo"] }
    "#;
    SessionRow {
        id: nearlight_kit::ids::session(),
        user: nearlight_kit::ids::user(),
        tenant: None,
        priority: Priority::Normal,
        work: Work::App(AppWork {
            app: toml::from_str(app).unwrap(),
            display: DisplayMode::default(),
            keyboard_layout: "us".to_owned(),
        }),
        sealed: None,
        created_at: MonoTime(1_000),
        phase: Phase::Queued,
        starts_denied: 0,
        since: MonoTime(1_000),
        node: None,
        wish: Wish {
            region: Some("fra\u{0}".to_owned()),
            save: Some(nearlight_kit::ids::node()),
            estimates: vec![Estimate {
                region: "ams".to_owned(),
                ms: 7,
                from: nearlight_protocol::region::RttFrom::Sessions,
            }],
        },
    }
}

fn create(row: &SessionRow, key: &str, quota: Option<u32>) -> Op {
    Op::CreateSession {
        row: Box::new(row.clone()),
        idempotency: Idempotency {
            key: key.to_owned(),
            body_hash: [0; 32],
        },
        quota,
        tenant_quota: None,
    }
}

fn limits() -> Limits {
    Limits {
        used: Use::Played,
        queue_until: None,
        start_ms: 1,
        start_total_ms: 1,
        idle_ms: Some(1),
        max_ms: 1,
        grace_ms: 1,
        stop_ms: 1,
        node_grace_ms: 1,
        warn_ms: 1,
    }
}

/// A claim of the node's slot number `slot` as the row has it, for `session`.
fn reserve(node: &NodeRow, slot: usize, session: &SessionRow) -> Reserve {
    let (slot, row) = node.slots.iter().nth(slot).unwrap();
    let claim = Claim {
        node: node.id.clone(),
        slot: slot.clone(),
        epoch: row.epoch.next().unwrap(),
    };
    let mut life = Lifecycle::new(limits());
    life.handle(MonoTime(2_000), Event::Claimed(claim.clone()));
    Reserve {
        session: session.id.clone(),
        with_create: false,
        claim,
        cpu_milli: 1000,
        mem_mib: 100,
        kbps: 4000,
        disk_mib: 0,
        gpus: 0,
        capacity_rev: node.capacity.rev,
        order: start_of(session),
        phase: life.phase().clone(),
        at: MonoTime(2_000),
    }
}

fn start_of(session: &SessionRow) -> Order {
    Order::Start(Box::new(Start {
        session: session.id.clone(),
        grant: "a.b.c".to_owned(),
        work: session.work.clone(),
        secrets: Secrets::default(),
    }))
}

fn op(reserve: &Reserve) -> Op {
    Op::Reserve(Box::new(reserve.clone()))
}

fn ordered(applied: &Applied) -> bool {
    matches!(applied, Applied::Ordered { .. })
}

async fn i1_a_slot_is_never_booked_twice_however_many_try_at_once(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let mut tries = Vec::new();
    for _ in 0..40 {
        let session = store.session().await;
        tries.push(store.ledger.write(vec![op(&reserve(&node, 0, &session))]));
    }
    let outcomes = futures_util::future::join_all(tries).await;
    let won = outcomes.iter().filter(|o| ordered(&o.as_ref().unwrap()[0]));
    assert_eq!(won.count(), 1);
    let placed = store.loaded().await.sessions;
    let placed = placed.iter().filter(|s| s.phase != Phase::Queued);
    assert_eq!(placed.count(), 1, "the others wait on");
}

async fn i1_claims_never_exceed_a_nodes_capacity(place: Place) {
    let store = Store::open(place).await;
    let mut node = store.node(3, 2_500).await;
    for slot in 0..3 {
        let session = store.session().await;
        let mut reserve = reserve(&node, slot, &session);
        reserve.capacity_rev = node.capacity.rev;
        let applied = store.write(op(&reserve)).await;
        assert_eq!(ordered(&applied), slot < 2, "{applied:?}");
        node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    }
    assert_eq!(node.capacity.cpu_milli_free, 500);
}

async fn i1_an_old_epoch_an_old_revision_and_an_unlisted_slot_lose_the_race(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 64_000).await;
    let session = store.session().await;
    let good = reserve(&node, 0, &session);
    let mut old_epoch = good.clone();
    old_epoch.claim.epoch = Epoch(5);
    let mut old_rev = good.clone();
    old_rev.capacity_rev += 1;
    for bad in [old_epoch, old_rev] {
        assert_eq!(store.write(op(&bad)).await, Applied::RaceLost);
    }
    assert!(
        ordered(&store.write(op(&good)).await),
        "a lost race leaves nothing behind"
    );
    assert_eq!(store.write(op(&good)).await, Applied::RaceLost);
}

async fn i3_an_acked_reserve_is_visible_after_a_reopen(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let session = store.session().await;
    let reserve = reserve(&node, 0, &session);
    assert!(ordered(&store.write(op(&reserve)).await));
    let store = store.reopen().await;
    let loaded = store.loaded().await;
    let Phase::Placing { held, .. } = &loaded.sessions[0].phase else {
        panic!("not placing: {:?}", loaded.sessions[0].phase);
    };
    assert_eq!(held.claim, reserve.claim);
    let slot = &loaded.nodes[0].slots[&reserve.claim.slot];
    assert_eq!(slot.epoch, reserve.claim.epoch);
    assert_eq!(slot.held_by.as_ref().unwrap().session, session.id);
    assert_eq!(
        loaded.outbox.len(),
        1,
        "the order goes out again until it is acked"
    );
    assert_eq!(loaded.outbox[0].order, reserve.order);
}

async fn i4_a_released_reservation_gives_everything_back_once(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let session = store.session().await;
    let first = reserve(&node, 0, &session);
    store.write(op(&first)).await;
    for _ in 0..2 {
        let release = Op::Release {
            session: session.id.clone(),
            claim: first.claim.clone(),
            billed_until: MonoTime(9_000),
            at: MonoTime(9_000),
        };
        assert_eq!(store.write(release).await, Applied::Done);
    }
    let back = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(back.capacity.cpu_milli_free, 64_000);
    let other = store.session().await;
    let second = reserve(&back, 0, &other);
    assert_eq!(second.claim.epoch, Epoch(2), "epochs only rise");
    assert!(ordered(&store.write(op(&second)).await));
    let release = Op::Release {
        session: session.id,
        claim: first.claim,
        billed_until: MonoTime(9_000),
        at: MonoTime(9_000),
    };
    store.write(release).await;
    let back = store.ledger.node(node.id).await.unwrap().unwrap();
    let held = back.slots.values().next().unwrap().held_by.as_ref();
    assert_eq!(
        held.unwrap().session,
        other.id,
        "an old release frees no new claim"
    );
}

async fn i5_usage_is_from_the_acked_start_to_the_acked_stop(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let session = store.session().await;
    let claim = reserve(&node, 0, &session).claim;
    let begin = |ms: u64| Op::BeginUsage {
        session: session.id.clone(),
        claim: claim.clone(),
        bill: usage::bill(&session),
        at: MonoTime(ms * 1000),
    };
    let end = |ms: u64| Op::Release {
        session: session.id.clone(),
        claim: claim.clone(),
        billed_until: MonoTime(ms * 1000),
        at: MonoTime(ms * 1000),
    };
    store.write(begin(5)).await;
    store.write(begin(6)).await;
    let store = store.reopen().await;
    let open = store.ledger.usage(session.id.clone()).await.unwrap();
    assert_eq!(
        (open[0].began_ms, open[0].ended_ms),
        (5, None),
        "not lost, not doubled"
    );
    store.write(end(9)).await;
    store.write(end(10)).await;
    let closed = store.ledger.usage(session.id.clone()).await.unwrap();
    assert_eq!((closed.len(), closed[0].ended_ms), (1, Some(9)));
}

async fn an_idempotency_key_stands_for_one_session_of_one_body(place: Place) {
    let store = Store::open(place).await;
    let first = session();
    assert_eq!(
        store.write(create(&first, "k", Some(2))).await,
        Applied::Done
    );
    let mut again = session();
    again.user.clone_from(&first.user);
    let replayed = Applied::Replayed { session: first.id };
    assert_eq!(store.write(create(&again, "k", Some(2))).await, replayed);
    let mut other = create(&again, "k", Some(2));
    if let Op::CreateSession { idempotency, .. } = &mut other {
        idempotency.body_hash = [1; 32];
    }
    assert_eq!(store.write(other).await, Applied::KeyReused);
    assert_eq!(
        store.write(create(&again, "k2", Some(2))).await,
        Applied::Done
    );
}

async fn a_quota_is_taken_with_the_session_and_given_back(place: Place) {
    let store = Store::open(place).await;
    let row = |user: &UserId| SessionRow {
        user: user.clone(),
        ..session()
    };
    let user = nearlight_kit::ids::user();
    for key in ["a", "b"] {
        assert_eq!(
            store.write(create(&row(&user), key, Some(2))).await,
            Applied::Done
        );
    }
    assert_eq!(
        store.write(create(&row(&user), "c", Some(2))).await,
        Applied::QuotaUsedUp
    );
    assert_eq!(
        store.loaded().await.sessions.len(),
        2,
        "the refused one is not there"
    );
    store
        .write(Op::ReturnQuota {
            session: session().id,
            user: user.clone(),
            tenant: None,
        })
        .await;
    assert_eq!(
        store.write(create(&row(&user), "c", Some(2))).await,
        Applied::Done,
        "nor is its key"
    );
}

async fn a_claim_that_comes_with_its_session_is_skipped_when_that_is_a_replay(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let first = session();
    store.write(create(&first, "k", None)).await;
    let mut again = session();
    again.user.clone_from(&first.user);
    let mut reserve = reserve(&node, 0, &again);
    reserve.with_create = true;
    let ops = vec![create(&again, "k", None), op(&reserve)];
    let applied = store.ledger.write(ops).await.unwrap();
    assert_eq!(applied[1], Applied::Skipped);
}

async fn a_node_cannot_take_over_another_ones_slot(place: Place) {
    let store = Store::open(place).await;
    let honest = store.node(1, 64_000).await;
    let thief = store.node(0, 64_000).await;
    let mut inventory = thief.inventory.clone();
    inventory.slots.clone_from(&honest.inventory.slots);
    let steal = Op::SaveNode {
        node: thief.id.clone(),
        name: String::new(),
        region: String::new(),
        build: String::new(),
        inventory,
        at: MonoTime(0),
    };
    store.write(steal).await;
    let thief = store.ledger.node(thief.id).await.unwrap().unwrap();
    assert!(thief.slots.is_empty());
}

async fn a_ticket_is_spent_once_whoever_is_first(place: Place) {
    let store = Store::open(place).await;
    let spend = |n: u64| Op::SpendTicket {
        ticket: "t".to_owned(),
        on: SpentTicket {
            session: SessionId::from_parts(1, [0; 10]),
            attachment: AttachmentId::from_parts(n, [0; 10]),
        },
        at: MonoTime(0),
    };
    let tries = (0..8).map(|n| store.ledger.write(vec![spend(n)]));
    let outcomes = futures_util::future::join_all(tries).await;
    let won = outcomes
        .iter()
        .filter(|o| o.as_ref().unwrap()[0] == Applied::Done);
    assert_eq!(won.count(), 1);
}

async fn every_phase_is_read_back_as_it_was_written(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let row = store.session().await;
    let reserve = reserve(&node, 0, &row);
    let epoch = reserve.claim.epoch;
    let attachment = nearlight_kit::ids::attachment();
    let mut life = Lifecycle::new(limits());
    let reason = EndReason::AppCrashed;
    let detail = "signal 11".to_owned();
    let named = attachment.clone();
    for event in [
        Event::Claimed(reserve.claim.clone()),
        Event::StartAcked { epoch },
        Event::NodeReady { epoch },
        Event::Attached { epoch, attachment },
        Event::Detached {
            epoch,
            attachment: named,
        },
        Event::EndRequested { reason },
        Event::NodeEnded {
            epoch,
            reason,
            detail,
        },
    ] {
        life.handle(MonoTime(3_000), event);
        let save = Op::SavePhase {
            session: row.id.clone(),
            phase: life.phase().clone(),
            starts_denied: 1,
            at: MonoTime(3_000),
        };
        store.write(save).await;
        let read = store.loaded().await.sessions.remove(0);
        assert_eq!(
            std::mem::discriminant(&read.phase),
            std::mem::discriminant(life.phase()),
            "{:?}",
            read.phase
        );
        let read_life = Lifecycle::restore(limits(), read.phase, read.starts_denied);
        let claim = |life: &Lifecycle| life.held().map(|held| held.claim.clone());
        assert_eq!(claim(&read_life), claim(&life));
        assert_eq!(read.node, Some(node.id.clone()));
    }
    let ended = store.loaded().await.sessions.remove(0).phase;
    assert_eq!(ended, *life.phase());
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file: &Path = &dir.path().join("ledger.sqlite");
    std::fs::write(
        file,
        "not a database, but long enough to be looked at as one",
    )
    .unwrap();
    let at = LedgerAt::File(file.to_owned());
    let opened = SqlLedger::open(&at, alone(), Clock::start(), &Shutdown::new()).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("ledger.sqlite"), "{error}");
}

fn link(session: &SessionId, n: u8, expires_ms: UnixMillis) -> WatchLinkRow {
    WatchLinkRow {
        id: nearlight_kit::ids::watch_link(),
        hash: [n; 32],
        session: session.clone(),
        created_ms: 1000,
        expires_ms,
    }
}

async fn so_many_watch_links_of_a_session_hold_and_a_revoked_one_leaves_its_place(place: Place) {
    let store = Store::open(place).await;
    let session = nearlight_kit::ids::session();
    let add = |link: &WatchLinkRow| Op::AddWatchLink {
        link: link.clone(),
        links_max: 2,
    };
    let (one, two, three) = (
        link(&session, 1, 2000),
        link(&session, 2, 2000),
        link(&session, 3, 2000),
    );
    assert_eq!(store.write(add(&one)).await, Applied::Done);
    assert_eq!(store.write(add(&two)).await, Applied::Done);
    assert_eq!(store.write(add(&three)).await, Applied::QuotaUsedUp);
    let other = link(&nearlight_kit::ids::session(), 4, 2000);
    assert_eq!(store.write(add(&other)).await, Applied::Done);
    let revoke = |of: &SessionId, link: &WatchLinkRow| Op::RevokeWatchLink {
        session: of.clone(),
        link: link.id.clone(),
        at: MonoTime(1_000_000),
    };
    assert_eq!(
        store.write(revoke(&session, &other)).await,
        Applied::Missing
    );
    assert_eq!(store.write(revoke(&session, &one)).await, Applied::Done);
    assert_eq!(store.write(revoke(&session, &one)).await, Applied::Done);
    assert_eq!(store.write(add(&three)).await, Applied::Done);
    // One whose time is over leaves its place as well.
    let late = WatchLinkRow {
        created_ms: 2000,
        ..link(&session, 5, 3000)
    };
    assert_eq!(store.write(add(&late)).await, Applied::Done);
    assert_eq!(store.ledger.watch_link([1; 32]).await.unwrap(), Some(one));
    let before = MonoTime(2_500_000);
    store.write(Op::Prune { before }).await;
    assert_eq!(store.ledger.watch_link([1; 32]).await.unwrap(), None);
    assert_eq!(store.ledger.watch_link([5; 32]).await.unwrap(), Some(late));
}
async fn what_ended_long_ago_is_swept_in_batches_and_the_rest_stays(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let live = store.session().await;
    let mut ended = Vec::new();
    for n in 1..=5 {
        let session = store.session().await;
        let phase = Phase::Ended {
            reason: EndReason::PlayerEnded,
            detail: String::new(),
        };
        let at = MonoTime(n * 1_000_000);
        if n == 1 {
            let node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
            let held = reserve(&node, 0, &session);
            assert!(ordered(&store.write(op(&held)).await));
            let (session, claim) = (session.id.clone(), held.claim);
            store
                .write(Op::Release {
                    session,
                    claim,
                    billed_until: at,
                    at,
                })
                .await;
        }
        let save = Op::SavePhase {
            session: session.id.clone(),
            phase,
            starts_denied: 0,
            at,
        };
        store.write(save).await;
        let n = u8::try_from(n).unwrap();
        let link = link(&session.id, n, 9_000);
        let add = Op::AddWatchLink { link, links_max: 1 };
        store.write(add).await;
        ended.push(session.id);
    }
    let sweep = || Op::SweepEnded {
        before: MonoTime(4_500_000),
        sessions_max: 3,
    };
    let left = async || -> Vec<SessionId> {
        let sessions = store.loaded().await.sessions;
        sessions.into_iter().map(|row| row.id).collect()
    };
    store.write(sweep()).await;
    let mut expected = vec![live.id.clone(), ended[3].clone(), ended[4].clone()];
    expected.sort();
    assert_eq!(
        left().await,
        expected,
        "the oldest first, and no more than asked"
    );
    assert_eq!(store.ledger.watch_link([1; 32]).await.unwrap(), None);
    assert!(store.ledger.watch_link([4; 32]).await.unwrap().is_some());
    store.write(sweep()).await;
    store.write(sweep()).await;
    let mut expected = vec![live.id, ended[4].clone()];
    expected.sort();
    assert_eq!(left().await, expected, "one ended too lately");
    // The slot's epochs go on from where they were.
    let node = store.ledger.node(node.id).await.unwrap().unwrap();
    assert_eq!(node.slots.values().next().unwrap().epoch, Epoch(1));
}

async fn i1_claims_never_exceed_a_nodes_uplink(place: Place) {
    let store = Store::open(place).await;
    let mut node = store.node(3, 64_000).await;
    let known = Inventory {
        uplink_kbps: Some(10_000),
        ..node.inventory.clone()
    };
    let save = Op::SaveNode {
        node: node.id.clone(),
        name: "n".to_owned(),
        region: "r".to_owned(),
        build: "b".to_owned(),
        inventory: known,
        at: MonoTime(0),
    };
    store.write(save).await;
    for slot in 0..3 {
        node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
        let session = store.session().await;
        let applied = store.write(op(&reserve(&node, slot, &session))).await;
        assert_eq!(ordered(&applied), slot < 2, "{applied:?}");
    }
    assert_eq!(node.capacity.uplink_kbps_free, Some(2_000));
}
