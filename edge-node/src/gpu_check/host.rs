//! The host: NVML, device files, and what `eglinfo` and `vulkaninfo` say.

use super::report::{Check, Gpu};
use crate::gpu::render_node;
use crate::runtime::plan::{AppGpu, RenderNode};
use nvml_wrapper::Nvml;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// NVIDIA, as PCI numbers it.
const NVIDIA: &str = "0x10de";
/// Display controllers: the first byte of a PCI class.
const DISPLAY: &str = "0x03";
/// Models without any video encoder (NVIDIA's video encode and decode support matrix).
const WITHOUT_NVENC: [&str; 14] = [
    "A100", "A800", "A30", "H100", "H200", "H800", "H20", "GH200", "B100", "B200", "B300", "GB200",
    "GB300", "PG506",
];
/// A small tool that does not end has failed.
const TOOL_WITHIN_S: &str = "20";

/// What the host has.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) driver: Option<String>,
    pub(super) cuda: Option<String>,
    pub(super) gstreamer: Option<String>,
    pub(super) gpus: Vec<Gpu>,
}

/// Why there are no facts.
#[derive(Debug)]
pub(super) enum NoGpu {
    /// There is no NVIDIA GPU.
    None(String),
    /// There is one that cannot be used.
    Hidden(Check),
}

impl Facts {
    /// The driver's first number.
    pub(super) fn driver_major(&self) -> Option<u32> {
        self.driver.as_ref()?.split('.').next()?.parse().ok()
    }

    /// GStreamer's first two numbers.
    pub(super) fn gstreamer_version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.gstreamer.as_ref()?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    pub(super) fn for_apps(&self) -> Vec<AppGpu> {
        let addressed = self.gpus.iter().filter_map(|gpu| {
            let node = gpu.render_node.clone().zip(gpu.render_gid);
            Some(AppGpu {
                uuid: Some(gpu.uuid.clone()?),
                render_node: node.map(|(path, gid)| RenderNode { path, gid }),
            })
        });
        addressed.collect()
    }
}

/// Whether a model has no video encoder.
pub(crate) fn lacks_nvenc(model: &str) -> bool {
    let mut words = model.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| WITHOUT_NVENC.contains(&word))
}

/// The facts, or why there are none. `nvml` asks the driver's library.
pub(super) fn look(
    sysfs: &Path,
    nvml: impl FnOnce() -> Result<Facts, String>,
) -> Result<Facts, NoGpu> {
    match nvml() {
        Ok(facts) if !facts.gpus.is_empty() => Ok(facts),
        Ok(_) if !has_nvidia(sysfs) => Err(NoGpu::None("NVML counts no GPU".to_owned())),
        Ok(_) => Err(NoGpu::Hidden(Check::fail(
            "nvml",
            "there is an NVIDIA GPU on the bus, and NVML counts none",
            "The driver did not take it: look for NVRM in `dmesg`. In a container, start it with \
             its GPUs.",
        ))),
        Err(why) if has_nvidia(sysfs) => Err(NoGpu::Hidden(Check::fail(
            "nvml",
            format!("there is an NVIDIA GPU on the bus, and NVML does not answer: {why}"),
            "Install NVIDIA's driver with its libraries (Debian: nvidia-driver), and reboot. In a \
             container, start it with its GPUs.",
        ))),
        Err(why) => Err(NoGpu::None(format!(
            "this machine has no NVIDIA GPU; NVML: {why}"
        ))),
    }
}

fn has_nvidia(sysfs: &Path) -> bool {
    let Ok(devices) = fs::read_dir(sysfs.join("bus/pci/devices")) else {
        return false;
    };
    devices.flatten().any(|device| {
        let says = |file: &str, start: &str| {
            let text = fs::read_to_string(device.path().join(file)).unwrap_or_default();
            text.starts_with(start)
        };
        says("vendor", NVIDIA) && says("class", DISPLAY)
    })
}

/// Asks the driver's library and GStreamer's tool.
pub(super) fn ask_nvml() -> Result<Facts, String> {
    let nvml = Nvml::init().map_err(|error| error.to_string())?;
    let count = nvml.device_count().map_err(|error| error.to_string())?;
    let gpus = (0..count).filter_map(|index| nvml.device_by_index(index).ok());
    let gpus = gpus.map(|device| {
        let node = device
            .pci_info()
            .ok()
            .and_then(|pci| render_node(Path::new("/sys"), Path::new("/dev/dri"), &pci.bus_id));
        let model = device.name().ok();
        Gpu {
            uuid: device.uuid().ok(),
            has_nvenc: !model.as_deref().is_some_and(lacks_nvenc),
            model,
            vram_mib: device.memory_info().ok().map(|m| m.total / (1024 * 1024)),
            architecture: device.architecture().ok().map(|a| a.to_string()),
            mig: device.mig_mode().is_ok_and(|mode| mode.current != 0),
            render_node: node.as_ref().map(|node| node.path.clone()),
            render_gid: node.map(|node| node.gid),
        }
    });
    let cuda = nvml.sys_cuda_driver_version().ok();
    Ok(Facts {
        gpus: gpus.collect(),
        driver: nvml.sys_driver_version().ok(),
        cuda: cuda.map(|v| format!("{}.{}", v / 1000, v % 1000 / 10)),
        gstreamer: tool("gst-inspect-1.0", &["--version"]).and_then(|said| {
            let version = said.lines().find_map(|l| l.strip_prefix("GStreamer "));
            version.map(str::to_owned)
        }),
    })
}

/// What the facts and the host's own tools say.
pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let models = facts.gpus.iter().filter_map(|gpu| gpu.model.as_deref());
    let models: Vec<_> = models.collect();
    let driver = facts.driver.as_deref().unwrap_or("unknown");
    let nvml = Check::pass("nvml", format!("{}; driver {driver}", models.join(", ")));
    vec![
        nvml,
        mig(facts),
        render_nodes(facts),
        renderer("egl", "eglinfo", &["-B"], "mesa-utils"),
        renderer("vulkan", "vulkaninfo", &["--summary"], "vulkan-tools"),
    ]
}

fn mig(facts: &Facts) -> Check {
    const NAME: &str = "mig";
    if facts.gpus.iter().any(|gpu| gpu.mig) {
        let detail = "a GPU is cut into MIG slices, which neither render nor encode";
        let fix = "Turn it off on a GPU for games: nvidia-smi -i N -mig 0.";
        return Check::fail(NAME, detail, fix);
    }
    Check::pass(NAME, "no GPU is cut into slices")
}

fn render_nodes(facts: &Facts) -> Check {
    const NAME: &str = "render-nodes";
    let mut found = Vec::new();
    for gpu in &facts.gpus {
        match (&gpu.render_node, gpu.render_gid) {
            (Some(path), Some(0)) => {
                let detail = format!("{} belongs to root's group alone", path.display());
                let fix = "Give it to the group `render` by udev (Debian does), so that workers \
                           and games may use it and nobody has to be root.";
                return Check::fail(NAME, detail, fix);
            }
            (Some(path), Some(gid)) => found.push(format!("{} (group {gid})", path.display())),
            (Some(_), None) | (None, _) => {
                let model = gpu.model.as_deref().unwrap_or("a GPU");
                let detail = format!("{model} has no file in /dev/dri");
                let fix = "Load NVIDIA's display driver with modesetting: modprobe nvidia-drm \
                           modeset=1. In a container, NVIDIA_DRIVER_CAPABILITIES must have \
                           `graphics`.";
                return Check::fail(NAME, detail, fix);
            }
        }
    }
    Check::pass(NAME, found.join(", "))
}

/// What a small tool says of the renderer.
fn renderer(name: &'static str, program: &str, args: &[&str], package: &str) -> Check {
    let Some(said) = tool(program, args) else {
        let detail = format!("{program} is not installed, or fails");
        return Check::skip(name, detail, Some(&format!("apt-get install {package}")));
    };
    judge_renderer(name, &said)
}

/// The verdict over what `eglinfo -B` or `vulkaninfo --summary` prints.
pub(super) fn judge_renderer(name: &'static str, said: &str) -> Check {
    let named = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        ["renderer", "devicename"]
            .iter()
            .any(|key| lower.contains(key))
    };
    let lines: Vec<&str> = said.lines().map(str::trim).filter(named).collect();
    if let Some(line) = lines.iter().find(|line| line.contains("NVIDIA")) {
        return Check::pass(name, *line);
    }
    let detail = match lines.first() {
        Some(line) => format!("the renderer is another one: {line}"),
        None => "no renderer was named".to_owned(),
    };
    let fix = "NVIDIA's libraries of the driver's own version are missing (Debian: \
               libnvidia-egl-*, nvidia-vulkan-icd; in a container, NVIDIA_DRIVER_CAPABILITIES must \
               have `graphics`, and `nvidia-ctk cdi generate` must have run since the driver was \
               installed).";
    Check::fail(name, detail, fix)
}

/// What a program prints, if it is there and succeeds in time.
fn tool(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new("timeout")
        .arg(TOOL_WITHIN_S)
        .arg(program)
        .args(args)
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() || said.contains("renderer")).then_some(said)
}

#[cfg(test)]
mod test {
    use super::*;

    fn gpu() -> Gpu {
        Gpu {
            model: Some("NVIDIA L4".to_owned()),
            render_node: Some("/dev/dri/renderD128".into()),
            render_gid: Some(105),
            has_nvenc: true,
            ..Gpu::default()
        }
    }

    #[test]
    fn models_without_encoders_are_known_by_their_whole_names() {
        for model in [
            "NVIDIA H100 80GB HBM3",
            "NVIDIA A100-SXM4-40GB",
            "NVIDIA H200",
            "NVIDIA A30",
        ] {
            assert!(lacks_nvenc(model), "{model}");
        }
        for model in [
            "NVIDIA L4",
            "NVIDIA RTX A3000",
            "NVIDIA A10",
            "NVIDIA GeForce RTX 4090",
        ] {
            assert!(!lacks_nvenc(model), "{model}");
        }
    }

    #[test]
    fn a_gpu_that_the_driver_does_not_show_is_no_missing_gpu() {
        let sysfs = tempfile::tempdir().unwrap();
        let device = sysfs.path().join("bus/pci/devices/0000:01:00.0");
        fs::create_dir_all(&device).unwrap();
        let look = || look(sysfs.path(), || Err("no library".to_owned())).unwrap_err();
        let NoGpu::None(why) = look() else {
            panic!("nothing is there");
        };
        assert!(why.contains("no library"), "{why}");
        // The sound function of a card is not the card.
        fs::write(device.join("vendor"), "0x10de\n").unwrap();
        fs::write(device.join("class"), "0x040300\n").unwrap();
        assert!(matches!(look(), NoGpu::None(_)));
        fs::write(device.join("class"), "0x030200\n").unwrap();
        let NoGpu::Hidden(check) = look() else {
            panic!("there is a card");
        };
        assert!(check.fix.unwrap().contains("driver"));
    }

    #[test]
    fn a_render_node_must_be_there_and_open_to_a_group() {
        use super::super::Verdict;
        let verdict = |gpu: Gpu| {
            let facts = Facts {
                gpus: vec![gpu],
                ..Facts::default()
            };
            let check = render_nodes(&facts);
            assert_eq!(check.verdict == Verdict::Fail, check.fix.is_some());
            check.verdict
        };
        assert_eq!(verdict(gpu()), Verdict::Pass);
        let closed = Gpu {
            render_gid: Some(0),
            ..gpu()
        };
        assert_eq!(verdict(closed), Verdict::Fail);
        let missing = Gpu {
            render_node: None,
            ..gpu()
        };
        assert_eq!(verdict(missing), Verdict::Fail);
    }

    #[test]
    fn a_renderer_by_cpu_is_none() {
        use super::super::Verdict;
        let check = |said: &str| judge_renderer("egl", said);
        let nvidia = check("EGL driver name: nvidia\nOpenGL core profile renderer: NVIDIA L4/PCIe");
        assert_eq!(nvidia.verdict, Verdict::Pass);
        let cpu = check("OpenGL core profile renderer: llvmpipe (LLVM 15.0.6, 256 bits)");
        assert_eq!(cpu.verdict, Verdict::Fail);
        assert!(cpu.detail.contains("llvmpipe") && cpu.fix.is_some());
        assert_eq!(check("").verdict, Verdict::Fail);
        assert_eq!(check("\tdeviceName = NVIDIA L4").verdict, Verdict::Pass);
    }
}
