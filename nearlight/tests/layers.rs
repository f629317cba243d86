//! The dependency graph is the architecture: this test reads it and fails on a new edge.
//!
//! `core/* <- kit <- roles <- nearlight`. A new edge needs a page in docs/adr/ and a line here.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every crate of the workspace with the crates of the workspace that it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    // Pure: the wire types below everything, siblings unaware of each other.
    ("nearlight-protocol", &[]),
    ("nearlight-session", &["nearlight-protocol"]),
    ("nearlight-placement", &["nearlight-protocol"]),
    ("nearlight-stream", &["nearlight-protocol"]),
    // Has formats of its own, so that a verifier builds with nothing else of ours.
    ("nearlight-proof", &[]),
    // Believes nobody, and needs nothing else.
    ("nearlight-verifier", &["nearlight-proof"]),
    ("nearlight-verifier-wasm", &["nearlight-verifier"]),
    // The shared shell knows the wire types alone.
    ("nearlight-kit", &["nearlight-protocol"]),
    // Roles and their parts; a role never uses a role.
    (
        "session-broker",
        &[
            "nearlight-kit",
            "nearlight-placement",
            "nearlight-proof",
            "nearlight-protocol",
            "nearlight-session",
        ],
    ),
    (
        "edge-node",
        &[
            "nearlight-kit",
            "nearlight-proof",
            "nearlight-protocol",
            "nearlight-session",
            "nearlight-transport",
        ],
    ),
    (
        "nearlight-transport",
        &["nearlight-kit", "nearlight-protocol", "nearlight-stream"],
    ),
    ("edge-prover", &["nearlight-proof"]),
    ("nearlight-sound", &[]),
    (
        "edge-worker",
        &[
            "nearlight-kit",
            "nearlight-protocol",
            "nearlight-sound",
            "nearlight-stream",
        ],
    ),
    (
        "checker",
        &[
            "nearlight-kit",
            "nearlight-proof",
            "nearlight-protocol",
            "nearlight-verifier",
        ],
    ),
    // Programs around them.
    ("calibrate", &["nearlight-protocol"]),
    ("xwm", &[]),
    (
        "nearlight",
        &["nearlight-kit", "nearlight-protocol", "nearlight-verifier"],
    ),
    // A player without a screen: of probes of streams, beside the checker, and of load.
    (
        "nearlight-player",
        &[
            "nearlight-kit",
            "nearlight-proof",
            "nearlight-protocol",
            "nearlight-stream",
        ],
    ),
    // The pure cores on a virtual clock, and load against the real roles.
    (
        "nearlight-sim",
        &[
            "nearlight-placement",
            "nearlight-protocol",
            "nearlight-session",
            "nearlight-stream",
        ],
    ),
    (
        "nearlight-loadtest",
        &[
            "nearlight-kit",
            "nearlight-player",
            "nearlight-proof",
            "nearlight-protocol",
            "nearlight-sim",
            "nearlight-stream",
            "nearlight-transport",
        ],
    ),
];

/// What a pure crate may use from outside: formats, errors, derives, hashes and curves. Nothing that
/// does IO.
const PURE_OUTSIDE: &[&str] = &[
    "base64",
    "blake3",
    "bls12_381",
    "ed25519-dalek",
    "foldhash",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "ts-rs",
    "utoipa",
];
const PURE: &[&str] = &[
    "nearlight-stream",
    "nearlight-protocol",
    "nearlight-session",
    "nearlight-placement",
    "nearlight-proof",
];

/// Each crate of the workspace with its ordinary (not dev, not build) dependencies.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--locked",
            "--offline",
        ])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let name_of = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let ordinary = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            (name_of(package), ordinary.map(name_of).collect())
        })
        .collect()
}

#[test]
fn no_crate_uses_one_that_it_may_not() {
    let graph = graph();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for (name, dependencies) in &graph {
        let may = allowed.get(name.as_str()).unwrap_or_else(|| {
            panic!("{name} is new: say in nearlight/tests/layers.rs what it may use")
        });
        for dependency in dependencies.iter().filter(|name| graph.contains_key(*name)) {
            assert!(
                may.contains(&dependency.as_str()),
                "{name} uses {dependency}, which ARCHITECTURE.md does not allow"
            );
        }
    }
}

#[test]
fn no_line_here_speaks_of_a_crate_that_is_gone() {
    let graph = graph();
    for (name, may) in ALLOWED {
        assert!(
            graph.contains_key(*name),
            "{name} is not in the workspace any more"
        );
        for other in *may {
            assert!(
                graph.contains_key(*other),
                "{other} is not in the workspace any more"
            );
        }
    }
}

#[test]
fn pure_crates_use_nothing_that_could_do_io() {
    let graph = graph();
    for name in PURE {
        for dependency in &graph[*name] {
            let known =
                graph.contains_key(dependency) || PURE_OUTSIDE.contains(&dependency.as_str());
            assert!(known, "{name} is pure and uses {dependency}");
        }
    }
}

/// What links to a system's library, or looks for one as it is built.
fn is_of_the_system(name: &str) -> bool {
    let looks = [
        "bindgen",
        "cmake",
        "libc",
        "pkg-config",
        "system-deps",
        "vcpkg",
    ];
    name.ends_with("-sys") || looks.contains(&name)
}

/// Whoever believes nobody builds the verifier by itself, statically, and needs nothing of the machine: what
/// `cargo build -p nearlight-verifier` takes has no crate that links to anything.
#[test]
fn the_verifier_alone_needs_no_library_of_the_system() {
    let of = |package: &str| -> BTreeSet<String> {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--offline", "--package", package])
            .args(["--edges", "normal,build", "--prefix", "none"])
            .args(["--format", "{p}", "--target", "x86_64-unknown-linux-musl"])
            .args([
                "--manifest-path",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let verifier = of("nearlight-verifier");
    assert!(verifier.contains("nearlight-proof"), "{verifier:?}");
    let of_the_system: Vec<_> = verifier.iter().filter(|of| is_of_the_system(of)).collect();
    assert!(of_the_system.is_empty(), "{of_the_system:?}");
    // A broker's do: the test would see them.
    assert!(of("session-broker").iter().any(|of| is_of_the_system(of)));
}
