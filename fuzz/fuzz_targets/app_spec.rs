//! App descriptions, from an operator's directory: what is taken is within the limits, and goes to a
//! node as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::app::AppSpec;

#[allow(
    dead_code,
    reason = "a module of the kit, of which one function is fuzzed"
)]
#[path = "../../kit/src/manifest.rs"]
mod manifest;

fuzz_target!(|text: &str| {
    let Ok(app) = manifest::read("fuzz", text) else {
        return;
    };
    assert_eq!(app.id.as_str(), "fuzz");
    assert!(app.needs.display.is_valid());
    assert!(app.time.idle_s > 0 && app.time.max_s > 0 && app.time.grace_s > 0);
    let json = serde_json::to_vec(&app).expect("an app is plain JSON");
    assert_eq!(serde_json::from_slice::<AppSpec>(&json).ok(), Some(app));
});
