//! Writes `client-web/src/wire/` from the types here. `make generate` runs it with
//! `NEARLIGHT_GENERATE=1`; otherwise it asserts that the files are up to date.

#![allow(
    clippy::disallowed_methods,
    reason = "a test that keeps files of client-web true must read and write them"
)]

use crate::{
    api, app, attach, control, id, identity, keycode, limits, notice, placement, problem, quality,
    receipt, region, stage, standing,
};
use std::fmt::Write as _;
use ts_rs::TS;

const HEADER: &str = "// Generated from core/protocol by `make generate`. Do not edit.\n\n";

fn check_or_write(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../client-web/src/wire")
        .join(name);
    if std::env::var_os("NEARLIGHT_GENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        on_disk == text,
        "{} is out of date: run `make generate`",
        path.display()
    );
}

#[test]
fn generated_types_are_up_to_date() {
    let config = ts_rs::Config::default();
    let mut out = String::from(HEADER);
    macro_rules! declare {
        ($($t:ty),* $(,)?) => {$( writeln!(out, "export {}\n", <$t>::decl(&config)).unwrap(); )*};
    }
    declare!(
        id::SessionId,
        id::AttachmentId,
        id::NodeId,
        id::SlotId,
        id::UserId,
        id::RequestId,
        id::WatchLinkId,
        id::AppId,
        id::TenantId,
        id::KeyId,
        app::Shelf,
        app::GpuClass,
        app::DisplayMode,
        app::Control,
        api::CreateSession,
        api::SavesWish,
        api::Session,
        api::SessionKind,
        api::SessionState,
        api::WaitsFor,
        api::StartProgress,
        api::EndReason,
        api::SessionList,
        api::App,
        api::AppList,
        control::ImageFault,
        api::Node,
        api::NodeStatus,
        api::NodeList,
        api::CreateTicket,
        api::Ticket,
        attach::IceServer,
        api::CreateWatchLink,
        api::NewWatchLink,
        api::WatchLink,
        api::WatchLinkList,
        api::Watched,
        api::WhoAmI,
        api::Role,
        identity::Scope,
        identity::LoginOptions,
        region::RegionList,
        region::Region,
        region::RegionState,
        region::RttFrom,
        region::RegionRtt,
        region::PlacedIn,
        placement::LatencyStep,
        problem::ProblemType,
        problem::Problem,
        quality::PlayerSaid,
        quality::SessionReceipt,
        standing::NodeRank,
        standing::NodeGate,
        receipt::Directory,
        receipt::Receipt,
        receipt::ReceiptList,
        receipt::ReceiptSummary,
        notice::Notice,
        notice::Cursor,
        notice::StreamState,
        notice::LimitedBy,
        notice::Repair,
        notice::DetachReason,
    );
    check_or_write("types.ts", &out);
}

#[test]
fn generated_constants_are_up_to_date() {
    let mut out = String::from(HEADER);
    writeln!(
        out,
        "export const MOTION_CHANNEL = {};",
        notice::MOTION_CHANNEL
    )
    .unwrap();
    writeln!(
        out,
        "export const CONTROL_CHANNEL = {};",
        notice::CONTROL_CHANNEL
    )
    .unwrap();
    writeln!(
        out,
        "export const CLIPBOARD_BYTES_MAX = {};",
        limits::CLIPBOARD_BYTES_MAX
    )
    .unwrap();
    writeln!(
        out,
        "export const TEXT_BYTES_MAX = {};",
        limits::TEXT_BYTES_MAX
    )
    .unwrap();
    writeln!(
        out,
        "export const WATCH_LINK_S_MAX = {};",
        limits::WATCH_LINK_S_MAX
    )
    .unwrap();
    writeln!(
        out,
        "export const SHOWN_FRAMES_MAX = {};",
        limits::SHOWN_FRAMES_MAX
    )
    .unwrap();
    let stages = stage::Stage::ALL.map(|stage| format!("\"{}\"", stage.name()));
    let stages = stages.join(", ");
    writeln!(
        out,
        "\n/** Where the time goes from an input to its picture, in the order of the way. */"
    )
    .unwrap();
    writeln!(out, "export const STAGES = [{stages}] as const;").unwrap();
    writeln!(out, "\n/** KeyboardEvent.code to Linux evdev code. */").unwrap();
    writeln!(
        out,
        "export const KEYS: ReadonlyMap<string, number> = new Map(["
    )
    .unwrap();
    for (name, code) in keycode::KEYS {
        writeln!(out, "  [\"{name}\", {code}],").unwrap();
    }
    writeln!(out, "]);").unwrap();
    check_or_write("constants.ts", &out);
}
