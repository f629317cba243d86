//! Usage and what it costs, as the API shows it: `GET /v1/usage`, in JSON and as CSV (RFC 4180).
//!
//! In CSV a text of somebody else's that a spreadsheet would take for a formula has an apostrophe before
//! it.

use crate::id::{AppId, NodeId, SessionId, TenantId, VolumeId};
use crate::unit::{UnixMillis, rfc3339};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v1/usage`. Amounts are millionths of the currency's unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageReport {
    /// The currency, as the operator writes it; empty where nothing has a price.
    pub currency: String,
    /// Of the seconds that begin here or later.
    pub from_unix_ms: UnixMillis,
    /// And earlier than this. What still runs is counted until now.
    pub to_unix_ms: UnixMillis,
    /// Claim by claim, the oldest first; empty where groups were asked for.
    #[serde(default)]
    pub entries: Vec<UsageEntry>,
    /// By what was asked for, in its order.
    #[serde(default)]
    pub groups: Vec<UsageGroup>,
    /// `after` of the next page, if there is one.
    #[serde(default)]
    pub next: Option<String>,
}

/// A claim: a session on one node, from the acked start to the acked stop. Or a volume, for as long as its
/// node held one size for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageEntry {
    /// The session; none of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub session: Option<SessionId>,
    /// The volume, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<UsageOfVolume>,
    /// Its tenant.
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// Its app, if it is one.
    #[schema(value_type = Option<String>)]
    pub app: Option<AppId>,
    /// The image of its job, if it is one.
    pub job: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Where that was.
    pub region: String,
    /// CPU of its claim, thousandths of a core.
    pub cpu_milli: u32,
    /// Memory of its claim, MiB.
    pub mem_mib: u32,
    /// The models of its GPUs.
    pub gpus: Vec<String>,
    /// When it began.
    pub began_unix_ms: UnixMillis,
    /// When it ended; it runs without.
    pub ended_unix_ms: Option<UnixMillis>,
    /// Whole seconds of it within the range.
    pub seconds: u64,
    /// What they cost.
    pub amount_micro: u64,
    /// Where the receipt of its session stands in the log, if it was played and has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<u64>,
    /// What its node was measured to do when it began, thousandths of its class: the price follows it if the rate card
    /// says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_permille: Option<u32>,
    /// Where a receipt of that stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_receipt: Option<u64>,
    /// What it used of what it had.
    #[serde(default, skip_serializing_if = "UsageFacts::is_empty")]
    pub used: UsageFacts,
}

/// What a job used of its node, as the node has seen it so far. Facts and not money: each is left out where
/// nobody can tell. Of several GPUs memory is all of theirs together, and utilisation their mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageFacts {
    /// CPU time, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The most memory, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_mib_peak: Option<u32>,
    /// The most memory of its GPUs, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_mem_mib_peak: Option<u32>,
    /// That memory on average, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_mem_mib_mean: Option<u32>,
    /// The share of time in which a kernel ran on its GPUs, on average, per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_busy_percent_mean: Option<u32>,
}

impl UsageFacts {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is metered of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageOfVolume {
    /// Which.
    #[schema(value_type = String)]
    pub volume: VolumeId,
    /// Its name.
    pub name: String,
    /// Its size, MiB.
    pub size_mib: u32,
    /// Its size times the seconds.
    pub mib_seconds: u64,
}

/// Several claims and volumes together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsageGroup {
    /// The day (`2026-01-31`, UTC), the app or image (`(volumes)` for all volumes), or the label's value; empty for what has no such
    /// label.
    pub group: String,
    /// Claims with a second in it.
    pub claims: u64,
    /// Their seconds.
    pub seconds: u64,
    /// The sizes of volumes, MiB, times their seconds.
    #[serde(default)]
    pub volume_mib_seconds: u64,
    /// What all of it costs.
    pub amount_micro: u64,
}

/// The first line of entries as CSV.
const ENTRY_HEAD: &str = "session,tenant,app,job,labels,node,region,cpu_milli,mem_mib,gpus,began,ended,\
    seconds,amount_micro,currency,volume,volume_name,volume_mib,volume_mib_seconds,\
    cpu_ms,mem_mib_peak,gpu_mem_mib_peak,gpu_mem_mib_mean,gpu_busy_percent_mean,receipt,\
    score_permille,score_receipt";
/// That of groups.
const GROUP_HEAD: &str = "group,claims,seconds,amount_micro,currency,volume_mib_seconds";

impl UsageReport {
    /// As CSV. Labels are JSON, times RFC 3339.
    pub fn csv(&self, is_grouped: bool) -> String {
        let mut text = format!("{}\r\n", if is_grouped { GROUP_HEAD } else { ENTRY_HEAD });
        text.push_str(&self.csv_lines());
        text
    }

    /// As CSV without its first line, to follow another page.
    pub fn csv_lines(&self) -> String {
        let entries = self.entries.iter().map(|entry| self.entry_line(entry));
        let groups = self.groups.iter().map(|group| self.group_line(group));
        entries.chain(groups).collect()
    }

    fn entry_line(&self, entry: &UsageEntry) -> String {
        let shown = |id: Option<String>| id.unwrap_or_default();
        let labels = serde_json::to_string(&entry.labels).unwrap_or_default();
        let volume = entry.volume.as_ref();
        line([
            shown(entry.session.as_ref().map(ToString::to_string)),
            shown(entry.tenant.as_ref().map(ToString::to_string)),
            shown(entry.app.as_ref().map(ToString::to_string)),
            shown(entry.job.clone()),
            if entry.labels.is_empty() {
                String::new()
            } else {
                labels
            },
            entry.node.to_string(),
            entry.region.clone(),
            entry.cpu_milli.to_string(),
            entry.mem_mib.to_string(),
            entry.gpus.join(" + "),
            rfc3339(entry.began_unix_ms),
            shown(entry.ended_unix_ms.map(rfc3339)),
            entry.seconds.to_string(),
            entry.amount_micro.to_string(),
            self.currency.clone(),
            shown(volume.map(|volume| volume.volume.to_string())),
            shown(volume.map(|volume| volume.name.clone())),
            shown(volume.map(|volume| volume.size_mib.to_string())),
            shown(volume.map(|volume| volume.mib_seconds.to_string())),
            shown(entry.used.cpu_ms.map(|ms| ms.to_string())),
            fact(entry.used.mem_mib_peak),
            fact(entry.used.gpu_mem_mib_peak),
            fact(entry.used.gpu_mem_mib_mean),
            fact(entry.used.gpu_busy_percent_mean),
            shown(entry.receipt.map(|index| index.to_string())),
            fact(entry.score_permille),
            shown(entry.score_receipt.map(|index| index.to_string())),
        ])
    }

    fn group_line(&self, group: &UsageGroup) -> String {
        line([
            group.group.clone(),
            group.claims.to_string(),
            group.seconds.to_string(),
            group.amount_micro.to_string(),
            self.currency.clone(),
            group.volume_mib_seconds.to_string(),
        ])
    }
}

fn fact(value: Option<u32>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn line<const N: usize>(fields: [String; N]) -> String {
    let fields = fields.map(|field| quoted(&field));
    format!("{}\r\n", fields.join(","))
}

fn quoted(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t']);
    let guard = if is_formula { "'" } else { "" };
    if is_formula || field.contains([',', '"', '\r', '\n']) {
        return format!("\"{guard}{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn csv_is_quoted_and_runs_no_formula() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        let report = UsageReport {
            currency: "EUR".to_owned(),
            from_unix_ms: 0,
            to_unix_ms: 1,
            entries: Vec::new(),
            groups: vec![UsageGroup {
                group: "@acme".to_owned(),
                claims: 1,
                seconds: 2,
                volume_mib_seconds: 4,
                amount_micro: 3,
            }],
            next: None,
        };
        let expected = "group,claims,seconds,amount_micro,currency,volume_mib_seconds\r\n\
            \"'@acme\",1,2,3,EUR,4\r\n";
        assert_eq!(report.csv(true), expected);
    }
}
