//! Which GPUs are for games and which for jobs. A game shares its GPU with its encoder and with other games, at
//! a frame's pace; a job has a GPU for itself, and a kernel of its holds up everybody else for as long as it runs. So
//! none is for both.

use super::{Gpu, Gpus};
use serde::{Deserialize, Serialize};

/// What the operator wants: `jobs.gpus`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum ForJobs {
    /// A word.
    Word(Word),
    /// These, by UUID; of one that is cut, its slices.
    These(Vec<String>),
}

/// See [`ForJobs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// Those that encode no video, and slices: games can do nothing with them.
    Auto,
    /// All of NVIDIA's.
    All,
    /// None.
    None,
}

/// Where the driver's module says what it was loaded with.
const PARAMETERS: &str = "/proc/driver/nvidia/params";

/// Whether somebody has told the driver not to overwrite memory that is given back: then one job reads what
/// another left, and no GPU is any job's.
pub(crate) fn scrubbing_is_off() -> bool {
    std::fs::read_to_string(PARAMETERS).is_ok_and(|parameters| says_no_scrubbing(&parameters))
}

fn says_no_scrubbing(parameters: &str) -> bool {
    let parameters = parameters.to_ascii_lowercase();
    let values = parameters.split("disablescrubonfree").skip(1);
    let mut values = values.map(|rest| {
        let rest = rest.trim_start_matches([' ', '=', '"']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        &rest[..end.unwrap_or(rest.len())]
    });
    values.any(|value| !value.trim_start_matches("0x").trim_matches('0').is_empty())
}

impl ForJobs {
    fn is_for_jobs(&self, gpu: &Gpu) -> bool {
        // Without one nobody can be given it and no other.
        let Some(uuid) = &gpu.uuid else { return false };
        match self {
            Self::Word(Word::None) => false,
            Self::Word(Word::All) => true,
            Self::Word(Word::Auto) => !gpu.encodes || gpu.is_cut || gpu.parent.is_some(),
            Self::These(uuids) => {
                uuids.contains(uuid) || gpu.parent.as_ref().is_some_and(|of| uuids.contains(of))
            }
        }
    }
}

impl Gpus {
    /// Gives jobs their GPUs. Returns names that no GPU has.
    pub(crate) fn set_aside(&mut self, wish: &ForJobs) -> Vec<String> {
        for gpu in &mut self.0 {
            gpu.for_jobs = wish.is_for_jobs(gpu);
        }
        let ForJobs::These(uuids) = wish else {
            return Vec::new();
        };
        let is_unknown = |uuid: &&String| self.0.iter().all(|gpu| gpu.uuid.as_ref() != Some(uuid));
        uuids.iter().filter(is_unknown).cloned().collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn gpu(uuid: &str, encodes: bool) -> Gpu {
        Gpu {
            uuid: Some(uuid.to_owned()),
            model: Some(format!("model of {uuid}")),
            encodes,
            ..Gpu::default()
        }
    }

    /// An L4, an H100, and an A100 in two slices.
    fn gpus() -> Gpus {
        let cut = Gpu {
            is_cut: true,
            ..gpu("GPU-a100", false)
        };
        let slice = |uuid| Gpu {
            parent: Some("GPU-a100".to_owned()),
            ..gpu(uuid, false)
        };
        let all = [gpu("GPU-l4", true), gpu("GPU-h100", false), cut];
        let slices = [slice("MIG-1"), slice("MIG-2")];
        Gpus(all.into_iter().chain(slices).collect())
    }

    fn check(wish: &str, jobs: &[&str], apps: &[&str], visible: Option<&str>) {
        let wish: ForJobs = serde_json::from_str(wish).unwrap();
        let mut gpus = gpus();
        let unknown = gpus.set_aside(&wish);
        assert!(unknown.is_empty() || unknown == ["GPU-x"], "{unknown:?}");
        let for_jobs: Vec<_> = gpus.for_jobs().into_iter().map(|gpu| gpu.uuid).collect();
        assert_eq!(for_jobs, jobs, "{wish:?}");
        let for_apps: Vec<_> = gpus.for_apps().into_iter().map(|gpu| gpu.uuid).collect();
        let for_apps: Vec<_> = for_apps.into_iter().flatten().collect();
        assert_eq!(for_apps, apps, "{wish:?}");
        assert_eq!(gpus.visible_to_apps().as_deref(), visible, "{wish:?}");
        assert_eq!(gpus.has_none_for_apps(), apps.is_empty());
        assert_eq!(gpus.models().len(), 3, "slices are no models of their own");
    }

    #[test]
    fn no_gpu_is_for_games_and_for_jobs() {
        let all = ["GPU-l4", "GPU-h100", "MIG-1", "MIG-2"];
        check(r#""auto""#, &all[1..], &["GPU-l4"], Some("GPU-l4"));
        check(r#""all""#, &all, &[], Some(""));
        check(r#""none""#, &[], &["GPU-l4", "GPU-h100"], None);
        let one = r#"["MIG-2", "GPU-l4"]"#;
        let named = ["GPU-l4", "MIG-2"];
        check(one, &named, &["GPU-h100"], Some("GPU-h100"));
        let cut = r#"["GPU-a100", "GPU-x"]"#;
        let games = ["GPU-l4", "GPU-h100"];
        check(cut, &["MIG-1", "MIG-2"], &games, Some("GPU-l4,GPU-h100"));
    }

    #[test]
    fn a_driver_that_overwrites_nothing_is_known_by_its_parameters() {
        let set = |value: &str| {
            format!("RegistryDwords: \"RMDisableScrubOnFree={value};PowerMizer=1\"\n")
        };
        for on in ["0", "0x0"] {
            assert!(!says_no_scrubbing(&set(on)), "{on}");
        }
        for off in ["1", "0x1", "2"] {
            assert!(says_no_scrubbing(&set(off)), "{off}");
        }
        assert!(!says_no_scrubbing(
            "RegistryDwords: \"\"\nInitializeSystemMemoryAllocations: 1\n"
        ));
    }

    #[test]
    fn a_gpu_that_cannot_be_named_is_no_jobs() {
        let mut gpus = Gpus(vec![Gpu::default()]);
        gpus.set_aside(&ForJobs::Word(Word::All));
        assert!(gpus.for_jobs().is_empty());
        assert!(serde_json::from_str::<ForJobs>(r#""some""#).is_err());
    }
}
