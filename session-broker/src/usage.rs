//! Usage as it is asked for: lines or groups of a range of time, with what they come to.
//!
//! Read from the ledger page by page; nothing of it is kept. What still runs is counted until now.
//!
//! **What it does not know:** HTTP, who may ask.

use crate::ledger::{
    ClaimLine, Item, Ledger, StoreError, UsageLine, UsagePlace, UsageQuery, VolumeLine,
};
use crate::rates::Prices;
use nearlight_protocol::id::TenantId;
use nearlight_protocol::unit::{UnixMillis, rfc3339};
use nearlight_protocol::usage::{UsageEntry, UsageFacts, UsageGroup, UsageOfVolume, UsageReport};
use nearlight_session::bill::{Charge, Interval, Kept, Range};
use std::collections::BTreeMap;
use std::sync::Arc;

const DAY_MS: u64 = 24 * 3600 * 1000;
/// Lines read at a time.
const PAGE_LINES: u32 = 500;
/// Lines looked at for one page of entries: a label that few have must not read the whole ledger.
const SCAN_LINES_MAX: usize = 50_000;
/// Lines and groups of one question about groups.
const GROUP_LINES_MAX: usize = 2_000_000;
const GROUPS_MAX: usize = 10_000;
/// The group of all volumes, where claims are put together by what they ran. No image has that name.
const VOLUMES: &str = "(volumes)";

/// By what lines are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// By app, or by image; volumes together.
    App,
    /// By day, UTC.
    Day,
    /// By the value of a label.
    Label(String),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Of which seconds.
    pub(crate) range: Range,
    /// Of one tenant, or of all.
    pub(crate) tenant: Option<TenantId>,
    /// Only of sessions with all of these labels.
    pub(crate) labels: Vec<(String, String)>,
    /// Together, or line by line.
    pub(crate) group: Option<Group>,
    /// Behind this line.
    pub(crate) after: Option<UsagePlace>,
    /// Lines of a page.
    pub(crate) limit: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// Too much for one answer.
    #[error("this is more than one answer holds")]
    TooMuch,
}

impl Asked {
    fn takes(&self, line: &UsageLine) -> bool {
        let has = |(name, value): &(String, String)| line.labels().get(name) == Some(value);
        self.labels.iter().all(has)
    }

    fn page(&self, after: Option<UsagePlace>) -> UsageQuery {
        UsageQuery {
            tenant: self.tenant.clone(),
            from_ms: self.range.from_ms,
            to_ms: self.range.to_ms,
            after,
            max: PAGE_LINES,
        }
    }
}

/// Answers what is asked.
pub(crate) async fn report(
    ledger: &Arc<dyn Ledger>,
    asked: &Asked,
    now_ms: UnixMillis,
) -> Result<UsageReport, UsageError> {
    let prices = Prices::read(ledger).await?;
    let mut report = UsageReport {
        currency: prices.currency.clone(),
        from_unix_ms: asked.range.from_ms,
        to_unix_ms: asked.range.to_ms,
        entries: Vec::new(),
        groups: Vec::new(),
        next: None,
    };
    match &asked.group {
        Some(group) => report.groups = groups(ledger, asked, group, &prices, now_ms).await?,
        None => entries(ledger, asked, &prices, now_ms, &mut report).await?,
    }
    name_receipts(ledger, &mut report.entries).await?;
    Ok(report)
}

/// Says of each claim where the receipt of its session stands, if it has one.
async fn name_receipts(
    ledger: &Arc<dyn Ledger>,
    entries: &mut [UsageEntry],
) -> Result<(), StoreError> {
    let sessions = entries.iter().filter_map(|entry| entry.session.clone());
    let rows = ledger.session_receipts(sessions.collect()).await?;
    let places: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row.session, row.place))
        .collect();
    for entry in entries {
        let session = entry.session.as_ref();
        entry.receipt = session.and_then(|session| places.get(session)).copied();
    }
    Ok(())
}

async fn entries(
    ledger: &Arc<dyn Ledger>,
    asked: &Asked,
    prices: &Prices,
    now_ms: UnixMillis,
    report: &mut UsageReport,
) -> Result<(), StoreError> {
    let (mut after, mut scanned) = (asked.after.clone(), 0);
    loop {
        let lines = ledger.usage_lines(asked.page(after.clone())).await?;
        let is_last = lines.len() < PAGE_LINES as usize;
        scanned += lines.len();
        for line in lines {
            let takes = asked.takes(&line);
            if takes && report.entries.len() == asked.limit {
                report.next = after.as_ref().map(cursor);
                return Ok(());
            }
            after = Some(line.place());
            if takes {
                report
                    .entries
                    .push(entry(line, asked.range, prices, now_ms));
            }
        }
        if is_last {
            return Ok(());
        }
        if scanned >= SCAN_LINES_MAX {
            report.next = after.as_ref().map(cursor);
            return Ok(());
        }
    }
}

fn entry(line: UsageLine, range: Range, prices: &Prices, now_ms: UnixMillis) -> UsageEntry {
    let interval = line.interval(now_ms);
    let charge = prices.book.charge(&line.held(), interval, range);
    match line {
        UsageLine::Claim(line) => claim(line, charge),
        UsageLine::Volume(line) => volume(line, charge),
    }
}

fn claim(line: ClaimLine, Charge { seconds, micro }: Charge) -> UsageEntry {
    let (app, job) = match line.bill.item {
        Item::App(app) => (Some(app), None),
        Item::Job(image) => (None, Some(image)),
    };
    UsageEntry {
        session: Some(line.session),
        volume: None,
        tenant: line.bill.tenant,
        app,
        job,
        labels: line.bill.labels,
        node: line.node,
        region: line.bill.region,
        cpu_milli: line.bill.metered.cpu_milli,
        mem_mib: line.bill.metered.mem_mib,
        gpus: line.bill.metered.gpus,
        began_unix_ms: line.began_ms,
        ended_unix_ms: line.ended_ms,
        seconds,
        amount_micro: micro,
        receipt: None,
        score_permille: line.bill.metered.score_permille,
        score_receipt: line.bill.score_receipt,
        used: line.used,
    }
}

fn volume(line: VolumeLine, Charge { seconds, micro }: Charge) -> UsageEntry {
    UsageEntry {
        session: None,
        volume: Some(UsageOfVolume {
            volume: line.volume,
            name: line.name,
            size_mib: line.kept.mib,
            mib_seconds: mib_seconds(line.kept, seconds),
        }),
        tenant: line.tenant,
        app: None,
        job: None,
        labels: line.labels,
        node: line.node,
        region: line.region,
        cpu_milli: 0,
        mem_mib: 0,
        gpus: Vec::new(),
        began_unix_ms: line.began_ms,
        ended_unix_ms: line.ended_ms,
        seconds,
        amount_micro: micro,
        receipt: None,
        score_permille: None,
        score_receipt: None,
        used: UsageFacts::default(),
    }
}

fn mib_seconds(kept: Kept, seconds: u64) -> u64 {
    u64::from(kept.mib).saturating_mul(seconds)
}

/// What came together in a group.
#[derive(Default)]
struct Sum {
    claims: u64,
    seconds: u64,
    volume_mib_seconds: u64,
    amount_micro: u64,
}

impl Sum {
    fn add(&mut self, line: &UsageLine, charge: Charge) {
        match line {
            UsageLine::Claim(_) => {
                self.claims += 1;
                self.seconds = self.seconds.saturating_add(charge.seconds);
            }
            UsageLine::Volume(line) => {
                let more = mib_seconds(line.kept, charge.seconds);
                self.volume_mib_seconds = self.volume_mib_seconds.saturating_add(more);
            }
        }
        self.amount_micro = self.amount_micro.saturating_add(charge.micro);
    }
}

async fn groups(
    ledger: &Arc<dyn Ledger>,
    asked: &Asked,
    by: &Group,
    prices: &Prices,
    now_ms: UnixMillis,
) -> Result<Vec<UsageGroup>, UsageError> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let (mut after, mut read) = (None, 0);
    loop {
        let lines = ledger.usage_lines(asked.page(after)).await?;
        let is_last = lines.len() < PAGE_LINES as usize;
        read += lines.len();
        after = lines.last().map(UsageLine::place);
        for line in lines.iter().filter(|line| asked.takes(line)) {
            let interval = line.interval(now_ms);
            for (name, range) in parts(by, line, interval, asked.range) {
                let charge = prices.book.charge(&line.held(), interval, range);
                if charge.seconds > 0 {
                    sums.entry(name).or_default().add(line, charge);
                }
            }
        }
        if sums.len() > GROUPS_MAX || read > GROUP_LINES_MAX {
            return Err(UsageError::TooMuch);
        }
        if is_last {
            break;
        }
    }
    let group = |(group, sum): (String, Sum)| UsageGroup {
        group,
        claims: sum.claims,
        seconds: sum.seconds,
        volume_mib_seconds: sum.volume_mib_seconds,
        amount_micro: sum.amount_micro,
    };
    Ok(sums.into_iter().map(group).collect())
}

/// The groups that a line is in, and which of its seconds are.
fn parts(by: &Group, line: &UsageLine, interval: Interval, range: Range) -> Vec<(String, Range)> {
    match by {
        Group::App => {
            let name = match line {
                UsageLine::Claim(line) => match &line.bill.item {
                    Item::App(app) => app.to_string(),
                    Item::Job(image) => image.clone(),
                },
                UsageLine::Volume(_) => VOLUMES.to_owned(),
            };
            vec![(name, range)]
        }
        Group::Label(name) => {
            let value = line.labels().get(name).cloned().unwrap_or_default();
            vec![(value, range)]
        }
        Group::Day => {
            let from = interval.began_ms.max(range.from_ms);
            let to = interval.ended_ms.min(range.to_ms);
            let days = from / DAY_MS..to.div_ceil(DAY_MS);
            let part = |day: u64| {
                let (begins_ms, ends_ms) = (day * DAY_MS, (day + 1) * DAY_MS);
                let part = Range {
                    from_ms: begins_ms.max(range.from_ms),
                    to_ms: ends_ms.min(range.to_ms),
                };
                (rfc3339(begins_ms).chars().take(10).collect(), part)
            };
            days.map(part).collect()
        }
    }
}

/// A line's place, as the next page names it.
fn cursor(place: &UsagePlace) -> String {
    let UsagePlace {
        began_ms,
        session,
        slot,
        epoch,
    } = place;
    format!("{began_ms}.{session}.{slot}.{epoch}")
}

/// The place that a page names.
pub(crate) fn place(cursor: &str) -> Option<UsagePlace> {
    let mut parts = cursor.split('.');
    let place = UsagePlace {
        began_ms: parts.next()?.parse().ok()?,
        session: parts.next()?.to_owned(),
        slot: parts.next()?.to_owned(),
        epoch: parts.next()?.parse().ok()?,
    };
    (parts.next().is_none() && !cursor.contains('\0')).then_some(place)
}
