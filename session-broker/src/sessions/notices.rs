//! What endpoints of webhooks are told of jobs: written with the change that it tells of.

use crate::ledger::{Notice, OwnerId, SessionRow};
use crate::time::unix_ms;
use nearlight_protocol::unit::{MonoTime, UnixMillis, rfc3339};
use nearlight_protocol::webhook::{NoticeData, NoticeType, WebhookNotice};
use nearlight_session::lifecycle::Phase;

/// What is told of a job that has just come to `phase`; nothing of apps, and of phases on the way.
pub(super) fn of_phase(row: &SessionRow, phase: &Phase, now: MonoTime) -> Option<Notice> {
    match phase {
        Phase::Ready { .. } => of(row, NoticeType::Ready, NoticeData::default(), now),
        Phase::Ended { reason, detail } => {
            let data = NoticeData {
                reason: Some(*reason),
                detail: detail.clone(),
                ..NoticeData::default()
            };
            of(row, NoticeType::Ended, data, now)
        }
        Phase::Queued
        | Phase::Placing { .. }
        | Phase::Starting { .. }
        | Phase::Playing { .. }
        | Phase::Detached { .. }
        | Phase::Ending { .. } => None,
    }
}

/// A notice of a job with what `data` says beside the job itself.
pub(super) fn of(
    row: &SessionRow,
    kind: NoticeType,
    data: NoticeData,
    now: MonoTime,
) -> Option<Notice> {
    let spec = row.work.job()?;
    let owner = OwnerId::of(row.tenant.as_ref(), &row.user);
    let data = NoticeData {
        session: Some(row.id.clone()),
        labels: spec.labels.clone(),
        created_unix_ms: Some(unix_ms(row.created_at)),
        ..data
    };
    Some(notice(owner, kind, data, unix_ms(now)))
}

/// A notice with an id of its own.
pub(crate) fn notice(
    owner: OwnerId,
    kind: NoticeType,
    data: NoticeData,
    at_ms: UnixMillis,
) -> Notice {
    let session = data.session.clone();
    let body = WebhookNotice {
        kind,
        timestamp: rfc3339(at_ms),
        data,
    };
    let unique = nearlight_kit::ids::request();
    let unique = unique.as_str().rsplit('_').next().unwrap_or_default();
    Notice {
        id: format!("msg_{unique}"),
        owner,
        session,
        kind,
        body: serde_json::to_string(&body).expect("wire types have string keys"),
        at_ms,
    }
}
