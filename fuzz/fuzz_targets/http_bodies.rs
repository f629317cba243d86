//! JSON bodies of the HTTP API, both ways, and the ids in its paths: what is read is written as it
//! was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::api::{
    CreateJoinToken, CreateSession, CreateTicket, CreateWatchLink, NewWatchLink, Session, Ticket,
    WatchLinkList, WhoAmI,
};
use nearlight_protocol::enrol::{Enrol, Enrolled, RenewLate, RenewNonce, Renewed};
use nearlight_protocol::id::{
    AppId, AttachmentId, KeyId, SessionId, TenantId, UserId, WatchLinkId,
};
use nearlight_protocol::identity::{
    AuditPage, CreateKey, KeyList, NewKey, RotateKey, TenantList, TenantSettings,
};
use nearlight_protocol::problem::Problem;
use nearlight_protocol::usage::UsageReport;
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|bytes: &[u8]| {
    round_trip::<CreateSession>(bytes);
    round_trip::<CreateTicket>(bytes);
    round_trip::<CreateWatchLink>(bytes);
    round_trip::<NewWatchLink>(bytes);
    round_trip::<WatchLinkList>(bytes);
    round_trip::<Session>(bytes);
    round_trip::<Ticket>(bytes);
    round_trip::<WhoAmI>(bytes);
    round_trip::<CreateKey>(bytes);
    round_trip::<RotateKey>(bytes);
    round_trip::<NewKey>(bytes);
    round_trip::<KeyList>(bytes);
    round_trip::<TenantSettings>(bytes);
    round_trip::<TenantList>(bytes);
    round_trip::<AuditPage>(bytes);
    round_trip::<Problem>(bytes);
    round_trip::<UsageReport>(bytes);
    round_trip::<CreateJoinToken>(bytes);
    round_trip::<Enrol>(bytes);
    round_trip::<Enrolled>(bytes);
    round_trip::<RenewNonce>(bytes);
    round_trip::<RenewLate>(bytes);
    round_trip::<Renewed>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        id::<AppId>(text);
        id::<AttachmentId>(text);
        id::<SessionId>(text);
        id::<WatchLinkId>(text);
        id::<KeyId>(text);
        id::<TenantId>(text);
        id::<UserId>(text);
    }
});

fn round_trip<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(body) = serde_json::from_slice::<T>(bytes) else {
        return;
    };
    let text = serde_json::to_string(&body).expect("a body is plain JSON");
    let again: T = serde_json::from_str(&text).expect("what we write is what we read");
    assert_eq!(serde_json::to_string(&again).ok(), Some(text));
}

/// An id is safe in a path, a file name and a log line.
fn id<T: std::str::FromStr + std::fmt::Display>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        assert!(text.len() <= 40 && text.bytes().all(plain));
    }
}
