//! What the check says, as JSON.

use serde::Serialize;
use std::path::PathBuf;

/// The whole report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Why there is nothing to check here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Whether no check failed.
    pub passed: bool,
    /// Version of the driver.
    pub driver: Option<String>,
    /// Newest CUDA that the driver speaks.
    pub cuda: Option<String>,
    /// Version of GStreamer on this host.
    pub gstreamer: Option<String>,
    /// The GPUs, as NVML tells.
    pub gpus: Vec<Gpu>,
    /// What was checked.
    pub checks: Vec<Check>,
    /// Each encoder that we know, best first.
    pub encoders: Vec<Encoder>,
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// How it is addressed.
    pub uuid: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its memory, MiB.
    pub vram_mib: Option<u64>,
    /// Its architecture, such as `Hopper`.
    pub architecture: Option<String>,
    /// Whether it is cut into MIG slices, which neither render nor encode.
    pub mig: bool,
    /// Whether the model has video encoders at all.
    pub has_nvenc: bool,
    /// Through which programs render on it.
    pub render_node: Option<PathBuf>,
    /// The group that may use the render node.
    pub render_gid: Option<u32>,
}

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It works.
    Pass,
    /// It does not, and could.
    Fail,
    /// It was not tried, or cannot be had here.
    Skip,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen, or why nothing was.
    pub detail: String,
    /// What to do; with every failure, and where a skip can be helped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// One encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encoder {
    /// The GStreamer element.
    pub encoder: String,
    /// What it makes, such as `H264`.
    pub codec: String,
    /// Whether sessions can use it.
    pub usable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it, if anything helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Report {
    /// Nothing to check, and nothing wrong.
    pub(super) fn skipped(why: String) -> Self {
        Self {
            skipped: Some(why),
            passed: true,
            ..Self::default()
        }
    }

    /// With the verdict over all checks.
    pub(super) fn judged(mut self) -> Self {
        self.passed = self.checks.iter().all(|c| c.verdict != Verdict::Fail);
        self
    }
}

impl Check {
    pub(super) fn pass(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Pass, detail, None)
    }

    pub(super) fn fail(
        name: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Fail, detail, Some(fix.into()))
    }

    pub(super) fn skip(name: &'static str, detail: impl Into<String>, fix: Option<&str>) -> Self {
        Self::new(name, Verdict::Skip, detail, fix.map(str::to_owned))
    }

    fn new(
        name: &'static str,
        verdict: Verdict,
        detail: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self {
            name,
            verdict,
            detail: detail.into(),
            fix,
        }
    }
}
