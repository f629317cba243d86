//! The agent's metrics: names, help, and the calls that move them.

use crate::gpu::Reading;
use nearlight_protocol::api::EndReason;
use std::time::Duration;

const SESSIONS: &str = "edge_sessions";
const STUCK: &str = "edge_sessions_stuck";
const SLOTS: &str = "edge_slots";
const DESKTOPS_READY: &str = "edge_desktops_ready";
const TASKS: &str = "edge_tasks";
const STARTED: &str = "edge_sessions_started_total";
const ADOPTED: &str = "edge_sessions_adopted_total";
const ENDED: &str = "edge_sessions_ended_total";
const DENIED: &str = "edge_starts_denied_total";
const START_SECONDS: &str = "edge_session_start_seconds";
const FAULT: &str = "edge_fault";
const ATTACHED: &str = "edge_control_attached";
const ATTACHES: &str = "edge_control_attaches_total";
const DIRECT: &str = "edge_direct_requests_total";

const GPU_MEMORY: &str = "edge_gpu_memory_used_bytes";
const GPU_BUSY: &str = "edge_gpu_busy_ratio";
const GPU_TEMPERATURE: &str = "edge_gpu_temperature_celsius";
const GPU_POWER: &str = "edge_gpu_power_watts";
const GPU_PROCESSES: &str = "edge_gpu_processes";
const GPU_ECC: &str = "edge_gpu_ecc_uncorrected";
const GPU_THROTTLED: &str = "edge_gpu_throttled";
const GPU_SICK: &str = "edge_gpu_sick";

/// Says what the metrics mean. Once, after the recorder is installed.
pub(crate) fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(
        SESSIONS,
        "Sessions on this node, those that start or end too"
    );
    describe_gauge!(
        STUCK,
        "Sessions that have ended and whose container the engine does not remove"
    );
    describe_gauge!(SLOTS, "Slots of this node");
    describe_gauge!(
        DESKTOPS_READY,
        "Desktops that are ready for sessions to come"
    );
    describe_gauge!(TASKS, "Tasks of the agent's runtime that have not ended");
    describe_counter!(STARTED, "Sessions that this node was ordered to start");
    describe_counter!(ADOPTED, "Sessions taken over from an earlier agent");
    describe_counter!(ENDED, "Sessions that ended, by reason");
    describe_counter!(DENIED, "Orders to start that were refused, by reason");
    describe_histogram!(START_SECONDS, "From the order to the first picture");
    describe_gauge!(
        FAULT,
        "Whether the node cannot start anything, as it cannot write its journal"
    );
    describe_gpus();
    describe_gauge!(ATTACHED, "Whether the control stream is up");
    describe_counter!(ATTACHES, "Times that the control stream came up");
    describe_counter!(
        DIRECT,
        "Requests of callers to jobs at this node itself, by whether the job answered"
    );
}

/// Of GPUs for jobs and MIG slices, by UUID. What a driver does not tell is not there.
fn describe_gpus() {
    use metrics::describe_gauge;
    describe_gauge!(GPU_MEMORY, "Memory of a GPU for jobs that is in use");
    describe_gauge!(
        GPU_BUSY,
        "Share of the last moments in which a kernel ran on the GPU"
    );
    describe_gauge!(GPU_TEMPERATURE, "Temperature of the GPU");
    describe_gauge!(GPU_POWER, "Power that the GPU draws");
    describe_gauge!(GPU_PROCESSES, "Programs that compute on the GPU");
    describe_gauge!(
        GPU_ECC,
        "Memory errors that ECC could not correct, since the driver was loaded or ever"
    );
    describe_gauge!(
        GPU_THROTTLED,
        "Whether something holds the GPU's clocks down"
    );
    describe_gauge!(GPU_SICK, "Whether the GPU takes no further job");
}

/// What was read of a GPU.
pub(crate) fn gpu(uuid: &str, reading: &Reading, sick: bool) {
    let set = |name: &'static str, value: Option<f64>| {
        if let Some(value) = value {
            metrics::gauge!(name, "gpu" => uuid.to_owned()).set(value);
        }
    };
    set(
        GPU_MEMORY,
        reading.used_mib.map(|mib| float(mib) * 1_048_576.0),
    );
    set(
        GPU_BUSY,
        reading
            .busy_percent
            .map(|percent| f64::from(percent) / 100.0),
    );
    set(GPU_TEMPERATURE, reading.temperature_c.map(f64::from));
    set(GPU_POWER, reading.power_mw.map(|mw| f64::from(mw) / 1000.0));
    set(
        GPU_PROCESSES,
        reading
            .processes
            .as_ref()
            .map(|all| float(all.len() as u64)),
    );
    let throttled = reading.throttled.as_ref();
    set(
        GPU_THROTTLED,
        throttled.map(|why| f64::from(u8::from(!why.is_empty()))),
    );
    set(GPU_SICK, Some(f64::from(u8::from(sick))));
    for (since, count) in [
        ("driver", reading.ecc_volatile),
        ("ever", reading.ecc_aggregate),
    ] {
        if let Some(count) = count {
            metrics::gauge!(GPU_ECC, "gpu" => uuid.to_owned(), "since" => since).set(float(count));
        }
    }
}

/// Counts here are far below what a float holds.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(crate) fn tasks(count: usize) {
    metrics::gauge!(TASKS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn slots(count: usize) {
    metrics::gauge!(SLOTS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn desktops_ready(count: u32) {
    metrics::gauge!(DESKTOPS_READY).set(f64::from(count));
}

pub(crate) fn sessions(count: usize) {
    metrics::gauge!(SESSIONS).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn session_started() {
    metrics::counter!(STARTED).increment(1);
}

pub(crate) fn session_adopted() {
    metrics::counter!(ADOPTED).increment(1);
}

pub(crate) fn session_ready(took: Duration) {
    metrics::histogram!(START_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn session_ended(reason: EndReason) {
    metrics::counter!(ENDED, "reason" => label(&reason)).increment(1);
}

pub(crate) fn start_denied(reason: nearlight_protocol::control::DenyReason) {
    metrics::counter!(DENIED, "reason" => label(&reason)).increment(1);
}

/// One more session, or one less, whose container its engine does not remove.
pub(crate) fn sessions_stuck(more: f64) {
    metrics::gauge!(STUCK).increment(more);
}

pub(crate) fn fault(is_there: bool) {
    metrics::gauge!(FAULT).set(f64::from(u8::from(is_there)));
}

/// A caller at this node was answered by a job, or refused.
pub(crate) fn direct(outcome: &'static str) {
    metrics::counter!(DIRECT, "outcome" => outcome).increment(1);
}

pub(crate) fn control_attached(attached: bool) {
    metrics::gauge!(ATTACHED).set(f64::from(u8::from(attached)));
    if attached {
        metrics::counter!(ATTACHES).increment(1);
    }
}

/// The wire's own word for one of its closed sets.
fn label(reason: &impl serde::Serialize) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => "unknown".to_owned(),
    }
}
