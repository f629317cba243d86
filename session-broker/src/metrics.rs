//! The broker's metrics: their names, help texts, and one function a measurement.
//!
//! Labels are closed sets: an enum's names, a route's pattern. Never an id.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use nearlight_placement::Rejection;
use nearlight_protocol::api::EndReason;
use std::time::Duration;

const HTTP_REQUESTS: &str = "broker_http_requests_seconds";
const CONNECTIONS_REFUSED: &str = "broker_connections_refused_total";
const LEDGER_COMMIT: &str = "broker_ledger_commit_seconds";
const LEDGER_OPS: &str = "broker_ledger_ops_total";
const LEDGER_DURABLE: &str = "broker_ledger_durable";
const SESSIONS: &str = "broker_sessions";
const SESSIONS_CREATED: &str = "broker_sessions_created_total";
const SESSIONS_ENDED: &str = "broker_sessions_ended_total";
const START: &str = "broker_session_start_seconds";
const PLACE_REJECTED: &str = "broker_place_rejected_nodes_total";
const RACES_LOST: &str = "broker_place_races_lost_total";
const NODES: &str = "broker_nodes";
const STREAMS: &str = "broker_control_streams_total";
const UNREAD: &str = "broker_control_unread_total";
const WHEP: &str = "broker_whep_relay_seconds";
const RELOADS: &str = "broker_ledger_reloads_total";
const SETBACKS: &str = "broker_ledger_setbacks_total";
const PEERS: &str = "broker_peers";
const GIVEN_UP: &str = "broker_peers_given_up_total";
const SENT_AWAY: &str = "broker_nodes_sent_away";
const LAPSES: &str = "broker_ledger_lapses_total";
const SWEEP_BEHIND: &str = "broker_sweep_behind_seconds";
const FORWARDED: &str = "broker_forwarded_requests_total";
const OUTBOX_FULL: &str = "broker_outbox_full_total";
const TUNNELS: &str = "broker_tunnels";
const ENDPOINT: &str = "broker_endpoint_requests_seconds";
const WEBHOOKS: &str = "broker_webhook_tries_total";
const BEACON_ROUNDS: &str = "broker_checks_rounds_total";
const BEACON_WAITS: &str = "broker_checks_round_waits";
const BEACON_FAILED: &str = "broker_checks_relay_failures_total";
const MOVED: &str = "broker_sessions_moved_total";

/// Registers the help texts.
pub(crate) fn describe() {
    describe_histogram!(
        HTTP_REQUESTS,
        Unit::Seconds,
        "Requests by route, method and status."
    );
    describe_counter!(
        CONNECTIONS_REFUSED,
        "Connections closed because their address has as many as one may have."
    );
    describe_histogram!(
        LEDGER_COMMIT,
        Unit::Seconds,
        "Transactions of the ledger's writer."
    );
    describe_counter!(LEDGER_OPS, "Changes committed to the ledger.");
    describe_gauge!(
        LEDGER_DURABLE,
        "Whether a setting of the ledger's engine keeps what was acked through a power cut."
    );
    describe_counter!(
        RELOADS,
        "Times the broker forgot what it believed and loaded again."
    );
    describe_counter!(
        SETBACKS,
        "Times the ledger was found to have gone back behind what this broker had committed."
    );
    describe_gauge!(TUNNELS, "Tunnels to nodes of jobs.");
    describe_histogram!(
        ENDPOINT,
        Unit::Seconds,
        "Requests to jobs up to the head of the answer, by outcome."
    );
    describe_gauge!(SESSIONS, "Sessions by phase.");
    describe_counter!(SESSIONS_CREATED, "Sessions created.");
    describe_counter!(SESSIONS_ENDED, "Sessions ended, by reason.");
    describe_histogram!(START, Unit::Seconds, "From creation to the first picture.");
    describe_counter!(
        PLACE_REJECTED,
        "Nodes ruled out by a placement that failed, by reason."
    );
    describe_counter!(RACES_LOST, "Claims that somebody else made first.");
    describe_gauge!(NODES, "Nodes by status.");
    describe_gauge!(PEERS, "Other brokers that share the ledger and are there.");
    describe_counter!(
        GIVEN_UP,
        "Brokers that were gone and whose part this one took over."
    );
    describe_gauge!(
        SENT_AWAY,
        "1 while nodes are sent to other brokers, which reach the ledger as this one does not."
    );
    describe_counter!(
        LAPSES,
        "Looks at a ledger out of reach, by whether another broker reaches it."
    );
    describe_gauge!(
        SWEEP_BEHIND,
        "For how long the oldest ended session is to be gone from the ledger, and is not."
    );
    describe_counter!(
        FORWARDED,
        "Requests about a session of another broker, by outcome."
    );
    describe_counter!(
        MOVED,
        "Sessions that changed their broker: given, taken, seized or lost."
    );
    describe_counter!(
        OUTBOX_FULL,
        "Times a node ran more that was to be stopped than its outbox takes."
    );
    describe_counter!(WEBHOOKS, "Tries to deliver a notice, by outcome.");
    describe_checks();
    describe_streams();
}

/// Those of control streams.
fn describe_checks() {
    describe_counter!(
        BEACON_ROUNDS,
        "Rounds of checks that this broker settled by a beacon outside: drawn or void."
    );
    describe_gauge!(
        BEACON_WAITS,
        "Whether the round of checks waits for a value that is due."
    );
    describe_counter!(
        BEACON_FAILED,
        "Relays that gave no value of a round of checks, by why: silent, garbled, other-round or forged."
    );
}

fn describe_streams() {
    describe_counter!(STREAMS, "Control streams by how they went.");
    describe_counter!(
        UNREAD,
        "Messages of nodes with a value that this build does not know, by kind."
    );
    describe_histogram!(
        WHEP,
        Unit::Seconds,
        "WHEP requests relayed to an edge, by outcome."
    );
}

pub(crate) fn http_request(route: &str, method: &str, status: u16, took: Duration) {
    let labels = [
        ("route", route.to_owned()),
        ("method", method.to_owned()),
        ("status", status.to_string()),
    ];
    histogram!(HTTP_REQUESTS, &labels).record(took);
}

pub(crate) fn connection_refused() {
    counter!(CONNECTIONS_REFUSED).increment(1);
}

pub(crate) fn ledger_commit(took: Duration, ops: usize, done: bool) {
    let outcome = if done { "done" } else { "failed" };
    histogram!(LEDGER_COMMIT, "outcome" => outcome).record(took);
    if done {
        counter!(LEDGER_OPS).increment(ops as u64);
    }
}

pub(crate) fn ledger_durable(setting: &'static str, value: &str, durable: bool) {
    let labels = [("setting", setting.to_owned()), ("value", value.to_owned())];
    gauge!(LEDGER_DURABLE, &labels).set(f64::from(u8::from(durable)));
}

pub(crate) fn ledger_set_back() {
    counter!(SETBACKS).increment(1);
}

pub(crate) fn ledger_reload() {
    counter!(RELOADS).increment(1);
}

pub(crate) fn sessions(phase: &'static str, count: usize) {
    gauge!(SESSIONS, "phase" => phase).set(count as f64);
}

pub(crate) fn session_created() {
    counter!(SESSIONS_CREATED).increment(1);
}

pub(crate) fn session_started(took: Duration) {
    histogram!(START).record(took);
}

pub(crate) fn session_ended(reason: EndReason) {
    let reason = serde_json::to_value(reason)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default();
    counter!(SESSIONS_ENDED, "reason" => reason).increment(1);
}

pub(crate) fn place_rejected(rejection: &Rejection) {
    for (reason, nodes) in &rejection.reasons {
        counter!(PLACE_REJECTED, "reason" => reason.label()).increment(u64::from(*nodes));
    }
}

pub(crate) fn race_lost() {
    counter!(RACES_LOST).increment(1);
}

pub(crate) fn peers(count: usize) {
    gauge!(PEERS).set(count as f64);
}

pub(crate) fn given_up() {
    counter!(GIVEN_UP).increment(1);
}

pub(crate) fn nodes_sent_away(away: bool) {
    gauge!(SENT_AWAY).set(f64::from(u8::from(away)));
}

pub(crate) fn lease_lapsed(reached_by: &'static str) {
    counter!(LAPSES, "reached_by" => reached_by).increment(1);
}

pub(crate) fn sweep_behind_s(seconds: u64) {
    gauge!(SWEEP_BEHIND).set(seconds as f64);
}

pub(crate) fn forwarded(outcome: &'static str) {
    counter!(FORWARDED, "outcome" => outcome).increment(1);
}

pub(crate) fn moved(how: &'static str, count: usize) {
    counter!(MOVED, "how" => how).increment(count as u64);
}

pub(crate) fn checks_round(came_to: &'static str) {
    counter!(BEACON_ROUNDS, "came_to" => came_to).increment(1);
}

pub(crate) fn checks_round_waits(waits: bool) {
    gauge!(BEACON_WAITS).set(f64::from(u8::from(waits)));
}

pub(crate) fn checks_relay_failed(why: &'static str) {
    counter!(BEACON_FAILED, "why" => why).increment(1);
}

pub(crate) fn nodes(status: &'static str, count: usize) {
    gauge!(NODES, "status" => status).set(count as f64);
}

pub(crate) fn control_stream(outcome: &'static str) {
    counter!(STREAMS, "outcome" => outcome).increment(1);
}

pub(crate) fn control_unread(kind: &'static str) {
    counter!(UNREAD, "kind" => kind).increment(1);
}

/// One tunnel more, or one less.
pub(crate) fn tunnels(change: f64) {
    gauge!(TUNNELS).increment(change);
}

pub(crate) fn endpoint(outcome: &'static str, took: Duration) {
    histogram!(ENDPOINT, "outcome" => outcome).record(took);
}

pub(crate) fn whep(outcome: &'static str, took: Duration) {
    histogram!(WHEP, "outcome" => outcome).record(took);
}

pub(crate) fn webhook(outcome: &'static str) {
    counter!(WEBHOOKS, "outcome" => outcome).increment(1);
}

pub(crate) fn outbox_full() {
    counter!(OUTBOX_FULL).increment(1);
}
