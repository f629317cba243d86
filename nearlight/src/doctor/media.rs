//! Encoders and GPUs. A machine without a GPU renders and encodes by its CPU; that is a hint.

use super::{Finding, succeeds};
use std::fs;

const INSPECT: &str = "gst-inspect-1.0";
/// Encoders that need no GPU: element and what it makes.
const BY_CPU: [(&str, &str); 3] = [
    ("x264enc", "H.264"),
    ("openh264enc", "H.264"),
    ("vp8enc", "VP8"),
];
/// Encoders of GPUs.
const BY_GPU: [&str; 5] = [
    "nvcudah264enc",
    "nvautogpuh264enc",
    "nvh264enc",
    "vah264enc",
    "qsvh264enc",
];
const PLUGINS_ADVICE: &str =
    "apt-get install gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly";

pub(super) fn look() -> Vec<Finding> {
    if !succeeds(INSPECT, &["--version"]) {
        let advice = "apt-get install gstreamer1.0-tools, to see which encoders there are";
        let encoders = Finding::hint("encoders", format!("no {INSPECT}"), advice);
        return vec![encoders, gpu()];
    }
    let there = |element: &str| succeeds(INSPECT, &["--exists", element]);
    let by_cpu: Vec<_> = BY_CPU
        .into_iter()
        .filter(|(element, _)| there(element))
        .collect();
    let by_gpu: Vec<_> = BY_GPU
        .into_iter()
        .filter(|element| there(element))
        .collect();
    vec![encoders(&by_cpu, &by_gpu), gpu()]
}

fn encoders(by_cpu: &[(&str, &str)], by_gpu: &[&str]) -> Finding {
    const SUBJECT: &str = "encoders";
    let names = by_gpu
        .iter()
        .chain(by_cpu.iter().map(|(element, _)| element));
    let found = names.copied().collect::<Vec<_>>().join(" ");
    let h264 = !by_gpu.is_empty() || by_cpu.iter().any(|(_, codec)| *codec == "H.264");
    let vp8 = by_cpu.iter().any(|(_, codec)| *codec == "VP8");
    match (h264, vp8) {
        (true, true) => Finding::ok(SUBJECT, found),
        (false, false) => Finding::missing(SUBJECT, "none", PLUGINS_ADVICE),
        (true, false) => Finding::hint(SUBJECT, format!("{found}, no VP8"), PLUGINS_ADVICE),
        (false, true) => Finding::hint(SUBJECT, format!("{found}, no H.264"), PLUGINS_ADVICE),
    }
}

fn gpu() -> Finding {
    const SUBJECT: &str = "gpu";
    let mut nodes = device_nodes("/dev/dri", "renderD");
    nodes.extend(device_nodes("/dev", "nvidia").into_iter().filter(|name| {
        // /dev/nvidia0 is a GPU, /dev/nvidiactl and its kin are not.
        name.bytes()
            .last()
            .is_some_and(|byte| byte.is_ascii_digit())
    }));
    if nodes.is_empty() {
        let advice =
            "apps render by the CPU; pass /dev/dri or the NVIDIA devices in if there is one";
        return Finding::hint(SUBJECT, "none", advice);
    }
    Finding::ok(SUBJECT, nodes.join(" "))
}

fn device_nodes(dir: &str, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .map(|name| format!("{dir}/{name}"))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn both_codecs_are_wanted_and_one_is_enough() {
        let check = |cpu: &[(&str, &str)], gpu: &[&str], verdict| {
            assert_eq!(encoders(cpu, gpu).verdict, verdict, "{cpu:?} {gpu:?}");
        };
        check(&BY_CPU, &[], Verdict::Ok);
        check(&BY_CPU[2..], &BY_GPU, Verdict::Ok);
        check(&BY_CPU[..1], &[], Verdict::Hint);
        check(&BY_CPU[2..], &[], Verdict::Hint);
        check(&[], &[], Verdict::Missing);
    }
}
