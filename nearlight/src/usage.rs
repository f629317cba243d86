//! `nearlight usage`: what ran, for how long, and what it costs.

use crate::cli::Usage;
use crate::client::{Client, ClientError};
use crate::command::{CommandError, show};
use crate::{table, terminal};
use nearlight_protocol::limits::PAGE_ENTRIES_MAX;
use nearlight_protocol::unit::rfc3339;
use nearlight_protocol::usage::{UsageEntry, UsageFacts, UsageGroup, UsageOfVolume, UsageReport};
use url::form_urlencoded;

/// Shows usage, page by page.
///
/// # Errors
/// [`CommandError`].
pub fn usage(asked: &Usage) -> Result<(), CommandError> {
    let client = Client::new(&asked.broker)?;
    let query = query(asked)?;
    if asked.csv {
        return Ok(print_csv(&client, &query, asked.group.is_some())?);
    }
    let mut report = page(&client, &query, None)?;
    while let Some(next) = report.next.take() {
        let more = page(&client, &query, Some(&next))?;
        report.entries.extend(more.entries);
        report.next = more.next;
    }
    show(&asked.broker, &report, || match asked.group {
        Some(_) => groups(&report),
        None => entries(&report),
    });
    Ok(())
}

/// A page is printed before the next one is asked for: a month may be long.
fn print_csv(client: &Client, query: &str, is_grouped: bool) -> Result<(), ClientError> {
    let first = page(client, query, None)?;
    terminal::text(&first.csv(is_grouped));
    let mut next = first.next;
    while let Some(after) = next {
        let more = page(client, query, Some(&after))?;
        terminal::text(&more.csv_lines());
        next = more.next;
    }
    Ok(())
}

fn query(asked: &Usage) -> Result<String, CommandError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = [
        ("from", &asked.from),
        ("to", &asked.to),
        ("group", &asked.group),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    for label in &asked.labels {
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| CommandError::NoLabel(label.clone()))?;
        query.append_pair(&format!("label.{name}"), value);
    }
    Ok(query.finish())
}

fn page(client: &Client, query: &str, after: Option<&str>) -> Result<UsageReport, ClientError> {
    let after = after.map(|after| format!("&after={after}"));
    let after = after.unwrap_or_default();
    client.get(&format!(
        "/v1/usage?limit={PAGE_ENTRIES_MAX}{after}&{query}"
    ))
}

fn entries(report: &UsageReport) -> String {
    let row = |entry: &UsageEntry| {
        let app = entry.app.as_ref().map(ToString::to_string);
        let labels = entry
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let ended = entry.ended_unix_ms.map(rfc3339);
        [
            what_id(entry),
            app.or_else(|| entry.job.clone())
                .or_else(|| entry.volume.as_ref().map(volume))
                .unwrap_or_default(),
            labels.collect::<Vec<_>>().join(" "),
            entry.region.clone(),
            rfc3339(entry.began_unix_ms),
            ended.unwrap_or_else(|| "runs".to_owned()),
            entry.seconds.to_string(),
            used(&entry.used),
            entry
                .receipt
                .map(|index| index.to_string())
                .unwrap_or_default(),
            amount(entry.amount_micro),
        ]
    };
    let mut rows: Vec<_> = report.entries.iter().map(row).collect();
    // Seconds of a volume are no session's.
    let claims = report.entries.iter().filter(|entry| entry.volume.is_none());
    let seconds: u64 = claims.map(|entry| entry.seconds).sum();
    let micro: u64 = report.entries.iter().map(|entry| entry.amount_micro).sum();
    let mut total: [String; 10] = Default::default();
    total[0] = "TOTAL".to_owned();
    total[6] = seconds.to_string();
    total[9] = amount(micro);
    rows.push(total);
    let in_currency = currency(report);
    let head = [
        "SESSION OR VOLUME",
        "WHAT",
        "LABELS",
        "REGION",
        "BEGAN",
        "ENDED",
        "SECONDS",
        "USED",
        "RECEIPT",
        &in_currency,
    ];
    table::lay_out(head, &rows)
}

fn what_id(entry: &UsageEntry) -> String {
    let volume = entry
        .volume
        .as_ref()
        .map(|volume| volume.volume.to_string());
    let session = entry.session.as_ref().map(ToString::to_string);
    session.or(volume).unwrap_or_default()
}

fn volume(of: &UsageOfVolume) -> String {
    format!("volume {} ({} MiB)", of.name, of.size_mib)
}

/// What is known of what a job used.
fn used(facts: &UsageFacts) -> String {
    let seconds = |ms: u64| format!("{}.{} s of CPU", ms / 1000, ms % 1000 / 100);
    let gpu = match (facts.gpu_mem_mib_peak, facts.gpu_mem_mib_mean) {
        (Some(peak), Some(mean)) => Some(format!("{peak} MiB of GPU ({mean} on average)")),
        (peak, _) => peak.map(|peak| format!("{peak} MiB of GPU")),
    };
    let all = [
        facts.cpu_ms.map(seconds),
        facts.mem_mib_peak.map(|mib| format!("{mib} MiB")),
        gpu,
        facts
            .gpu_busy_percent_mean
            .map(|percent| format!("GPU {percent}%")),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn groups(report: &UsageReport) -> String {
    let row = |group: &UsageGroup| {
        [
            group.group.clone(),
            group.claims.to_string(),
            group.seconds.to_string(),
            gib_hours(group.volume_mib_seconds),
            amount(group.amount_micro),
        ]
    };
    let rows: Vec<_> = report.groups.iter().map(row).collect();
    let in_currency = currency(report);
    let head = ["GROUP", "CLAIMS", "SECONDS", "GiB HOURS KEPT", &in_currency];
    table::lay_out(head, &rows)
}

/// MiB times seconds as GiB times hours, thousandths rounded down.
fn gib_hours(mib_seconds: u64) -> String {
    let milli = u128::from(mib_seconds) * 1000 / (1024 * 3600);
    format!("{}.{:03}", milli / 1000, milli % 1000)
}

fn currency(report: &UsageReport) -> String {
    match report.currency.as_str() {
        "" => "AMOUNT".to_owned(),
        currency => currency.to_owned(),
    }
}

/// An amount with all its six places.
pub(crate) fn amount(micro: u64) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_kept_is_shown_by_gib_and_hour() {
        assert_eq!(gib_hours(1024 * 3600), "1.000");
        assert_eq!(gib_hours(4096 * 5400), "6.000");
        assert_eq!(gib_hours(1), "0.000");
    }

    #[test]
    fn of_what_was_used_only_what_is_known_is_said() {
        assert_eq!(used(&UsageFacts::default()), "");
        let facts = UsageFacts {
            cpu_ms: Some(12_345),
            mem_mib_peak: Some(300),
            gpu_mem_mib_peak: Some(9000),
            gpu_mem_mib_mean: Some(7000),
            gpu_busy_percent_mean: Some(40),
        };
        let said = "12.3 s of CPU, 300 MiB, 9000 MiB of GPU (7000 on average), GPU 40%";
        assert_eq!(used(&facts), said);
    }

    #[test]
    fn an_amount_has_six_places() {
        assert_eq!(amount(0), "0.000000");
        assert_eq!(amount(12_000_034), "12.000034");
    }
}
