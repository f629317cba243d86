//! NVIDIA's GPUs for jobs: driver, container toolkit, CDI, persistence, MIG, device rules. A machine without any has
//! one line; everything else is a hint, for jobs without a GPU run in any case.

use super::{Finding, output};
use std::fs;
use std::path::{Path, PathBuf};

const SUBJECT: &str = "gpu jobs";
/// Where engines look for CDI specs, unless they are told otherwise.
const CDI_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
const TOOLKIT_CONFIG: &str = "/etc/nvidia-container-runtime/config.toml";
const GENERATE: &str = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, after each change of the driver or of MIG slices";

/// What is here.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The kernel module's version; `None` without one.
    driver: Option<String>,
    /// Whether `nvidia-ctk` runs.
    toolkit: bool,
    /// All of NVIDIA's CDI specs.
    specs: String,
    /// GPUs and slices by UUID.
    uuids: Vec<String>,
    /// Of each GPU: persistence mode and MIG mode as nvidia-smi says them.
    modes: Vec<(String, String)>,
    /// The toolkit's configuration.
    toolkit_config: String,
    /// Whether /dev/char has links to the GPUs' devices.
    has_char_links: bool,
}

pub(super) fn look() -> Vec<Finding> {
    judge(&facts())
}

fn facts() -> Facts {
    let version = fs::read_to_string("/proc/driver/nvidia/version").ok();
    let listed = output("nvidia-smi", &["-L"]).unwrap_or_default();
    let query = [
        "--query-gpu=persistence_mode,mig.mode.current",
        "--format=csv,noheader",
    ];
    let modes = output("nvidia-smi", &query).unwrap_or_default();
    Facts {
        driver: version.and_then(|text| driver_of(&text)),
        toolkit: output("nvidia-ctk", &["--version"]).is_some(),
        specs: CDI_DIRS.iter().map(|dir| specs(Path::new(dir))).collect(),
        uuids: uuids_of(&listed),
        modes: modes.lines().filter_map(mode_of).collect(),
        toolkit_config: fs::read_to_string(TOOLKIT_CONFIG).unwrap_or_default(),
        has_char_links: has_char_links(Path::new("/dev/char")),
    }
}

fn specs(dir: &Path) -> String {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts
        .filter(|text| text.contains("nvidia.com/gpu"))
        .collect()
}

/// `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar ...`: the first word that is a version.
fn driver_of(version: &str) -> Option<String> {
    let mut words = version.lines().next()?.split_whitespace();
    let is_version = |word: &&str| {
        let numbers = word.split('.');
        word.contains('.') && numbers.clone().all(|n| n.parse::<u32>().is_ok())
    };
    words.find(is_version).map(str::to_owned)
}

/// `GPU 0: NVIDIA L4 (UUID: GPU-...)`, and slices below it.
fn uuids_of(listed: &str) -> Vec<String> {
    let uuids = listed.lines().filter_map(|line| line.split_once("UUID: "));
    let uuids = uuids.map(|(_, uuid)| uuid.trim_end_matches(')').trim().to_owned());
    uuids.collect()
}

fn mode_of(line: &str) -> Option<(String, String)> {
    let (persistence, mig) = line.split_once(',')?;
    Some((persistence.trim().to_owned(), mig.trim().to_owned()))
}

fn has_char_links(dir: &Path) -> bool {
    let links = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets.any(|to: PathBuf| to.to_string_lossy().contains("nvidia"))
}

/// The verdicts.
fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(driver) = &facts.driver else {
        return vec![Finding::ok(
            SUBJECT,
            "no driver of NVIDIA's: this node gives jobs no GPU",
        )];
    };
    let mut all = vec![Finding::ok(
        SUBJECT,
        format!("driver {driver}, {} GPUs and slices", facts.uuids.len()),
    )];
    if facts.uuids.is_empty() {
        all.push(Finding::hint(
            SUBJECT,
            "the driver is loaded, and nvidia-smi lists no GPU",
            "look for NVRM in dmesg; after an update of the driver, reboot",
        ));
    }
    all.extend([
        containers(facts, driver),
        persistence(facts),
        mig(facts),
        rules(facts),
    ]);
    all
}

fn containers(facts: &Facts, driver: &str) -> Finding {
    let lacks = |uuid: &&String| !facts.specs.contains(uuid.as_str());
    if !facts.toolkit && facts.specs.is_empty() {
        return Finding::hint(
            SUBJECT,
            "no NVIDIA Container Toolkit, so no container gets a GPU",
            "apt-get install nvidia-container-toolkit (from NVIDIA's repository), then nvidia-ctk runtime configure --runtime=docker",
        );
    }
    if facts.specs.is_empty() {
        return Finding::hint(
            SUBJECT,
            "no CDI spec: the toolkit's older hook gives containers their GPUs",
            GENERATE,
        );
    }
    if !facts.specs.contains(driver) {
        let found = format!("the CDI spec is stale: it does not name driver {driver}");
        return Finding::hint(SUBJECT, found, GENERATE);
    }
    match facts.uuids.iter().find(lacks) {
        None => Finding::ok(SUBJECT, "the CDI spec names every GPU by its UUID"),
        Some(uuid) => {
            let found = format!("the CDI spec does not name {uuid}");
            let advice = "nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml; until then the older hook is used";
            Finding::hint(SUBJECT, found, advice)
        }
    }
}

fn persistence(facts: &Facts) -> Finding {
    match facts.modes.iter().any(|(mode, _)| mode == "Disabled") {
        false => Finding::ok(SUBJECT, "GPUs stay initialised between jobs"),
        true => Finding::hint(
            SUBJECT,
            "persistence mode is off: each first program waits seconds for its GPU, and error counts are lost in between",
            "systemctl enable --now nvidia-persistenced",
        ),
    }
}

fn mig(facts: &Facts) -> Finding {
    let is_cut = facts.modes.iter().any(|(_, mode)| mode == "Enabled");
    let has_slices = facts.uuids.iter().any(|uuid| uuid.starts_with("MIG-"));
    match (is_cut, has_slices) {
        (false, _) => Finding::ok(SUBJECT, "no GPU is cut into slices: jobs get whole ones"),
        (true, true) => Finding::ok(
            SUBJECT,
            "MIG slices are claimed one by one, and not the GPUs that they are of",
        ),
        (true, false) => Finding::hint(
            SUBJECT,
            "MIG is on and no slice is made: that GPU is nobody's",
            "make some (nvidia-smi mig -cgi ... -C), or turn it off (nvidia-smi -i N -mig 0)",
        ),
    }
}

/// The hook allows a container its devices behind the engine's back. Where systemd writes the rules of control
/// groups, they are gone after its next reload, and the job loses its GPU.
fn rules(facts: &Facts) -> Finding {
    let settings = facts.toolkit_config.lines().map(str::trim);
    let off = settings.filter(|line| !line.starts_with('#'));
    let mut off = off.filter(|line| line.replace(' ', "") == "no-cgroups=true");
    if off.next().is_some() {
        return Finding::hint(
            SUBJECT,
            format!(
                "no-cgroups = true in {TOOLKIT_CONFIG}: the hook opens no device for a container"
            ),
            "set it to false, unless CDI gives the GPUs",
        );
    }
    match facts.has_char_links || !facts.specs.is_empty() {
        true => Finding::ok(SUBJECT, "a reload of systemd takes no GPU from a container"),
        false => Finding::hint(
            SUBJECT,
            "/dev/char has no links to the GPUs: a reload of systemd can take them from running containers",
            "nvidia-ctk system create-dev-char-symlinks --create-all, at each boot; or use CDI",
        ),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::doctor::Verdict;

    const UUID: &str = "GPU-1a2b";

    fn well() -> Facts {
        Facts {
            driver: Some("550.54.15".to_owned()),
            toolkit: true,
            specs: format!("kind: nvidia.com/gpu\n- name: {UUID}\nlibcuda.so.550.54.15"),
            uuids: vec![UUID.to_owned()],
            modes: vec![("Enabled".to_owned(), "Disabled".to_owned())],
            toolkit_config: "#no-cgroups = true\n".to_owned(),
            has_char_links: false,
        }
    }

    fn check(change: impl FnOnce(&mut Facts), hint: Option<&str>) {
        let mut facts = well();
        change(&mut facts);
        let findings = judge(&facts);
        let hints: Vec<_> = findings
            .iter()
            .filter(|f| f.verdict != Verdict::Ok)
            .collect();
        assert!(
            hints
                .iter()
                .all(|f| f.verdict == Verdict::Hint && !f.advice.is_empty())
        );
        match hint {
            None => assert!(hints.is_empty(), "{hints:?}"),
            Some(says) => assert!(hints.iter().any(|f| f.found.contains(says)), "{findings:?}"),
        }
    }

    #[test]
    fn what_keeps_a_job_from_its_gpu_is_said_with_what_to_do() {
        check(|_| {}, None);
        check(|f| *f = Facts::default(), None);
        check(|f| f.uuids.clear(), Some("lists no GPU"));
        check(|f| f.specs.clear(), Some("no CDI spec"));
        let bare = |f: &mut Facts| (f.toolkit, f.specs) = (false, String::new());
        check(bare, Some("no NVIDIA Container Toolkit"));
        check(|f| f.driver = Some("580.1.2".to_owned()), Some("stale"));
        check(
            |f| f.uuids.push("MIG-9".to_owned()),
            Some("does not name MIG-9"),
        );
        check(
            |f| f.modes[0].0 = "Disabled".to_owned(),
            Some("persistence"),
        );
        check(
            |f| f.modes[0].1 = "Enabled".to_owned(),
            Some("no slice is made"),
        );
        check(
            |f| f.toolkit_config = "no-cgroups = true".to_owned(),
            Some("no-cgroups"),
        );
        check(|f| f.specs.clear(), Some("/dev/char"));
    }

    #[test]
    fn what_the_tools_print_is_read() {
        let version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version:  gcc version 12.2.0";
        assert_eq!(driver_of(version).as_deref(), Some("550.54.15"));
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build";
        assert_eq!(driver_of(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver_of(""), None);
        let listed = "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5b)\n  MIG 1g.5gb     Device  0: (UUID: MIG-c6d4)\n";
        assert_eq!(uuids_of(listed), ["GPU-5d5b", "MIG-c6d4"]);
        let mode = mode_of("Enabled, [N/A]").unwrap();
        assert_eq!(mode, ("Enabled".to_owned(), "[N/A]".to_owned()));
    }
}
