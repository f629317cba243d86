//! The golden receipts, from files as a reader has them.

use super::*;
use nearlight_proof::receipt::report::{Outcome, Report, Warning};
use serde_json::{Value, json};
use std::path::Path;

fn golden() -> Value {
    let text = include_str!("../../core/proof/vectors/golden.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_golden_receipt_has_its_outcome_from_files() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let golden = golden();
    let receipts = &golden["receipts"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for case in receipts["cases"].as_array().unwrap() {
        let later = case["later"].as_array().cloned().unwrap_or_default();
        let later = later.iter().enumerate().map(|(n, of)| {
            let shown = json!({ "envelope": of[0], "proof": of[1] });
            write(&format!("later-{n}.json"), &shown.to_string())
        });
        let later = later.collect();
        write("receipt.tlog-proof", &text(&case["proof"]));
        let ask = Ask {
            file: write("receipt", &text(&case["envelope"])),
            proof: None,
            trust: TrustFiles {
                policy: Some(write("policy", &text(&receipts["policy"]))),
                directory: write("directory", &text(&receipts["directory"])),
                authority: Some(text(&receipts["authority"])),
            },
            later,
        };
        let report = report(&ask).unwrap();
        let expected = text(&case["outcome"]);
        assert!(
            text_of(&report).starts_with(&expected),
            "{}",
            text_of(&report)
        );
        seen.push(report.outcome);
        if report.outcome == Outcome::Valid {
            no_byte_is_free(&ask, dir.path());
        }
    }
    assert!(seen.contains(&Outcome::Valid) && seen.len() > 2, "{seen:?}");
}

fn text_of(report: &Report) -> String {
    text(report)
}

fn no_byte_is_free(ask: &Ask, dir: &Path) {
    let bytes = std::fs::read(&ask.file).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        let file = dir.join("flipped");
        std::fs::write(&file, flipped).unwrap();
        let proof = Some(dir.join("receipt.tlog-proof"));
        let ask = Ask {
            file,
            proof,
            ..ask.clone()
        };
        assert_ne!(report(&ask).unwrap().outcome, Outcome::Valid, "byte {at}");
    }
}

#[test]
fn what_the_operator_says_of_itself_is_warned_of() {
    let report = Report {
        outcome: Outcome::Valid,
        checks: Vec::new(),
        warnings: vec![Warning::PolicyFromLog, Warning::WitnessesOfLog],
        as_of_size: Some(7),
        as_of_s: None,
    };
    let said = text(&report);
    assert!(
        said.starts_with("VALID, as of a log of 7 entries\n"),
        "{said}"
    );
    assert!(said.contains("take one of your own"), "{said}");
    assert!(
        said.contains("no witness that is known to be independent"),
        "{said}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let ask = Ask {
        file: "/nowhere/receipt".into(),
        proof: None,
        trust: TrustFiles {
            policy: None,
            directory: "/nowhere/directory".into(),
            authority: None,
        },
        later: Vec::new(),
    };
    let error = report(&ask).unwrap_err().to_string();
    assert!(error.contains("/nowhere/directory"), "{error}");
}

/// Whoever opens a probe of a stream reads what it found without knowing the form.
#[test]
fn a_probe_of_a_stream_is_shown_in_words() {
    use nearlight_proof::key::{KeyId, SecretKey};
    use nearlight_proof::porw::{Played, statement as found};
    use nearlight_proof::receipt::quality::Quality;
    let key = SecretKey::from_seed(&[4; 32]);
    let played = Played {
        session: "ses_1".to_owned(),
        node: "node_1".to_owned(),
        app: "calibrate".to_owned(),
        input: KeyId([0; 32]),
        presses: Some([20, 3]),
        signs: None,
        quality: Quality {
            seconds: 20,
            frames: 1190,
            fps_milli: 59_500,
            size: [1280, 720],
            ..Quality::default()
        },
        faults: Vec::new(),
        receipt: 1,
        salt: KeyId([0; 32]),
        bytes: 0,
    };
    let said = found(&played, KeyId([1; 32]), key.public().id(), 1_800_000_000);
    let mut envelope = said.envelope().unwrap();
    envelope.sign(&key);
    let text = statement(&envelope.to_bytes()).unwrap();
    assert!(
        text.contains("a checker played calibrate on node:node_1 for 20 s"),
        "{text}"
    );
    assert!(
        text.contains("failed: the pictures count 3 presses of 20"),
        "{text}"
    );
    assert!(text.contains("1280x720, 59.5 frames a second"), "{text}");
}
