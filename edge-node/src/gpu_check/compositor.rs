//! The worker's own compositor on each GPU: `edge-worker --try-gpu NODE` draws, imports a buffer and
//! encodes without a copy, as a session's worker would, in a process of its own: a driver that
//! crashes it is a verdict.

use super::host::Facts;
use super::report::{Check, Verdict};
use crate::config::Config;
use crate::encoders::{ProbeError, output_of};
use serde::Deserialize;
use std::path::Path;

/// The checks' names.
const COMPOSITOR: &str = "compositor";
const IMPORT: &str = "dmabuf-import";
const ZERO_COPY: &str = "zero-copy";

/// What the worker says of one GPU.
#[derive(Clone, Debug, Deserialize)]
struct Trials {
    compositor: Outcome,
    dmabuf_import: Outcome,
    zero_copy: Outcome,
    encoders: Vec<Encoder>,
}

#[derive(Clone, Debug, Deserialize)]
struct Outcome {
    works: bool,
    detail: String,
    fix: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Encoder {
    encoder: String,
    works: bool,
    reason: String,
}

/// Tries every GPU that has a render node.
pub(super) async fn checks(config: &Config, facts: &Facts) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut nodes = 0;
    for gpu in &facts.gpus {
        if let Some(node) = &gpu.render_node {
            nodes += 1;
            checks.extend(judge(tried(config, node).await, node, gpu.has_nvenc));
        }
    }
    if nodes == 0 {
        let why = "no GPU has a render node to draw on: see render-nodes";
        checks.extend([COMPOSITOR, IMPORT, ZERO_COPY].map(|name| Check::skip(name, why, None)));
    }
    checks
}

async fn tried(config: &Config, node: &Path) -> Result<Trials, ProbeError> {
    let root = nix::unistd::geteuid().is_root();
    let said = output_of(config, root, &["--try-gpu".as_ref(), node.as_os_str()]).await?;
    Ok(serde_json::from_slice(&said)?)
}

/// The verdicts over one GPU.
fn judge(tried: Result<Trials, ProbeError>, node: &Path, has_nvenc: bool) -> Vec<Check> {
    let trials = match tried {
        Ok(trials) => trials,
        Err(error) => {
            let detail = format!(
                "{}: the trial did not come to an end: {error}",
                node.display()
            );
            let fix = format!(
                "The driver crashes or hangs the process that draws; another version of it may \
                 not. By hand: edge-worker --try-gpu {}",
                node.display()
            );
            return vec![Check::fail(COMPOSITOR, detail, fix)];
        }
    };
    let check = |name: &'static str, outcome: &Outcome| {
        let detail = format!("{}: {}", node.display(), outcome.detail);
        match &outcome.fix {
            _ if outcome.works => Check::pass(name, detail),
            Some(fix) => Check::fail(name, detail, fix.as_str()),
            None => Check::fail(name, detail, "docs/gpu.md lists what is needed."),
        }
    };
    vec![
        check(COMPOSITOR, &trials.compositor),
        check(IMPORT, &trials.dmabuf_import),
        zero_copy(
            check(ZERO_COPY, &trials.zero_copy),
            &trials.encoders,
            has_nvenc,
        ),
    ]
}

/// Each encoder by name. Without NVENC there is none to hand a picture to, and nothing is wrong.
fn zero_copy(check: Check, encoders: &[Encoder], has_nvenc: bool) -> Check {
    if check.verdict == Verdict::Fail && !has_nvenc {
        let detail = format!(
            "{}; this GPU has no NVENC: pictures are drawn on it, read back and encoded by CPU",
            check.detail
        );
        return Check::skip(ZERO_COPY, detail, None);
    }
    let failed = encoders.iter().filter(|encoder| !encoder.works);
    let failed: Vec<_> = failed
        .map(|encoder| format!("{}: {}", encoder.encoder, encoder.reason))
        .collect();
    if failed.is_empty() {
        return check;
    }
    let detail = format!("{} (not: {})", check.detail, failed.join("; "));
    Check { detail, ..check }
}

#[cfg(test)]
mod test {
    use super::*;

    /// As `edge-worker --try-gpu` prints it.
    fn said(works: [bool; 3]) -> Trials {
        let outcome = |works: bool| {
            serde_json::json!({
                "works": works,
                "detail": if works { "seen" } else { "not seen" },
                "fix": (!works).then_some("do this"),
            })
        };
        let all = serde_json::json!({
            "renderer": "NVIDIA L4",
            "compositor": outcome(works[0]),
            "dmabuf_import": outcome(works[1]),
            "zero_copy": outcome(works[2]),
            "encoders": [
                {"codec": "H264", "encoder": "nvh264enc", "works": works[2], "reason": ""},
                {"codec": "AV1", "encoder": "nvav1enc", "works": false, "reason": "not on this GPU"},
            ],
        });
        serde_json::from_value(all).unwrap()
    }

    fn verdicts(works: [bool; 3], has_nvenc: bool) -> Vec<Check> {
        let checks = judge(Ok(said(works)), Path::new("/dev/dri/renderD128"), has_nvenc);
        for check in &checks {
            assert_eq!(
                check.fix.is_some(),
                check.verdict == Verdict::Fail,
                "{check:?}"
            );
            assert!(
                check.detail.starts_with("/dev/dri/renderD128: "),
                "{check:?}"
            );
        }
        checks
    }

    #[test]
    fn each_step_has_its_verdict_and_encoders_are_named() {
        let all = verdicts([true; 3], true);
        let names = all.iter().map(|check| check.name);
        assert!(names.eq([COMPOSITOR, IMPORT, ZERO_COPY]));
        assert!(all.iter().all(|check| check.verdict == Verdict::Pass));
        assert!(
            all[2].detail.contains("nvav1enc: not on this GPU"),
            "{:?}",
            all[2]
        );
        assert!(!all[2].detail.contains("nvh264enc"));
        let drawn_alone = verdicts([true, false, false], true);
        let failed = |check: &Check| check.verdict == Verdict::Fail;
        assert_eq!(drawn_alone.iter().filter(|c| failed(c)).count(), 2);
    }

    #[test]
    fn a_gpu_without_nvenc_reads_back_and_nothing_is_wrong_with_it() {
        let checks = verdicts([true, true, false], false);
        assert_eq!(checks[2].verdict, Verdict::Skip);
        assert!(checks[2].detail.contains("no NVENC"), "{:?}", checks[2]);
    }

    #[test]
    fn a_driver_that_crashes_the_trial_is_a_verdict() {
        let crashed = Err(ProbeError::Failed("signal 11".to_owned()));
        let checks = judge(crashed, Path::new("/dev/dri/renderD128"), true);
        assert_eq!(checks[0].verdict, Verdict::Fail);
        let fix = checks[0].fix.as_ref().unwrap();
        assert!(fix.contains("--try-gpu /dev/dri/renderD128"), "{fix}");
        assert!(checks[0].detail.contains("signal 11"));
    }
}
