//! `--try-gpu` as it is run by hand and by the edge node's check, and sessions whose GPU is not what
//! it should be.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]
#![allow(clippy::print_stdout, reason = "what was skipped, and what a GPU did")]

mod harness;

use harness::Worker;
use harness::decode::decode;
use nearlight_protocol::worker::{PicturePath, VideoCodec};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// What `--try-gpu` prints.
fn tried(node: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_edge-worker"))
        .args(["--try-gpu", node])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for step in ["compositor", "dmabuf_import", "zero_copy"] {
        let outcome = &report[step];
        let works = outcome["works"].as_bool().unwrap();
        assert_eq!(outcome["fix"].is_string(), !works, "{step}: {report}");
        assert!(!outcome["detail"].as_str().unwrap().is_empty(), "{report}");
    }
    report
}

#[test]
fn mesas_renderer_by_cpu_draws_what_it_should() {
    let report = tried("software");
    assert_eq!(report["compositor"]["works"], true, "{report}");
    assert_eq!(report["zero_copy"]["works"], false, "{report}");
}

#[test]
fn what_is_no_gpu_is_said_to_be_none() {
    for node in ["/dev/null", "/nonexistent"] {
        let report = tried(node);
        assert_eq!(report["compositor"]["works"], false, "{report}");
        assert!(report["renderer"].is_null(), "{report}");
    }
}

#[test]
fn each_gpu_of_this_machine_gives_verdicts() {
    let nodes = std::fs::read_dir("/dev/dri")
        .into_iter()
        .flatten()
        .flatten();
    let nodes: Vec<PathBuf> = nodes
        .map(|node| node.path())
        .filter(|path| path.to_string_lossy().contains("renderD"))
        .collect();
    if nodes.is_empty() {
        println!(
            "skipped: there is no render node in /dev/dri; only that this is said was checked"
        );
        let report = tried("/dev/dri/renderD128");
        let said = report["compositor"]["detail"].as_str().unwrap();
        assert!(said.contains("cannot be opened"), "{report}");
    }
    for node in nodes {
        println!("{}", tried(node.to_str().unwrap()));
    }
}

#[test]
fn a_session_whose_gpu_does_not_open_goes_on_by_cpu() {
    for node in ["/dev/null", "/nonexistent"] {
        let worker = Worker::with(&["--width", "320", "--height", "240", "--render-node", node]);
        let mut agent = worker.agent();
        let mut app = worker.app();
        let window = app.window([0, 0, 255, 0]);
        app.show_sized(&window.surface, [0, 255, 0, 0], 100, 100);
        agent.until("the first frame", |a| a.first_frame);
        agent.attach(VideoCodec::H264);
        agent.until("the refinements", |a| a.videos.len() >= 7);
        let pictures = decode(&agent.videos);
        let last = pictures.last().unwrap();
        assert!(last.is_near(160, 120, [0, 255, 0]), "{node}");
        let counters = agent.fresh_counters();
        assert_eq!(counters.pictures, PicturePath::Memory);
    }
}
