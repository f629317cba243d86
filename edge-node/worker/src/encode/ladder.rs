//! The encoders we know, best first, and how each is told the same thing: one reference, no
//! B-frames, key frames on request only, constant bit rate with a buffer of about one frame.
//!
//! NVIDIA's family needs GStreamer 1.26 on drivers from 580 on; A100, H100 and H200 have no NVENC
//! at all. An element that is not installed, or whose hardware is missing, fails its probe and is
//! left out.

use super::picture::Shape;
use gstreamer as gst;
use gstreamer::prelude::*;
use nearlight_protocol::worker::VideoCodec;
use std::time::Duration;

/// What every encoder of a session is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The pictures' size and rate.
    pub shape: Shape,
    /// Encoder threads, for software.
    pub threads: u32,
    /// Bit rate, kbit/s.
    pub kbps: u32,
}

/// One encoder and how to drive it.
#[derive(Debug)]
pub struct Recipe {
    /// What it makes.
    pub codec: VideoCodec,
    /// The GStreamer element.
    pub element: &'static str,
    /// The raw format it takes in system memory.
    pub format: &'static str,
    /// Whether its output needs `h264parse` for parameter sets in band and whole access units.
    pub parse: bool,
    /// Frames in it at a time. Two where the hardware works while we convert the next.
    pub depth: usize,
    /// The property that holds the bit rate, and its units per kbit/s.
    pub rate: (&'static str, u32),
    /// Changes of the bit rate are at least this far apart. NVENC is known to grow when it is
    /// reconfigured often.
    pub rate_interval: Duration,
    properties: fn(&Settings) -> Vec<(&'static str, String)>,
}

impl Recipe {
    /// Sets everything that the installed version of the element has.
    pub fn apply(&self, element: &gst::Element, settings: &Settings) {
        for (name, value) in (self.properties)(settings) {
            if element.find_property(name).is_some() {
                element.set_property_from_str(name, &value);
            }
        }
        self.apply_kbps(element, settings.kbps);
    }

    /// Sets the bit rate, also while it runs.
    pub fn apply_kbps(&self, element: &gst::Element, kbps: u32) {
        let (name, per_kbps) = self.rate;
        if element.find_property(name).is_some() {
            let value = u64::from(kbps) * u64::from(per_kbps);
            element.set_property_from_str(name, &value.to_string());
        }
    }
}

/// The recipe for a GStreamer element.
pub fn recipe(element: &str) -> Option<&'static Recipe> {
    LADDER.iter().find(|recipe| recipe.element == element)
}

const FAST: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);

/// Every encoder, best first for its codec.
pub static LADDER: &[Recipe] = &[
    nvidia("nvautogpuh264enc"),
    nvidia("nvcudah264enc"),
    nvidia("nvh264enc"),
    va("vah264lpenc"),
    va("vah264enc"),
    Recipe {
        codec: VideoCodec::H264,
        element: "qsvh264enc",
        format: "NV12",
        parse: true,
        depth: 2,
        rate: ("bitrate", 1),
        rate_interval: SELDOM,
        properties: |_| {
            pairs(&[
                ("b-frames", "0"),
                ("ref-frames", "1"),
                ("gop-size", "0"),
                ("low-latency", "true"),
                ("rate-control", "cbr"),
                ("target-usage", "7"),
            ])
        },
    },
    Recipe {
        codec: VideoCodec::H264,
        element: "x264enc",
        format: "I420",
        parse: false,
        depth: 1,
        rate: ("bitrate", 1),
        rate_interval: FAST,
        properties: x264,
    },
    Recipe {
        codec: VideoCodec::H264,
        element: "openh264enc",
        format: "I420",
        parse: true,
        depth: 1,
        rate: ("bitrate", 1000),
        rate_interval: FAST,
        properties: openh264,
    },
    Recipe {
        codec: VideoCodec::VP8,
        element: "vp8enc",
        format: "I420",
        parse: false,
        depth: 1,
        rate: ("target-bitrate", 1000),
        rate_interval: FAST,
        properties: vp8,
    },
];

const fn nvidia(element: &'static str) -> Recipe {
    Recipe {
        codec: VideoCodec::H264,
        element,
        format: "I420",
        parse: true,
        depth: 2,
        rate: ("bitrate", 1),
        rate_interval: SELDOM,
        properties: |settings| {
            let mut all = pairs(&[
                ("preset", "p2"),
                ("tune", "ultra-low-latency"),
                ("zerolatency", "true"),
                ("zero-reorder-delay", "true"),
                ("rc-mode", "cbr"),
                ("rc-lookahead", "0"),
                ("bframes", "0"),
                ("b-frames", "0"),
                ("gop-size", "-1"),
                ("strict-gop", "true"),
                ("repeat-sequence-header", "true"),
                ("aud", "false"),
            ]);
            all.push(("vbv-buffer-size", frame_kbit(settings).to_string()));
            all
        },
    }
}

const fn va(element: &'static str) -> Recipe {
    Recipe {
        codec: VideoCodec::H264,
        element,
        format: "NV12",
        parse: true,
        depth: 2,
        rate: ("bitrate", 1),
        rate_interval: SELDOM,
        properties: |settings| {
            let mut all = pairs(&[
                ("b-frames", "0"),
                ("ref-frames", "1"),
                ("key-int-max", "0"),
                ("rate-control", "cbr"),
                ("target-usage", "7"),
                ("aud", "false"),
            ]);
            all.push(("cpb-size", frame_kbit(settings).to_string()));
            all
        },
    }
}

fn x264(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut all = pairs(&[
        ("speed-preset", "ultrafast"),
        ("tune", "zerolatency"),
        ("bframes", "0"),
        ("b-adapt", "false"),
        ("ref", "1"),
        ("cabac", "false"),
        ("dct8x8", "false"),
        ("rc-lookahead", "0"),
        ("sync-lookahead", "0"),
        ("mb-tree", "false"),
        ("key-int-max", "2147483647"),
        ("sliced-threads", "true"),
        ("byte-stream", "true"),
        ("aud", "false"),
        ("insert-vui", "true"),
    ]);
    all.push(("threads", settings.threads.to_string()));
    // Milliseconds of the bit rate. One frame makes key frames unreadable; one and a half bounds
    // a key frame to about 25 ms of the path.
    all.push((
        "vbv-buf-capacity",
        (1500 / settings.shape.hz).max(8).to_string(),
    ));
    all
}

fn openh264(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut all = pairs(&[
        ("complexity", "low"),
        ("rate-control", "bitrate"),
        ("gop-size", "2147483647"),
        ("scene-change-detection", "false"),
        ("background-detection", "false"),
        ("enable-frame-skip", "false"),
        ("slice-mode", "n-slices"),
    ]);
    all.push(("num-slices", settings.threads.to_string()));
    all.push(("multi-thread", settings.threads.to_string()));
    all
}

fn vp8(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut all = pairs(&[
        ("deadline", "1"),
        ("cpu-used", "8"),
        ("end-usage", "cbr"),
        ("keyframe-mode", "disabled"),
        ("keyframe-max-dist", "2147483647"),
        ("lag-in-frames", "0"),
        ("error-resilient", "0"),
        ("dropframe-threshold", "0"),
        ("resize-allowed", "false"),
        ("min-quantizer", "4"),
        ("max-quantizer", "56"),
        ("static-threshold", "0"),
        ("buffer-size", "200"),
        ("buffer-initial-size", "100"),
        ("buffer-optimal-size", "120"),
        ("overshoot", "25"),
        ("undershoot", "95"),
    ]);
    all.push(("threads", settings.threads.to_string()));
    all
}

/// One frame at the bit rate, kbit, with room as for x264.
fn frame_kbit(settings: &Settings) -> u32 {
    (settings.kbps * 3 / 2 / settings.shape.hz).max(1)
}

fn pairs(all: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    all.iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}
