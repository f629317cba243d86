//! Domain errors as problems: one conversion each, exhaustive.

use crate::checks::{ChecksError, NoPass, NotTaken};
use crate::control::RelayError;
use crate::enrol::{EnrolError, InviteError};
use crate::ledger::StoreError;
use crate::receipts::{EvidenceError, LogError, NotAdmitted};
use crate::sessions::{CreateError, EndError, StandingError};
use nearlight_kit::problem::ProblemResponse;
use nearlight_protocol::control::WhepRefusal;
use nearlight_protocol::problem::ProblemType;

/// An answer that refuses.
pub(super) type Refusal = ProblemResponse;

/// Seconds after which a node that is away may be back: agents restart in about as long.
const NODE_RETRY_S: u32 = 2;

/// Seconds after which a checker may be through with a node's stream.
const PROBE_RETRY_S: u32 = 5;

/// Seconds after which a node may have room for one more viewer: a line check takes no longer.
const CROWD_RETRY_S: u32 = 10;

pub(super) fn bad_request(detail: impl Into<String>) -> Refusal {
    ProblemResponse::new(ProblemType::BadRequest, detail)
}

pub(super) fn not_found(what: &str) -> Refusal {
    ProblemResponse::new(ProblemType::NotFound, format!("There is no such {what}."))
}

pub(super) fn no_such_replica(replicas: u32) -> Refusal {
    let has = match replicas {
        1 => "The job is one container: leave `replica` out.".to_owned(),
        more => format!("The job has {more} replicas, from 0 to {}.", more - 1),
    };
    ProblemResponse::new(
        ProblemType::NotFound,
        format!("There is no such replica. {has}"),
    )
}

pub(super) fn nothing_to_roll_back() -> Refusal {
    bad_request(
        "There is nothing to go back to: no metro has a version of its own, and no other version was \
         live before. Roll out the version that you want.",
    )
}

pub(super) fn checks_failed(error: ChecksError) -> Refusal {
    match error {
        ChecksError::Log(error) => log_failed(error),
        ChecksError::OtherChain => ProblemResponse::internal(error),
    }
}

pub(super) fn pass_refused(error: NoPass) -> Refusal {
    match error {
        NoPass::Wrong(why) => forbidden(format!(
            "The checker's pass lets nobody in: {why}. Without one the session is an ordinary one."
        )),
        NoPass::Busy => too_many(PROBE_RETRY_S),
        NoPass::Away { elsewhere } => super::prove::node_away(elsewhere),
        NoPass::Checks(error) => checks_failed(error),
    }
}

pub(super) fn report_refused(error: NotTaken) -> Refusal {
    match error {
        NotTaken::NotAssigned => not_found("assignment that is due"),
        NotTaken::Wrong(why) => bad_request(format!("The report is not taken: {why}.")),
        NotTaken::Checks(error) => checks_failed(error),
    }
}

pub(super) fn forbidden(detail: impl Into<String>) -> Refusal {
    ProblemResponse::new(ProblemType::Forbidden, detail)
}

pub(super) fn name_taken(what: &str) -> Refusal {
    ProblemResponse::new(
        ProblemType::NameTaken,
        format!("There is a {what} of that name already. Choose another one."),
    )
}

pub(super) fn unauthenticated(detail: &str) -> Refusal {
    ProblemResponse::new(ProblemType::Unauthenticated, detail)
}

pub(super) fn ticket_invalid() -> Refusal {
    ProblemResponse::new(
        ProblemType::TicketInvalid,
        "The ticket is spent, expired, or for another session. Ask for a new one with POST to \
         the session's `tickets`.",
    )
}

pub(super) fn link_ended() -> Refusal {
    ProblemResponse::new(
        ProblemType::LinkEnded,
        "The link was revoked, its time is over, or its session is. Ask whoever sent it for a new \
         one.",
    )
}

pub(super) fn session_over() -> Refusal {
    ProblemResponse::new(
        ProblemType::SessionEnded,
        "The session is over. Start another one.",
    )
}

pub(super) fn session_lost() -> Refusal {
    ProblemResponse::new(
        ProblemType::SessionLost,
        "The session was there, and was lost with the database's last moments. Start another one.",
    )
}

pub(super) fn too_many(retry_after_s: u32) -> Refusal {
    ProblemResponse::new(
        ProblemType::TooManyRequests,
        format!("Come back in {retry_after_s} s."),
    )
    .retry_after_s(retry_after_s)
}

pub(super) fn node_unreachable() -> Refusal {
    ProblemResponse::new(
        ProblemType::NodeUnreachable,
        "The session may go on; its node's control stream is down. Try again.",
    )
    .retry_after_s(NODE_RETRY_S)
}

pub(super) fn create_refused(error: CreateError) -> Refusal {
    match error {
        CreateError::Quota => ProblemResponse::new(
            ProblemType::QuotaExceeded,
            "You hold as many sessions as you may, waiting ones counted. End one first.",
        ),
        CreateError::TenantQuota => ProblemResponse::new(
            ProblemType::QuotaExceeded,
            "Your tenant's members hold as many sessions as they may, waiting ones counted. End \
             one first, or ask the operator for more.",
        ),
        CreateError::BeyondTenant(beyond) => ProblemResponse::new(
            ProblemType::QuotaExceeded,
            format!("{beyond}. End a session, ask for less, or ask the operator for more."),
        ),
        CreateError::BudgetSpent => ProblemResponse::new(
            ProblemType::BudgetReached,
            "What your tenant may spend in this month is spent. It begins anew with the next month (UTC), \
             or ask the operator for more.",
        ),
        CreateError::KeyReused => ProblemResponse::new(
            ProblemType::IdempotencyConflict,
            "The Idempotency-Key came with another body before. Use a new key for a new session.",
        ),
        CreateError::NotHere(_) => ProblemResponse::new(
            ProblemType::SessionEnded,
            "The session of this Idempotency-Key is over. Use a new key for a new session.",
        ),
        CreateError::NoRoom(why) => forbidden(format!(
            "The node takes no probe now ({why}), and the assignment is void. Play what is assigned next."
        )),
        CreateError::Unknown => ProblemResponse::internal(error).saying(
            "Whether the session was made is not known. Try again with the same Idempotency-Key, which \
             makes it once; if it happens again, tell the operator the id in `instance`.",
        ),
    }
}

pub(super) fn end_refused(error: EndError) -> Refusal {
    match error {
        EndError::NotFound => not_found("session"),
        EndError::Unknown => ProblemResponse::internal(error),
    }
}

pub(super) fn standing_refused(error: StandingError) -> Refusal {
    match error {
        StandingError::NotFound => not_found("node"),
        StandingError::Unknown => ProblemResponse::internal(error),
    }
}

pub(super) fn invite_refused(error: InviteError) -> Refusal {
    match error {
        InviteError::NoAddress => no_address(),
        InviteError::Store(error) => store_failed(&error),
    }
}

fn no_address() -> Refusal {
    bad_request(
        "Where nodes reach this broker is not known: it listens on every address. An operator \
         says it with `node_addresses` in session-broker.toml.",
    )
}

pub(super) fn enrol_refused(error: EnrolError) -> Refusal {
    match error {
        EnrolError::Token => ProblemResponse::new(
            ProblemType::JoinTokenInvalid,
            "It was used, its time is over, or there never was one. Make a new one with \
             `nearlight node token create`.",
        ),
        EnrolError::Revoked => ProblemResponse::new(
            ProblemType::NodeRevoked,
            "The operator has revoked this node. It can come in again only as a new one, with a \
             join token.",
        ),
        EnrolError::ShutOut => forbidden(
            "The checker was shut out, or came in again and has another certificate since. It can come in with a new token: \
             `checker join`.",
        ),
        EnrolError::NoAddress => no_address(),
        EnrolError::Request(error) => bad_request(format!("{error}.")),
        EnrolError::Store(error) => store_failed(&error),
        EnrolError::Pki(error) => ProblemResponse::internal(error),
    }
}

pub(super) fn store_failed(error: &StoreError) -> Refusal {
    ProblemResponse::internal(error)
}

/// Seconds after which the log has written what waits.
const LOG_RETRY_S: u32 = 2;

pub(super) fn log_failed(error: LogError) -> Refusal {
    match error {
        LogError::Busy | LogError::Late | LogError::Crowded => too_many(LOG_RETRY_S),
        LogError::Store(_)
        | LogError::Ledger(_)
        | LogError::RaceLost
        | LogError::OtherKey
        | LogError::Damaged(_)
        | LogError::Behind { .. }
        | LogError::CatchingUp { .. }
        | LogError::Full
        | LogError::Closed => log_not_yet().caused_by(error),
    }
}

pub(super) fn log_not_yet() -> Refusal {
    ProblemResponse::new(
        ProblemType::LogUnavailable,
        "The log of receipts cannot be written or read at this moment. What has a place keeps it; try \
         again.",
    )
    .retry_after_s(LOG_RETRY_S)
}

pub(super) fn receipt_refused(error: &NotAdmitted) -> Refusal {
    let (NotAdmitted::Form(why) | NotAdmitted::Keys(why)) = error;
    ProblemResponse::new(ProblemType::ReceiptRefused, format!("{why}."))
}

pub(super) fn evidence_refused(error: EvidenceError) -> Refusal {
    let detail = format!("{error}.");
    match error {
        EvidenceError::Unknown | EvidenceError::NotHere => {
            ProblemResponse::new(ProblemType::NotFound, detail)
        }
        EvidenceError::Other => ProblemResponse::new(ProblemType::ReceiptRefused, detail),
        EvidenceError::Expired => ProblemResponse::new(ProblemType::EvidenceExpired, detail),
        EvidenceError::Log(error) => log_failed(error),
    }
}

pub(super) fn relay_failed(error: RelayError) -> Refusal {
    match error {
        RelayError::Busy | RelayError::Closed | RelayError::Timeout => {
            node_unreachable().caused_by(error)
        }
    }
}

pub(super) fn whep_refused(reason: WhepRefusal, detail: &str) -> Refusal {
    let name = match reason {
        WhepRefusal::AttachedElsewhere => ProblemType::AttachedElsewhere,
        WhepRefusal::InvalidOffer => ProblemType::InvalidOffer,
        WhepRefusal::NotFound => ProblemType::NotFound,
        WhepRefusal::NotReady => ProblemType::SessionNotReady,
        WhepRefusal::TooMany => ProblemType::TooManyRequests,
        WhepRefusal::Unknown => ProblemType::NodeUnreachable,
    };
    let detail = if detail.is_empty() {
        name.title()
    } else {
        detail
    };
    let refusal = ProblemResponse::new(name, detail);
    match reason {
        WhepRefusal::TooMany => refusal.retry_after_s(CROWD_RETRY_S),
        WhepRefusal::AttachedElsewhere
        | WhepRefusal::InvalidOffer
        | WhepRefusal::NotFound
        | WhepRefusal::NotReady
        | WhepRefusal::Unknown => refusal,
    }
}
