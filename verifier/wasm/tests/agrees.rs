//! Three verifiers say the same: this crate natively, as a module in node, and docs/verify/verify.py, which
//! shares no code with them. Of every golden vector, and of a receipt with each of its bits flipped in turn. It takes node, and
//! python3 with the package cryptography.

#![allow(
    clippy::unwrap_used,
    reason = "a test says what it could not do by failing"
)]

use nearlight_verifier::page::page;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn golden() -> Value {
    let text = include_str!("../../../core/proof/vectors/golden.json");
    serde_json::from_str(text).unwrap()
}

/// What a page asks about a case of the vectors.
fn question(receipts: &Value, case: &Value) -> Value {
    let later = case["later"].as_array().cloned().unwrap_or_default();
    let later = later.iter().map(|of| {
        let shown = json!({ "envelope": of[0], "proof": of[1] });
        shown.to_string()
    });
    json!({
        "receipt": case["envelope"], "proof": case["proof"], "policy": receipts["policy"],
        "directory": receipts["directory"], "authority": receipts["authority"],
        "later": later.collect::<Vec<_>>(),
    })
}

/// The question with a bit of each byte of receipt and proof flipped in turn.
fn flipped(question: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for part in ["receipt", "proof"] {
        let text = question[part].as_str().unwrap();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            let mut one = question.clone();
            one[part] = String::from_utf8(bytes).unwrap().into();
            all.push(one);
        }
    }
    all
}

fn natively(questions: &[Value]) -> Vec<Value> {
    let answer = |question: &Value| page(question.to_string().as_bytes());
    let answers = questions.iter().map(answer);
    answers
        .map(|answer| serde_json::from_slice(&answer).unwrap())
        .collect()
}

/// The module, built as scripts/wasm.sh does.
fn module() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .current_dir(ROOT)
        .args(["build", "--quiet", "--locked", "--profile", "web"])
        .args([
            "--target",
            "wasm32-unknown-unknown",
            "-p",
            "nearlight-verifier-wasm",
            "--lib",
        ])
        .args(["--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "the module cannot be built: rustup target add wasm32-unknown-unknown"
    );
    let lines = String::from_utf8(built.stdout).unwrap();
    let mut files = lines.lines().filter_map(|line| {
        let said: Value = serde_json::from_str(line).ok()?;
        let files = said["filenames"].as_array()?.clone();
        files.into_iter().find_map(|file| {
            let file = file.as_str()?.to_owned();
            file.ends_with("verifier_wasm.wasm").then_some(file)
        })
    });
    files.next_back().unwrap().into()
}

/// What a program answers to a question a line; `None` where it cannot run.
fn asked(program: &mut Command, questions: &[Value]) -> Vec<String> {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = questions.iter().map(|one| format!("{one}\n")).collect();
    let write = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    write.join().unwrap().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn in_node(questions: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ask.mjs");
    let answers = asked(Command::new("node").arg(script).arg(module()), questions);
    answers
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn outcome(answer: &Value) -> &str {
    answer["report"]["outcome"].as_str().unwrap()
}

/// Each golden case, and the first with every bit flipped.
fn questions() -> Vec<Value> {
    let golden = golden();
    let receipts = &golden["receipts"];
    let cases = receipts["cases"].as_array().unwrap();
    let mut all: Vec<_> = cases.iter().map(|case| question(receipts, case)).collect();
    let flips = flipped(&all[0]);
    all.extend(flips);
    all
}

#[test]
fn no_flipped_bit_is_valid_and_each_case_has_its_outcome() {
    let golden = golden();
    let cases = golden["receipts"]["cases"].as_array().unwrap();
    let answers = natively(&questions());
    for (case, answer) in cases.iter().zip(&answers) {
        assert_eq!(outcome(answer), case["outcome"], "{}", case["name"]);
        assert_eq!(answer["exit_code"], case["exit_code"], "{}", case["name"]);
    }
    assert_eq!(outcome(&answers[0]), "VALID");
    let flips = &answers[cases.len()..];
    assert!(flips.len() > 1_500, "{}", flips.len());
    for (at, answer) in flips.iter().enumerate() {
        assert_ne!(outcome(answer), "VALID", "byte {at}");
    }
}

#[test]
fn a_browsers_module_says_what_the_native_verifier_says() {
    let mut questions = questions();
    questions.push(json!({ "receipt": 1 }));
    let (native, module) = (natively(&questions), in_node(&questions));
    assert_eq!(native.len(), module.len());
    for (at, (native, module)) in native.iter().zip(&module).enumerate() {
        assert_eq!(native, module, "question {at}");
    }
    assert!(module.last().unwrap()["error"].is_string());
}

#[test]
fn the_second_verifier_says_the_same() {
    let questions = questions();
    let native = natively(&questions);
    let script = Path::new(ROOT).join("docs/verify/verify.py");
    let theirs = asked(
        Command::new("python3").arg(script).arg("questions"),
        &questions,
    );
    assert_eq!(native.len(), theirs.len());
    for (at, (native, theirs)) in native.iter().zip(&theirs).enumerate() {
        // It does not look at each member, so that of what is malformed it finds something else wrong.
        let later = outcome(native) == "MALFORMED" && theirs != "VALID";
        assert!(
            outcome(native) == theirs || later,
            "question {at}: {} and {theirs}",
            outcome(native)
        );
    }
}
