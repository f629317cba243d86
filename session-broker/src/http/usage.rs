//! `GET /v1/usage`: what ran, for how long, and what it costs.

use super::Api;
use super::caller::Caller;
use super::problem::{Refusal, bad_request, store_failed, too_many};
use crate::access::Permission;
use crate::ledger::OwnerId;
use crate::rates::instant;
use crate::usage::{Asked, Group, UsageError, place, report};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use nearlight_kit::room::Each;
use nearlight_protocol::api::Role;
use nearlight_protocol::limits::{JOB_LABEL_BYTES_MAX, PAGE_ENTRIES_MAX, USAGE_DAYS_MAX};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::unit::UnixMillis;
use nearlight_protocol::usage::UsageReport;
use nearlight_session::bill::{Month, Range};
use std::sync::Arc;
use url::form_urlencoded;

/// Labels that one question names.
const LABELS_MAX: usize = 16;
/// Entries of a page for who does not say how many.
const PAGE_ENTRIES: usize = 100;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Questions of one tenant, or of one user of none, at a time. Each may read a year page by page.
const QUESTIONS_MAX: usize = 2;

/// Questions about usage that are being answered.
#[derive(Debug)]
pub(crate) struct UsageQuestions(Each<OwnerId>);

impl Default for UsageQuestions {
    fn default() -> Self {
        Self(Each::new(QUESTIONS_MAX))
    }
}

/// Usage by claim, the oldest first, or together by day, app or label. A tenant sees its own, operators
/// and administrators see all. Amounts are millionths; a second costs what the rate card says that holds
/// when it begins, and what is asked for in parts adds up to the whole.
#[utoipa::path(
    get, path = "/v1/usage", tag = "usage",
    security(("api_key" = [])),
    params(
        ("from" = Option<String>, Query, description = "The first second: `2026-01-31`, \
            `2026-01-31T12:00:00Z`, or milliseconds since 1970. The month's first without it."),
        ("to" = Option<String>, Query, description = "The second after the last; now without it. At \
            most 400 days after `from`."),
        ("group" = Option<String>, Query, description = "`day`, `app`, or `label.NAME`: sums in place of \
            entries."),
        ("label.NAME" = Option<String>, Query, description = "Only what has this label with this value; \
            for several, all of them."),
        ("after" = Option<String>, Query, description = "The `next` of the page before."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200,
            description = "Entries of a page, 100 without it. A page may have fewer and go on."),
    ),
    responses(
        (status = 200, description = "Usage; as CSV where `Accept` asks for `text/csv`, with the next \
            page in `Link`.",
         content((UsageReport = "application/json"), (String = "text/csv"))),
        (status = "default", body = Problem, content_type = "application/problem+json",
         description = "`bad-request`, `forbidden`, `unauthenticated`, `too-many-requests`."),
    )
)]
pub(super) async fn show_usage(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    caller.check(Permission::SeeUsage)?;
    let now_ms = api.clock.unix_ms();
    let mut asked = asked(query.as_deref().unwrap_or_default(), now_ms)?;
    asked.tenant = match caller.role {
        Role::Operator | Role::Admin => None,
        Role::Guest | Role::Player | Role::Tenant => {
            let tenant = caller.tenant().cloned();
            // A role of no tenant sees nothing, and not everything.
            Some(tenant.ok_or_else(|| bad_request("The key belongs to no tenant."))?)
        }
    };
    let counted = api.usage_questions.0.count(caller.owner());
    let _counted = counted.ok_or_else(|| too_many(1))?;
    let usage = report(&api.ledger, &asked, now_ms).await;
    let usage = usage.map_err(|error| match error {
        UsageError::Ledger(error) => store_failed(&error),
        UsageError::TooMuch => {
            bad_request("This is more than one answer holds: ask for fewer days.")
        }
    })?;
    if !wants_csv(&headers) {
        return Ok(Json(usage).into_response());
    }
    let text = usage.csv(asked.group.is_some());
    let kind = [(
        header::CONTENT_TYPE,
        "text/csv; charset=utf-8; header=present",
    )];
    let link = usage.next.map(|next| next_link(query.as_deref(), &next));
    let link: Option<(HeaderName, String)> = link.map(|link| (header::LINK, link));
    Ok((kind, axum::response::AppendHeaders(link), text).into_response())
}

fn wants_csv(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accept.is_some_and(|accept| {
        let kinds = accept.split(',').filter_map(|kind| kind.split(';').next());
        kinds.map(str::trim).any(|kind| kind == "text/csv")
    })
}

/// The same question about the next page (RFC 8288).
fn next_link(query: Option<&str>, next: &str) -> String {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut again = form_urlencoded::Serializer::new(String::new());
    again.extend_pairs(pairs.filter(|(name, _)| name != "after"));
    let again = again.append_pair("after", next).finish();
    format!("</v1/usage?{again}>; rel=\"next\"")
}

/// What a query asks, of everyone.
fn asked(query: &str, now_ms: UnixMillis) -> Result<Asked, Refusal> {
    let mut asked = Asked {
        range: Range {
            from_ms: Month::of(now_ms).range().from_ms,
            to_ms: now_ms,
        },
        tenant: None,
        labels: Vec::new(),
        group: None,
        after: None,
        limit: PAGE_ENTRIES,
    };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "from" => asked.range.from_ms = time("from", &value)?,
            "to" => asked.range.to_ms = time("to", &value)?,
            "group" => asked.group = Some(group(&value)?),
            "after" => {
                let after = place(&value);
                let wrong = || bad_request("`after` is the `next` of the page before.");
                asked.after = Some(after.ok_or_else(wrong)?);
            }
            "limit" => asked.limit = limit(&value)?,
            other => {
                let label = other.strip_prefix("label.").map(str::to_owned);
                let wrong = || bad_request(format!("`{other}` is nothing that can be asked here."));
                asked
                    .labels
                    .push((label.ok_or_else(wrong)?, value.into_owned()));
            }
        }
    }
    let Range { from_ms, to_ms } = asked.range;
    if from_ms > to_ms || to_ms - from_ms > USAGE_DAYS_MAX * DAY_MS {
        return Err(bad_request(format!(
            "`to` is after `from`, and at most {USAGE_DAYS_MAX} days."
        )));
    }
    if asked.labels.len() > LABELS_MAX {
        return Err(bad_request(format!("At most {LABELS_MAX} labels.")));
    }
    Ok(asked)
}

fn time(name: &str, value: &str) -> Result<UnixMillis, Refusal> {
    instant(value).ok_or_else(|| {
        bad_request(format!(
            "`{name}` is a day such as 2026-01-31, an instant such as 2026-01-31T12:00:00Z, or \
             milliseconds since 1970."
        ))
    })
}

fn group(value: &str) -> Result<Group, Refusal> {
    match value {
        "app" => Ok(Group::App),
        "day" => Ok(Group::Day),
        other => match other.strip_prefix("label.") {
            Some(name) if (1..=JOB_LABEL_BYTES_MAX).contains(&name.len()) => {
                Ok(Group::Label(name.to_owned()))
            }
            Some(_) | None => Err(bad_request("`group` is `day`, `app`, or `label.NAME`.")),
        },
    }
}

fn limit(value: &str) -> Result<usize, Refusal> {
    let limit = value.parse::<u32>().ok();
    let limit = limit.filter(|limit| (1..=PAGE_ENTRIES_MAX).contains(limit));
    let limit = limit.ok_or_else(|| bad_request(format!("`limit` is 1 to {PAGE_ENTRIES_MAX}.")))?;
    Ok(limit as usize)
}
