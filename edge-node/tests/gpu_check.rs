//! `edge-node --gpu-check` as it is run by hand: JSON on standard output, and an exit status that
//! goes with it, with a GPU and without.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

use serde_json::Value;
use std::process::Command;

#[test]
fn the_report_is_json_and_the_status_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_edge-node"))
        .arg("--gpu-check")
        .arg("--data")
        .arg(dir.path().join("data"))
        .arg("--run")
        .arg(dir.path().join("run"))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"].as_bool(), Some(output.status.success()));
    let checks = report["checks"].as_array().unwrap();
    if let Some(why) = report["skipped"].as_str() {
        assert!(output.status.success() && checks.is_empty());
        assert!(why.contains("no NVIDIA GPU"), "{why}");
        assert!(!dir.path().join("run").exists(), "it leaves nothing behind");
        return;
    }
    assert!(!checks.is_empty());
    for check in checks {
        let failed = check["verdict"] == "fail";
        assert!(!failed || check["fix"].is_string(), "{check}");
    }
}
