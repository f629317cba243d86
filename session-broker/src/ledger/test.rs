//! The invariants of the ledger, by name: one suite, run against a real file and against a real
//! PostgreSQL.

use super::*;
use crate::time::Clock;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::api::EndReason;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::control::{Inventory, Order, Slot, Start};
use nearlight_protocol::id::{AttachmentId, SlotId};
use nearlight_protocol::identity::Priority;
use nearlight_protocol::unit::{MonoTime, U64};
use nearlight_protocol::work::{AppWork, Secrets, Work};
use nearlight_session::lifecycle::{Event, Lifecycle, Phase};
use nearlight_session::{Claim, Epoch, Limits, Use};
use place::Place;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

mod access;
mod apps;
mod checks;
mod claims;
mod clusters;
mod enrolment;
mod gpus;
mod group;
mod identity;
mod jobs;
mod lives;
mod locks;
mod moving;
mod outside;
mod place;
mod plans;
mod readmit;
mod receipts;
mod resources;
mod saves;
mod sharing;
mod stakes;
mod tenants;
mod usage;
mod verdicts;
mod volumes;
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
                let place = server.copy(stringify!($name)).await;
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
    checks::a_nodes_key_is_listed_until_it_has_another_one => a_nodes_key_is_listed_until_it_has_another_one,
    checks::a_checker_comes_in_once_and_runs_once => a_checker_comes_in_once_and_runs_once,
    checks::an_assignment_is_settled_once => an_assignment_is_settled_once,
    checks::what_is_due_of_a_node_is_found_behind_any_number => what_is_due_of_a_node_is_found_behind_any_number,
    checks::a_beacon_is_used_from_a_round_to_come_and_what_it_gave_stays => a_beacon_is_used_from_a_round_to_come_and_what_it_gave_stays,
    checks::a_stream_has_one_session_and_may_be_void => a_stream_has_one_session_and_may_be_void,
    outside::a_registry_stays_guarded_when_its_credential_goes => a_registry_stays_guarded_when_its_credential_goes,
    outside::a_notice_is_leased_by_one_until_it_is_settled => a_notice_is_leased_by_one_until_it_is_settled,
    receipts::a_log_grows_by_whoever_knows_its_head => a_log_grows_by_whoever_knows_its_head,
    receipts::a_session_has_one_receipt => a_session_has_one_receipt,
    receipts::what_was_witnessed_never_goes_back_and_goes_with_the_name => what_was_witnessed_never_goes_back_and_goes_with_the_name,
    receipts::each_change_of_the_directory_is_an_edition => each_change_of_the_directory_is_an_edition,
    stakes::a_transfer_moves_once_and_never_more_than_there_is => a_transfer_moves_once_and_never_more_than_there_is,
    stakes::debits_are_credits_under_every_sequence => debits_are_credits_under_every_sequence,
    verdicts::a_piece_of_the_log_does_what_it_does_once => a_piece_of_the_log_does_what_it_does_once,
    outside::owners_whose_endpoints_fail_are_counted_apart => owners_whose_endpoints_fail_are_counted_apart,
    outside::one_owner_never_has_all_that_is_due => one_owner_never_has_all_that_is_due,
    claims::i1_a_slot_is_never_booked_twice_however_many_try_at_once => i1_a_slot_is_never_booked_twice_however_many_try_at_once,
    claims::i1_claims_never_exceed_a_nodes_capacity => i1_claims_never_exceed_a_nodes_capacity,
    claims::i1_an_old_epoch_an_old_revision_and_an_unlisted_slot_lose_the_race => i1_an_old_epoch_an_old_revision_and_an_unlisted_slot_lose_the_race,
    lives::upkeep_goes_on_at_once_while_more_is_due => upkeep_goes_on_at_once_while_more_is_due,
    lives::i3_an_acked_reserve_is_visible_after_a_reopen => i3_an_acked_reserve_is_visible_after_a_reopen,
    claims::i4_a_released_reservation_gives_everything_back_once => i4_a_released_reservation_gives_everything_back_once,
    lives::i5_usage_is_from_the_acked_start_to_the_acked_stop => i5_usage_is_from_the_acked_start_to_the_acked_stop,
    lives::an_idempotency_key_stands_for_one_session_of_one_body => an_idempotency_key_stands_for_one_session_of_one_body,
    lives::a_quota_is_taken_with_the_session_and_given_back => a_quota_is_taken_with_the_session_and_given_back,
    claims::a_claim_that_comes_with_its_session_is_skipped_when_that_is_a_replay => a_claim_that_comes_with_its_session_is_skipped_when_that_is_a_replay,
    claims::a_node_cannot_take_over_another_ones_slot => a_node_cannot_take_over_another_ones_slot,
    access::a_ticket_is_spent_once_whoever_is_first => a_ticket_is_spent_once_whoever_is_first,
    lives::every_phase_is_read_back_as_it_was_written => every_phase_is_read_back_as_it_was_written,
    access::so_many_watch_links_of_a_session_hold_and_a_revoked_one_leaves_its_place => so_many_watch_links_of_a_session_hold_and_a_revoked_one_leaves_its_place,
    lives::what_ended_long_ago_is_swept_in_batches_and_the_rest_stays => what_ended_long_ago_is_swept_in_batches_and_the_rest_stays,
    claims::i1_claims_never_exceed_a_nodes_uplink => i1_claims_never_exceed_a_nodes_uplink,
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
    enrolment::a_reclaim_belongs_to_its_drain => a_reclaim_belongs_to_its_drain,
    jobs::a_job_is_read_back_with_its_sealed_secrets_until_they_are_forgotten => a_job_is_read_back_with_its_sealed_secrets_until_they_are_forgotten,
    jobs::a_job_leaves_nothing_behind_once_it_is_swept => a_job_leaves_nothing_behind_once_it_is_swept,
    gpus::i1_a_gpu_is_claimed_once_and_the_others_beside_it => i1_a_gpu_is_claimed_once_and_the_others_beside_it,
    gpus::i1_of_many_that_want_the_same_gpus_at_once_each_gets_all_or_none => i1_of_many_that_want_the_same_gpus_at_once_each_gets_all_or_none,
    gpus::what_a_broker_of_before_left_of_a_claim_is_nobodys => what_a_broker_of_before_left_of_a_claim_is_nobodys,
    jobs::a_job_that_the_ledger_lost_is_back_from_its_grant => a_job_that_the_ledger_lost_is_back_from_its_grant,
    jobs::usage_that_names_no_item_is_a_jobs => usage_that_names_no_item_is_a_jobs,
    clusters::i7_a_cluster_is_claimed_with_all_its_replicas_and_read_back => i7_a_cluster_is_claimed_with_all_its_replicas_and_read_back,
    clusters::i7_a_cluster_that_loses_one_slot_leaves_nothing => i7_a_cluster_that_loses_one_slot_leaves_nothing,
    clusters::i7_no_run_begins_while_a_claim_of_an_earlier_one_is_live => i7_no_run_begins_while_a_claim_of_an_earlier_one_is_live,
    clusters::i7_no_race_leaves_half_a_cluster => i7_no_race_leaves_half_a_cluster,
    clusters::a_cluster_takes_as_many_places_of_a_quota_as_it_has_replicas => a_cluster_takes_as_many_places_of_a_quota_as_it_has_replicas,
    clusters::a_cluster_leaves_nothing_behind_once_it_is_swept => a_cluster_leaves_nothing_behind_once_it_is_swept,
    clusters::a_budget_counts_all_replicas_of_all_runs => a_budget_counts_all_replicas_of_all_runs,
    identity::a_key_is_read_back_with_its_tenant_and_voided => a_key_is_read_back_with_its_tenant_and_voided,
    identity::a_rotated_key_has_its_former_secrets_for_as_long_as_is_said => a_rotated_key_has_its_former_secrets_for_as_long_as_is_said,
    identity::guests_and_keys_that_ended_long_ago_go => guests_and_keys_that_ended_long_ago_go,
    identity::a_tenant_has_so_many_keys_that_hold => a_tenant_has_so_many_keys_that_hold,
    identity::who_reads_many_rows_keeps_no_look_up_waiting => who_reads_many_rows_keeps_no_look_up_waiting,
    identity::the_first_administrator_is_made_once => the_first_administrator_is_made_once,
    identity::a_tenants_quota_is_taken_with_the_session_and_given_back => a_tenants_quota_is_taken_with_the_session_and_given_back,
    resources::a_tenants_gpus_are_those_of_its_live_sessions_and_a_refusal_says_how_many => a_tenants_gpus_are_those_of_its_live_sessions_and_a_refusal_says_how_many,
    resources::what_frees_a_tenants_gpus_just_before_counts_in_the_same_group => what_frees_a_tenants_gpus_just_before_counts_in_the_same_group,
    resources::a_cluster_that_is_placed_counts_once => a_cluster_that_is_placed_counts_once,
    resources::cpu_and_memory_of_a_tenant_are_limited_alike => cpu_and_memory_of_a_tenant_are_limited_alike,
    resources::of_two_brokers_that_take_a_tenants_last_gpus_at_once_one_is_refused => of_two_brokers_that_take_a_tenants_last_gpus_at_once_one_is_refused,
    resources::what_comes_back_from_a_grant_counts_for_its_tenant => what_comes_back_from_a_grant_counts_for_its_tenant,
    resources::what_ran_before_there_were_such_limits_counts => what_ran_before_there_were_such_limits_counts,
    identity::a_key_with_scopes_of_a_newer_broker_is_read_and_allows_what_is_known => a_key_with_scopes_of_a_newer_broker_is_read_and_allows_what_is_known,
    tenants::what_is_not_said_of_a_tenant_stays => what_is_not_said_of_a_tenant_stays,
    tenants::a_tenants_name_is_its_own => a_tenants_name_is_its_own,
    identity::a_guest_that_logs_in_becomes_the_player => a_guest_that_logs_in_becomes_the_player,
    identity::old_lines_of_the_audit_log_and_logins_that_are_over_go => old_lines_of_the_audit_log_and_logins_that_are_over_go,
    writers::a_broker_that_was_superseded_writes_no_more => a_broker_that_was_superseded_writes_no_more,
    writers::a_broker_whose_start_the_ledger_lost_takes_a_term_anew => a_broker_whose_start_the_ledger_lost_takes_a_term_anew,
    writers::a_term_that_is_given_twice_is_whose_it_was_given_last => a_term_that_is_given_twice_is_whose_it_was_given_last,
    writers::a_broker_that_is_seized_in_a_ledger_behind_its_start_stops => a_broker_that_is_seized_in_a_ledger_behind_its_start_stops,
    writers::what_a_holder_believed_before_the_ledger_went_back_is_not_written => what_a_holder_believed_before_the_ledger_went_back_is_not_written,
    sharing::a_node_that_is_taken_brings_its_sessions_and_its_loser_finds_out_first => a_node_that_is_taken_brings_its_sessions_and_its_loser_finds_out_first,
    sharing::what_was_learned_of_what_is_lost_is_not_gone_by => what_was_learned_of_what_is_lost_is_not_gone_by,
    sharing::what_a_broker_reads_of_one_node_is_its_own => what_a_broker_reads_of_one_node_is_its_own,
    sharing::i4_a_session_is_ended_and_given_by_who_holds_it => i4_a_session_is_ended_and_given_by_who_holds_it,
    sharing::an_order_of_a_later_run_is_its_nodes_and_no_other_node_acks_it => an_order_of_a_later_run_is_its_nodes_and_no_other_node_acks_it,
    sharing::a_new_node_that_attaches_to_two_brokers_is_the_firsts => a_new_node_that_attaches_to_two_brokers_is_the_firsts,
    sharing::a_session_is_given_while_it_waits_and_to_a_broker_that_is_there => a_session_is_given_while_it_waits_and_to_a_broker_that_is_there,
    sharing::i2_a_session_is_claimed_by_who_holds_it => i2_a_session_is_claimed_by_who_holds_it,
    sharing::a_broker_that_is_seized_loses_everything_and_its_voice => a_broker_that_is_seized_loses_everything_and_its_voice,
    sharing::only_the_sessions_that_are_asked_for_are_read => only_the_sessions_that_are_asked_for_are_read,
    sharing::a_broker_that_stops_says_so => a_broker_that_stops_says_so,
    readmit::a_session_that_the_ledger_lost_is_back_with_all_that_it_holds => a_session_that_the_ledger_lost_is_back_with_all_that_it_holds,
    readmit::what_was_claimed_ended_and_swept_does_not_come_back => what_was_claimed_ended_and_swept_does_not_come_back,
    readmit::an_epoch_that_only_a_node_has_shown_comes_back_once => an_epoch_that_only_a_node_has_shown_comes_back_once,
    readmit::what_has_no_room_or_no_edition_does_not_come_back => what_has_no_room_or_no_edition_does_not_come_back,
    usage::i5_a_scripted_day_comes_to_what_is_computed_by_hand => i5_a_scripted_day_comes_to_what_is_computed_by_hand,
    usage::i5_another_slot_with_the_same_epoch_is_another_interval => i5_another_slot_with_the_same_epoch_is_another_interval,
    usage::i5_usage_outlives_its_session_and_goes_after_a_year => i5_usage_outlives_its_session_and_goes_after_a_year,
    usage::what_a_job_used_never_shrinks_and_what_is_unknown_changes_nothing => what_a_job_used_never_shrinks_and_what_is_unknown_changes_nothing,
    usage::lines_are_paged_by_beginning_and_tenants_see_their_own => lines_are_paged_by_beginning_and_tenants_see_their_own,
    usage::a_card_that_holds_stays_and_none_reaches_into_the_past => a_card_that_holds_stays_and_none_reaches_into_the_past,
    usage::a_budget_is_of_a_session_that_lives_and_of_its_holder => a_budget_is_of_a_session_that_lives_and_of_its_holder,
    usage::intervals_of_the_schema_before_are_moved_with_what_is_known_of_them => intervals_of_the_schema_before_are_moved_with_what_is_known_of_them,
    usage::budgets_wait_for_no_callers_long_question => budgets_wait_for_no_callers_long_question,
    usage::a_tenant_whose_usage_cannot_be_read_holds_up_no_other_budget => a_tenant_whose_usage_cannot_be_read_holds_up_no_other_budget,
    usage::what_an_older_broker_wrote_is_still_there => what_an_older_broker_wrote_is_still_there,
    readmit::i5_usage_before_a_session_that_is_back_ends_with_its_grant => i5_usage_before_a_session_that_is_back_ends_with_its_grant,
    saves::the_node_that_ran_an_app_last_has_its_newest_save => the_node_that_ran_an_app_last_has_its_newest_save,
    volumes::a_volume_is_taken_with_a_claim_and_let_go_with_it => a_volume_is_taken_with_a_claim_and_let_go_with_it,
    volumes::i5_a_scripted_day_of_a_volume_comes_to_what_is_computed_by_hand => i5_a_scripted_day_of_a_volume_comes_to_what_is_computed_by_hand,
    volumes::a_job_that_is_back_holds_its_volume_and_not_one_that_another_has => a_job_that_is_back_holds_its_volume_and_not_one_that_another_has,
    volumes::what_is_deleted_of_a_node_that_is_shut_out_is_gone => what_is_deleted_of_a_node_that_is_shut_out_is_gone,
    volumes::a_name_is_one_volumes_and_an_owner_has_so_much => a_name_is_one_volumes_and_an_owner_has_so_much,
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
            inventory: Box::new(Inventory {
                slots,
                ..inventory(cpu_milli, 1024)
            }),
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
        moves: 0,
        since: MonoTime(1_000),
        node: None,
        replica: None,
        wish: Wish {
            region: Some("fra\u{0}".to_owned()),
            save: Some(nearlight_kit::ids::node()),
            probed: Some(nearlight_kit::ids::node()),
            price_max: Some(1_000),
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
        runs_again: false,
        moves_left: 0,
        reclaim_at: None,
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
        gpus: Vec::new(),
        volumes: Vec::new(),
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
        replica: None,
        storage: None,
        pull: None,
    }))
}

/// Whatever there is of one kind, from before.
fn prune(what: Remains, before: MonoTime) -> Op {
    Op::Prune {
        what,
        before,
        rows_max: 1000,
    }
}

fn op(reserve: &Reserve) -> Op {
    Op::Reserve(Box::new(reserve.clone()))
}

fn ordered(applied: &Applied) -> bool {
    matches!(applied, Applied::Ordered { .. })
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
