//! Why each encoder can or cannot be used, and what helps.

use super::host::Facts;
use super::report::{Check, Encoder};
use serde::Deserialize;

/// The first driver without the entry points that GStreamer's NVENC plugin used before 1.26.
const DRIVER_NEW: u32 = 580;
/// The first GStreamer whose plugin works with it.
const GSTREAMER_NEW: (u32, u32) = (1, 26);

const PLUGINS: &str = "apt-get install gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly";

/// What the worker says of one encoder.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Trial {
    codec: String,
    encoder: String,
    works: bool,
    reason: String,
}

/// Who makes the hardware that an encoder drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Nvidia,
    /// Intel's and AMD's, through VA-API or Quick Sync.
    Other,
    Cpu,
}

fn family(element: &str) -> Family {
    if element.starts_with("nv") {
        Family::Nvidia
    } else if ["va", "qsv", "msdk", "v4l2"]
        .iter()
        .any(|f| element.starts_with(f))
    {
        Family::Other
    } else {
        Family::Cpu
    }
}

/// The encoders one by one, and the verdicts over NVENC and the encoders by CPU.
pub(super) fn judge(trials: Vec<Trial>, facts: &Facts) -> (Vec<Encoder>, Vec<Check>) {
    let encoders: Vec<Encoder> = trials.into_iter().map(|t| explain(t, facts)).collect();
    let verdicts = vec![nvenc(&encoders, facts), by_cpu(&encoders)];
    (encoders, verdicts)
}

fn explain(trial: Trial, facts: &Facts) -> Encoder {
    let (why, fix) = match (trial.works, family(&trial.encoder)) {
        (true, _) => (None, None),
        (false, Family::Nvidia) => {
            let (why, fix) = without_nvenc(&trial.reason, facts);
            (Some(why), fix)
        }
        (false, Family::Other) => {
            let why = format!("{}; it is for GPUs of Intel and AMD", trial.reason);
            (Some(why), None)
        }
        (false, Family::Cpu) => (Some(trial.reason), Some(PLUGINS.to_owned())),
    };
    Encoder {
        encoder: trial.encoder,
        codec: trial.codec,
        usable: trial.works,
        why,
        fix,
    }
}

/// Why an encoder of NVIDIA's does not work, the likeliest cause first.
fn without_nvenc(reason: &str, facts: &Facts) -> (String, Option<String>) {
    if !facts.gpus.iter().any(|gpu| gpu.has_nvenc) {
        let why = "this GPU has no NVENC; sessions encode by CPU";
        return (why.to_owned(), None);
    }
    let (driver, gstreamer) = (facts.driver_major(), facts.gstreamer_version());
    if let (Some(driver), Some(gstreamer)) = (driver, gstreamer)
        && driver >= DRIVER_NEW
        && gstreamer < GSTREAMER_NEW
    {
        let (major, minor) = gstreamer;
        let why = format!(
            "GStreamer {major}.{minor} speaks an NVENC interface that driver {driver} no longer \
             has ({reason})"
        );
        let fix = "Run the edge from configs/images/edge (Debian 13, GStreamer 1.26), or a host \
                   with GStreamer 1.26 or newer; docs/gpu.md says how.";
        return (why, Some(fix.to_owned()));
    }
    let fix = "GStreamer's NVENC plugin (gstreamer1.0-plugins-bad) and the driver's encode library \
               (Debian: libnvidia-encode1; in a container, NVIDIA_DRIVER_CAPABILITIES must have \
               `video`) must both be there. GST_DEBUG=nv*:5 edge-worker --try-encoders says more.";
    (reason.to_owned(), Some(fix.to_owned()))
}

fn nvenc(encoders: &[Encoder], facts: &Facts) -> Check {
    const NAME: &str = "nvenc";
    let mut nvidia = encoders
        .iter()
        .filter(|e| family(&e.encoder) == Family::Nvidia);
    if let Some(works) = nvidia.clone().find(|e| e.usable) {
        return Check::pass(NAME, format!("{} encodes", works.encoder));
    }
    if !facts.gpus.iter().any(|gpu| gpu.has_nvenc) {
        let models = facts.gpus.iter().filter_map(|gpu| gpu.model.as_deref());
        let models: Vec<_> = models.collect();
        let detail = format!(
            "{} has no NVENC: games render on it, and sessions encode by CPU",
            models.join(", ")
        );
        return Check::skip(NAME, detail, None);
    }
    let failed = nvidia.find(|e| e.fix.is_some());
    let detail = failed.and_then(|e| e.why.clone());
    let fix = failed.and_then(|e| e.fix.clone());
    Check::fail(
        NAME,
        detail.unwrap_or_else(|| "the worker knows no encoder of NVIDIA's".to_owned()),
        fix.unwrap_or_else(|| "Build the worker of this version.".to_owned()),
    )
}

fn by_cpu(encoders: &[Encoder]) -> Check {
    const NAME: &str = "cpu-encoders";
    let working = encoders.iter().filter(|e| e.usable);
    let working = working.filter(|e| family(&e.encoder) == Family::Cpu);
    let names: Vec<&str> = working.map(|e| e.encoder.as_str()).collect();
    if names.is_empty() {
        return Check::fail(NAME, "no encoder by CPU works to fall back to", PLUGINS);
    }
    Check::pass(NAME, format!("to fall back to: {}", names.join(" ")))
}

#[cfg(test)]
mod test {
    use super::super::{Gpu, Verdict};
    use super::*;

    fn facts(model: &str, driver: &str, gstreamer: &str) -> Facts {
        Facts {
            driver: Some(driver.to_owned()),
            gstreamer: Some(gstreamer.to_owned()),
            gpus: vec![Gpu {
                model: Some(model.to_owned()),
                has_nvenc: !super::super::host::lacks_nvenc(model),
                ..Gpu::default()
            }],
            ..Facts::default()
        }
    }

    fn trial(encoder: &str, works: bool) -> Trial {
        Trial {
            codec: "H264".to_owned(),
            encoder: encoder.to_owned(),
            works,
            reason: if works { "" } else { "it takes no picture" }.to_owned(),
        }
    }

    fn ladder(nvenc: bool) -> Vec<Trial> {
        vec![
            trial("nvautogpuh264enc", false),
            trial("nvh264enc", nvenc),
            trial("vah264enc", false),
            trial("x264enc", true),
        ]
    }

    #[test]
    fn one_encoder_of_nvidias_is_enough() {
        let (encoders, checks) = judge(ladder(true), &facts("NVIDIA L4", "550.1", "1.22.0"));
        assert_eq!(checks[0].verdict, Verdict::Pass);
        assert!(encoders[1].usable && encoders[1].why.is_none());
        let others = encoders.iter().filter(|e| !e.usable);
        assert!(others.clone().count() == 2 && others.clone().all(|e| e.why.is_some()));
    }

    #[test]
    fn a_data_centre_gpu_has_no_nvenc_and_nothing_is_wrong_with_it() {
        for model in [
            "NVIDIA A100-SXM4-80GB",
            "NVIDIA H100 80GB HBM3",
            "NVIDIA H200",
        ] {
            let (encoders, checks) = judge(ladder(false), &facts(model, "580.65.06", "1.22.0"));
            assert_eq!(checks[0].verdict, Verdict::Skip);
            assert!(checks[0].detail.contains("no NVENC"), "{checks:?}");
            assert_eq!(encoders[0].fix, None, "nothing helps");
            assert_eq!(
                checks[1].verdict,
                Verdict::Pass,
                "there is something to fall back to"
            );
        }
    }

    #[test]
    fn a_new_driver_needs_a_new_gstreamer_and_the_fix_says_which() {
        let verdict = |driver: &str, gstreamer: &str| {
            let (_, checks) = judge(ladder(false), &facts("NVIDIA L4", driver, gstreamer));
            assert_eq!(checks[0].verdict, Verdict::Fail);
            checks[0].fix.clone().unwrap()
        };
        assert!(verdict("580.65.06", "1.22.0").contains("configs/images/edge"));
        assert!(!verdict("580.65.06", "1.26.2").contains("configs/images/edge"));
        assert!(!verdict("570.10", "1.22.0").contains("configs/images/edge"));
        assert!(verdict("garbled", "").contains("libnvidia-encode1"));
    }

    #[test]
    fn without_any_encoder_by_cpu_the_fall_back_fails() {
        let (_, checks) = judge(
            vec![trial("nvh264enc", true)],
            &facts("NVIDIA L4", "550", "1.22"),
        );
        assert_eq!(checks[1].verdict, Verdict::Fail);
    }
}
