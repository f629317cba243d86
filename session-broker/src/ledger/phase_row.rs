//! [`Phase`] as columns. This file is the validation of what is read back.

use super::StoreError;
use nearlight_protocol::api::{EndReason, StartProgress};
use nearlight_protocol::unit::{MonoTime, UnixMillis};
use nearlight_session::lifecycle::{Held, Link, Phase, Run, Viewer};
use nearlight_session::{Claim, Epoch};
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use std::fmt::Write;

/// The kinds of orders in the `outbox` table.
pub(super) const START: &str = "start";
pub(super) const STOP: &str = "stop";
/// The kinds of sessions in the `session` table.
pub(super) const APP: &str = "app";
pub(super) const JOB: &str = "job";
/// The viewer column of a session whose viewer has no name.
const UNNAMED: &str = "?";

/// A phase as it stands in the `session` table.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct PhaseRow {
    pub(super) phase: String,
    pub(super) since_ms: i64,
    pub(super) ready_ms: Option<i64>,
    pub(super) node_id: Option<String>,
    pub(super) slot_id: Option<String>,
    pub(super) epoch: Option<i64>,
    pub(super) viewer: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) detail: String,
    /// When it ended.
    pub(super) ended_ms: Option<i64>,
}

pub(super) fn to_ms(at: MonoTime) -> i64 {
    i64::try_from(at.0 / 1000).unwrap_or(i64::MAX)
}

pub(super) fn from_ms(ms: i64) -> MonoTime {
    MonoTime(u64::try_from(ms).unwrap_or(0).saturating_mul(1000))
}

/// A time on the scale of the API as its column.
pub(super) fn ms(at: UnixMillis) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

pub(super) fn int(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Corrupt(format!("{value} is out of range")))
}

/// A hash as its column.
pub(super) fn hex(hash: &[u8; 32]) -> String {
    hash.iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

pub(super) fn unhex(text: &str) -> Result<[u8; 32], StoreError> {
    let corrupt = || StoreError::Corrupt(format!("`{text}` is no hash"));
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(corrupt());
    }
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| corrupt())?;
    }
    Ok(hash)
}

pub(super) fn reason_text(reason: EndReason) -> Result<String, StoreError> {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        Ok(_) | Err(_) => Err(StoreError::Corrupt("an end reason is not a name".into())),
    }
}

impl PhaseRow {
    pub(super) fn read(row: &AnyRow) -> Self {
        Self {
            phase: row.get("phase"),
            since_ms: row.get("since_ms"),
            ready_ms: row.get("ready_ms"),
            node_id: row.get("node_id"),
            slot_id: row.get("slot_id"),
            epoch: row.get("epoch"),
            viewer: row.get("viewer"),
            reason: row.get("reason"),
            detail: row.get("detail"),
            ended_ms: row.get("ended_ms"),
        }
    }

    /// `changed` is when the phase was entered, for phases that do not say so themselves.
    pub(super) fn of(phase: &Phase, changed: MonoTime) -> Result<Self, StoreError> {
        let mut row = Self {
            since_ms: to_ms(changed),
            ..Self::default()
        };
        match phase {
            Phase::Queued => "queued".clone_into(&mut row.phase),
            Phase::Placing { held, since } => {
                "placing".clone_into(&mut row.phase);
                row.since_ms = to_ms(*since);
                row.hold(held)?;
            }
            Phase::Starting { held, since, .. } => {
                "starting".clone_into(&mut row.phase);
                row.since_ms = to_ms(*since);
                row.hold(held)?;
            }
            Phase::Ready { run } => row.run("ready", run)?,
            Phase::Playing { run, viewer } => {
                row.run("playing", run)?;
                row.viewer = Some(match viewer {
                    Viewer::Named(attachment) => attachment.to_string(),
                    Viewer::Unnamed => UNNAMED.to_owned(),
                });
            }
            Phase::Detached { run, since } => {
                row.run("detached", run)?;
                row.since_ms = to_ms(*since);
            }
            Phase::Ending {
                held,
                reason,
                since,
            } => {
                "ending".clone_into(&mut row.phase);
                row.since_ms = to_ms(*since);
                row.hold(held)?;
                row.reason = Some(reason_text(*reason)?);
            }
            Phase::Ended { reason, detail } => {
                "ended".clone_into(&mut row.phase);
                row.ended_ms = Some(row.since_ms);
                row.reason = Some(reason_text(*reason)?);
                // An edge or an app wrote it: see `dialect::Foreign`.
                row.detail = detail.replace('\0', "\u{fffd}");
            }
        }
        Ok(row)
    }

    /// The phase of a session whose broker has just started at `now`: no control stream is up yet,
    /// and nobody's input was seen. Times in which the broker had to be there begin anew: an edge
    /// cannot start, nor a player come back, while it is away. The time limit goes on.
    pub(super) fn into_phase(self, now: MonoTime) -> Result<Phase, StoreError> {
        let since = from_ms(self.since_ms);
        Ok(match self.phase.as_str() {
            "queued" => Phase::Queued,
            "placing" => Phase::Placing {
                held: self.held(now)?,
                since: now,
            },
            "starting" => Phase::Starting {
                held: self.held(now)?,
                progress: StartProgress::StartingDesktop,
                since,
                moved_at: now,
            },
            "ready" => Phase::Ready {
                run: self.carried(now)?,
            },
            "playing" => Phase::Playing {
                run: self.carried(now)?,
                viewer: self.named_viewer()?,
            },
            "detached" => Phase::Detached {
                run: self.carried(now)?,
                since: now,
            },
            "ending" => Phase::Ending {
                held: self.held(now)?,
                reason: self.end_reason()?,
                since: now,
            },
            "ended" => Phase::Ended {
                reason: self.end_reason()?,
                detail: self.detail,
            },
            other => return Err(StoreError::Corrupt(format!("unknown phase `{other}`"))),
        })
    }

    fn hold(&mut self, held: &Held) -> Result<(), StoreError> {
        self.node_id = Some(held.claim.node.to_string());
        self.slot_id = Some(held.claim.slot.to_string());
        self.epoch = Some(epoch_column(held.claim.epoch)?);
        Ok(())
    }

    fn run(&mut self, phase: &str, run: &Run) -> Result<(), StoreError> {
        phase.clone_into(&mut self.phase);
        self.ready_ms = Some(to_ms(run.ready_at));
        self.hold(&run.held)
    }

    fn held(&self, now: MonoTime) -> Result<Held, StoreError> {
        let missing = || StoreError::Corrupt(format!("a session in `{}` has no claim", self.phase));
        let claim = Claim {
            node: parse(self.node_id.as_ref().ok_or_else(missing)?)?,
            slot: parse(self.slot_id.as_ref().ok_or_else(missing)?)?,
            epoch: epoch_value(self.epoch.ok_or_else(missing)?)?,
        };
        let link = Link::Lost { since: now };
        Ok(Held { claim, link })
    }

    fn carried(&self, now: MonoTime) -> Result<Run, StoreError> {
        Ok(Run {
            held: self.held(now)?,
            ready_at: from_ms(self.ready_ms.unwrap_or(self.since_ms)),
            input_at: now,
            warned_of: None,
        })
    }

    fn named_viewer(&self) -> Result<Viewer, StoreError> {
        match self.viewer.as_deref() {
            None | Some(UNNAMED) => Ok(Viewer::Unnamed),
            Some(name) => parse(name).map(Viewer::Named),
        }
    }

    fn end_reason(&self) -> Result<EndReason, StoreError> {
        reason_value(self.reason.clone().unwrap_or_default())
    }
}

pub(super) fn reason_value(text: String) -> Result<EndReason, StoreError> {
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|e| StoreError::Corrupt(e.to_string()))
}

pub(super) fn epoch_column(epoch: Epoch) -> Result<i64, StoreError> {
    i64::try_from(epoch.0).map_err(|_| StoreError::Corrupt(format!("epoch {} is absurd", epoch.0)))
}

pub(super) fn epoch_value(column: i64) -> Result<Epoch, StoreError> {
    u64::try_from(column)
        .map(Epoch)
        .map_err(|_| StoreError::Corrupt(format!("epoch {column} is negative")))
}

pub(super) fn parse<T>(text: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|e: T::Err| StoreError::Corrupt(format!("{e}: `{text}`")))
}
