//! How the engine is asked for the very GPUs of a job, and for none beside.
//!
//! Through the Container Device Interface where the engine does that and a spec of this host names each of them;
//! through NVIDIA's own hook where not. Never by number, which changes with a reboot, and never all of them.
//!
//! Images and specs have a way of their own to ask NVIDIA's runtime for GPUs, by environment. What they say there
//! is overridden: a job sees what it has claimed, whatever the engine's default runtime is.

use bollard::models::DeviceRequest;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const KIND: &str = "nvidia.com/gpu";
const VISIBLE: &str = "NVIDIA_VISIBLE_DEVICES";
/// By which a spec asks for more of the driver.
pub(crate) const CAPABILITIES: &str = "NVIDIA_DRIVER_CAPABILITIES";
/// What of the driver a job gets: CUDA and nvidia-smi.
const GIVEN: [&str; 2] = ["compute", "utility"];
/// What it gets if its spec's `NVIDIA_DRIVER_CAPABILITIES` says so.
const ON_REQUEST: [&str; 2] = ["video", "graphics"];
/// A spec larger than this is none; those of eight GPUs have some hundred KiB.
const SPEC_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The request for these GPUs; `None` for none. `asked` is the job's own word on what of the driver it wants
/// beside; CDI gives what its spec says.
pub(crate) fn request(
    uuids: &[String],
    asked: Option<&String>,
    cdi_dirs: &[PathBuf],
) -> Option<DeviceRequest> {
    ways(uuids, asked, cdi_dirs).into_iter().next()
}

/// Every way to ask for these GPUs; jobs take the first.
pub(crate) fn ways(
    uuids: &[String],
    asked: Option<&String>,
    cdi_dirs: &[PathBuf],
) -> Vec<DeviceRequest> {
    if uuids.is_empty() {
        return Vec::new();
    }
    let specs = specs(cdi_dirs);
    let is_named = uuids.iter().all(|uuid| names(&specs, uuid));
    let by_cdi = is_named.then(|| by_cdi(uuids));
    by_cdi.into_iter().chain([by_hook(uuids, asked)]).collect()
}

fn by_cdi(uuids: &[String]) -> DeviceRequest {
    DeviceRequest {
        driver: Some("cdi".to_owned()),
        device_ids: Some(uuids.iter().map(|uuid| format!("{KIND}={uuid}")).collect()),
        ..DeviceRequest::default()
    }
}

fn by_hook(uuids: &[String], asked: Option<&String>) -> DeviceRequest {
    let asked = asked.into_iter().flat_map(|asked| asked.split(','));
    let more = ON_REQUEST.into_iter().filter(|more| {
        let mut asked = asked.clone();
        asked.any(|asked| asked == *more || asked == "all")
    });
    let wanted = std::iter::once("gpu").chain(GIVEN).chain(more);
    DeviceRequest {
        driver: Some("nvidia".to_owned()),
        device_ids: Some(uuids.to_vec()),
        capabilities: Some(vec![wanted.map(str::to_owned).collect()]),
        options: Some(HashMap::new()),
        ..DeviceRequest::default()
    }
}

/// Whether the agent says what a variable holds.
pub(super) fn is_ours(name: &str) -> bool {
    name == VISIBLE || name == CAPABILITIES
}

/// What a container is told of its GPUs, over what its image says.
pub(crate) fn environment(
    request: Option<&DeviceRequest>,
    uuids: &[String],
    image_env: &[String],
) -> Vec<String> {
    let hook = request.filter(|request| request.driver.as_deref() == Some("nvidia"));
    if let Some(hook) = hook {
        let capabilities = hook.capabilities.iter().flatten().flatten();
        let capabilities = capabilities.filter(|capability| *capability != "gpu");
        let capabilities: Vec<&str> = capabilities.map(String::as_str).collect();
        let given = [
            format!("{VISIBLE}={}", uuids.join(",")),
            format!("{CAPABILITIES}={}", capabilities.join(",")),
        ];
        return given.into();
    }
    let asks = |name: &str| {
        let of_it = |variable: &String| variable.split('=').next() == Some(name);
        image_env.iter().any(of_it)
    };
    // NVIDIA's runtime adds nothing to what CDI gives, or to nothing.
    let is_asked = request.is_some() || asks(VISIBLE);
    let void = is_asked.then(|| format!("{VISIBLE}=void"));
    void.into_iter().collect()
}

/// The text of NVIDIA's specs. Both YAML and JSON are looked at as text: what is asked is whether a name is there,
/// and the engine reads them properly.
fn specs(dirs: &[PathBuf]) -> String {
    let files = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok());
    let files = files.flatten().flatten().map(|entry| entry.path());
    let texts = files.filter_map(|path| spec(&path));
    texts.filter(|text| text.contains(KIND)).collect()
}

fn spec(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?;
    let is_spec = matches!(extension, "yaml" | "yml" | "json");
    let small = fs::metadata(path).ok()?.len() <= SPEC_BYTES_MAX;
    (is_spec && small).then(|| fs::read_to_string(path).ok())?
}

/// Whether a device has this very name. A MIG slice's is in no other, for UUIDs have one length.
fn names(specs: &str, uuid: &str) -> bool {
    specs.lines().any(|line| {
        let line = line.trim().trim_start_matches("- ").trim_end_matches(',');
        let value = line.split_once("name").map(|(_, value)| value);
        let value = value.map(|value| value.trim_matches(['"', '\'', ':', ' ', '}', '{']));
        value == Some(uuid)
    })
}

#[cfg(test)]
mod test {
    use super::*;

    const YAML: &str = "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- containerEdits:\n    \
        deviceNodes:\n    - path: /dev/nvidia0\n  name: \"0\"\n- name: GPU-1a2b\n- name: all\n";

    fn uuids(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn gpus_are_asked_for_by_cdi_where_a_spec_names_them_all_and_by_the_hook_where_not() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = [dir.path().join("none"), dir.path().to_owned()];
        let asked = |names: &[&str]| {
            let request = request(&uuids(names), None, &dirs).unwrap();
            (request.driver.unwrap(), request.device_ids.unwrap())
        };
        let by_hook = ("nvidia".to_owned(), uuids(&["GPU-1a2b"]));
        assert_eq!(asked(&["GPU-1a2b"]), by_hook, "no spec");
        fs::write(dir.path().join("nvidia.yaml"), YAML).unwrap();
        let cdi = ("cdi".to_owned(), uuids(&["nvidia.com/gpu=GPU-1a2b"]));
        assert_eq!(asked(&["GPU-1a2b"]), cdi);
        assert_eq!(asked(&["GPU-1a2b", "MIG-3"]).0, "nvidia", "a stale spec");
        assert_eq!(asked(&["GPU-1a2"]).0, "nvidia", "a part of a name");
        let json = r#"{"kind": "nvidia.com/gpu", "devices": [
            {"name": "MIG-3"},
            {
              "name": "GPU-9",
              "containerEdits": {}
            }]}"#;
        fs::write(dir.path().join("more.json"), json).unwrap();
        assert_eq!(asked(&["GPU-1a2b", "MIG-3", "GPU-9"]).0, "cdi");
        assert_eq!(request(&[], None, &dirs), None);
    }

    #[test]
    fn the_hook_gives_cuda_and_no_video_and_never_all() {
        let two = uuids(&["GPU-1", "GPU-2"]);
        let asks = |word: &str| {
            let asked = Some(&word.to_owned()).map(|word| request(&two, Some(word), &[]));
            asked.flatten().unwrap().capabilities.unwrap()[0].join(" ")
        };
        assert_eq!(asks("video,privileged"), "gpu compute utility video");
        assert_eq!(asks("all"), "gpu compute utility video graphics");
        let request = request(&two, None, &[]).unwrap();
        assert_eq!(request.count, None, "by name, never by number");
        assert_eq!(
            request.capabilities.as_ref().unwrap(),
            &[["gpu", "compute", "utility"]]
        );
        let env = environment(Some(&request), &uuids(&["GPU-1", "GPU-2"]), &[]);
        let expected = [
            "NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        ];
        assert_eq!(env, expected);
        let cdi = DeviceRequest {
            driver: Some("cdi".to_owned()),
            ..DeviceRequest::default()
        };
        let void = ["NVIDIA_VISIBLE_DEVICES=void"];
        assert_eq!(environment(Some(&cdi), &uuids(&["GPU-1"]), &[]), void);
        let image = uuids(&["NVIDIA_VISIBLE_DEVICES=all"]);
        assert_eq!(environment(None, &[], &image), void, "it asks for all");
        assert!(environment(None, &[], &uuids(&["PATH=/bin"])).is_empty());
        assert!(is_ours(VISIBLE) && is_ours(CAPABILITIES) && !is_ours("PATH"));
    }
}
