//! Least values of what the configuration says in numbers, and which go together.

use super::{CallerLimits, Control, InvalidConfig, SessionTimes};

pub(super) fn check_times(times: &SessionTimes) -> Result<(), InvalidConfig> {
    at_least("sessions.start_s", times.start_s, 1)?;
    at_least("sessions.start_total_s", times.start_total_s, times.start_s)?;
    at_least("sessions.stop_s", times.stop_s, 1)?;
    at_least("sessions.node_grace_s", times.node_grace_s, 1)?;
    at_least("sessions.ticket_s", times.ticket_s, 1)?;
    match times.retain_ms() {
        Some(keep_ms) if keep_ms / 1000 < u64::from(times.ended_keep_s) => {
            Err(InvalidConfig::Value {
                key: "sessions.retain_days",
                problem: format!(
                    "is {}, less than the {} s of sessions.ended_keep_s; keep longer, or list \
                     shorter",
                    times.retain_days, times.ended_keep_s
                ),
            })
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn check_control(control: &Control) -> Result<(), InvalidConfig> {
    at_least("control.heartbeat_s", control.heartbeat_s, 1)?;
    at_least("control.missed_max", control.missed_max, 2)?;
    at_least("control.backoff_min_s", control.backoff_min_s, 1)?;
    at_least(
        "control.backoff_max_s",
        control.backoff_max_s,
        control.backoff_min_s,
    )?;
    at_least("control.accepts_per_s", control.accepts_per_s, 1)?;
    at_least("control.accepts_burst", control.accepts_burst, 1)?;
    more_than_none("control.streams_max", control.streams_max)
}

pub(super) fn check_limits(limits: &CallerLimits) -> Result<(), InvalidConfig> {
    at_least("limits.requests_per_s", limits.requests_per_s, 1)?;
    at_least("limits.requests_burst", limits.requests_burst, 1)?;
    at_least("limits.creates_per_min", limits.creates_per_min, 1)?;
    at_least("limits.creates_burst", limits.creates_burst, 1)?;
    at_least("limits.guests_per_min", limits.guests_per_min, 1)?;
    at_least("limits.guests_burst", limits.guests_burst, 1)?;
    at_least("limits.viewers_per_min", limits.viewers_per_min, 1)?;
    at_least("limits.viewers_burst", limits.viewers_burst, 1)?;
    at_least("limits.key_requests_per_s", limits.key_requests_per_s, 1)?;
    at_least("limits.key_requests_burst", limits.key_requests_burst, 1)?;
    at_least("limits.key_creates_per_min", limits.key_creates_per_min, 1)?;
    at_least("limits.key_creates_burst", limits.key_creates_burst, 1)?;
    at_least(
        "limits.tenant_requests_per_s",
        limits.tenant_requests_per_s,
        1,
    )?;
    at_least(
        "limits.tenant_requests_burst",
        limits.tenant_requests_burst,
        1,
    )?;
    at_least(
        "limits.tenant_creates_per_min",
        limits.tenant_creates_per_min,
        1,
    )?;
    at_least(
        "limits.tenant_creates_burst",
        limits.tenant_creates_burst,
        1,
    )?;
    at_least("limits.player_sessions_max", limits.player_sessions_max, 1)?;
    more_than_none("limits.connections_max", limits.connections_max)
}

fn more_than_none(key: &'static str, value: usize) -> Result<(), InvalidConfig> {
    at_least(key, u32::try_from(value).unwrap_or(u32::MAX), 1)
}

pub(super) fn at_least(key: &'static str, value: u32, min: u32) -> Result<(), InvalidConfig> {
    if value >= min {
        return Ok(());
    }
    Err(InvalidConfig::Value {
        key,
        problem: format!("is {value}; it must be at least {min}"),
    })
}
