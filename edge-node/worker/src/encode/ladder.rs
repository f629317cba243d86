//! The encoders we know and how each is told the same thing: one reference, no B-frames, key frames
//! on request only, constant bit rate with a buffer of a few frames.
//!
//! In order: hardware that makes AV1, HEVC, H.264, then software that makes H.264, VP8, VP9. Of the
//! codecs that a viewer takes the first in this order that works is chosen, and of its encoders the first. An
//! element that is not installed, or whose hardware is missing, fails its probe and is left out;
//! slow software codecs stay out unless they encode 720p at 60 frames a second with time to spare.
//!
//! No recipe refreshes by moving bands of intra blocks: a WebRTC receiver decodes only frames with
//! all their references, so after a loss that nothing repaired it waits for a key frame anyway, and
//! x264 would have to restart for it.

mod hardware;
pub(super) mod software;

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
    /// The parser that its output needs for headers in band and whole access units.
    pub parser: Option<&'static str>,
    /// How it takes pictures that are on its GPU already, if there is a way.
    pub zero_copy: Option<ZeroCopy>,
    /// Frames in it at a time. Two where the hardware works while we convert the next.
    pub depth: usize,
    /// Whether it gives each picture the bit rate over the rate in its caps, however rare pictures
    /// are. Others go by the pictures' times.
    pub by_caps_rate: bool,
    /// Whether it takes one of the streams that its GPU gives out: the one before it has to be closed,
    /// or there is one too many.
    pub on_gpu: bool,
    /// Whether its buffer is that of the bit rate that it began with.
    pub buffer_at_start: bool,
    /// Whether it must prove that this machine is fast enough for it.
    pub demanding: bool,
    /// Changes of the bit rate are at least this far apart. NVENC is known to grow when it is
    /// reconfigured often.
    pub rate_interval: Duration,
    /// The properties that hold the bit rate, also while it runs.
    rate: fn(Shape, u32) -> Vec<(&'static str, u64)>,
    properties: fn(&Settings) -> Vec<(&'static str, String)>,
}

/// The way of a picture on the GPU to an encoder on it. It takes GStreamer 1.24, and is only used
/// where it was tried ([`super::probe::zero_copy`]).
#[derive(Clone, Copy, Debug)]
pub struct ZeroCopy {
    /// What imports the buffer and makes NV12 of it, on the GPU.
    pub elements: &'static [&'static str],
    /// Where that puts the result, as GStreamer's caps name it.
    pub memory: &'static str,
}

impl ZeroCopy {
    /// What the encoder is handed: BT.709 and limited range, like pictures in memory.
    pub fn caps(&self) -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .features([self.memory])
            .field("format", "NV12")
            .field("colorimetry", "bt709")
            .build()
    }
}

impl Recipe {
    /// Sets everything that the installed version of the element has.
    pub fn apply(&self, element: &gst::Element, settings: &Settings) {
        for (name, value) in (self.properties)(settings) {
            set(element, name, &value);
        }
        self.apply_kbps(element, settings.shape, settings.kbps);
    }

    /// Sets the bit rate, also while it runs.
    pub fn apply_kbps(&self, element: &gst::Element, shape: Shape, kbps: u32) {
        for (name, value) in (self.rate)(shape, kbps) {
            set(element, name, &value.to_string());
        }
    }
}

/// Sets a property if this version of the element has it and knows the value.
fn set(element: &gst::Element, name: &str, value: &str) {
    let Some(property) = element.find_property(name) else {
        return;
    };
    match gst::glib::Value::deserialize(value, property.value_type()) {
        Ok(value) => element.set_property_from_value(name, &value),
        Err(_) => tracing::debug!(
            encoder = %element.name(),
            name,
            value,
            "this version does not know the value"
        ),
    }
}

/// The recipe for a GStreamer element.
pub fn recipe(element: &str) -> Option<&'static Recipe> {
    LADDER.iter().copied().find(|r| r.element == element)
}

const FAST: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);

/// Every encoder, best first.
pub static LADDER: &[&Recipe] = &[
    &hardware::NVIDIA_AV1[0],
    &hardware::NVIDIA_AV1[1],
    &hardware::NVIDIA_AV1[2],
    &hardware::VA_AV1,
    &hardware::QSV_AV1,
    &hardware::NVIDIA_H265[0],
    &hardware::NVIDIA_H265[1],
    &hardware::NVIDIA_H265[2],
    &hardware::VA_H265[0],
    &hardware::VA_H265[1],
    &hardware::QSV_H265,
    &hardware::NVIDIA_H264[0],
    &hardware::NVIDIA_H264[1],
    &hardware::NVIDIA_H264[2],
    &hardware::VA_H264[0],
    &hardware::VA_H264[1],
    &hardware::QSV_H264,
    &software::X264,
    &software::OPENH264,
    &software::VP8,
    &software::VP9,
];

fn pairs(all: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    all.iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

#[cfg(test)]
mod test {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn hardware_comes_first_and_no_element_twice() {
        let names: BTreeSet<_> = LADDER.iter().map(|r| r.element).collect();
        assert_eq!(names.len(), LADDER.len());
        let place = |name| LADDER.iter().position(|r| r.element == name).unwrap();
        assert!(place("nvav1enc") < place("nvh265enc"));
        assert!(place("nvh265enc") < place("vah264enc"));
        assert!(place("qsvh264enc") < place("x264enc"));
        assert!(place("x264enc") < place("vp8enc"));
    }

    #[test]
    fn installed_elements_take_what_they_are_told() {
        gst::init().unwrap();
        let settings = Settings {
            shape: Shape {
                width: 1280,
                height: 720,
                hz: 60,
            },
            threads: 2,
            kbps: 2_000,
        };
        let element = gst::ElementFactory::make("x264enc").build().unwrap();
        recipe("x264enc").unwrap().apply(&element, &settings);
        assert_eq!(element.property::<u32>("bitrate"), 2_360);
        assert_eq!(element.property::<u32>("vbv-buf-capacity"), 41);
        assert!(!element.property::<bool>("cabac"));
        // A name or a value of another version is skipped.
        set(&element, "no-such-property", "1");
        set(&element, "speed-preset", "warp");
        assert_eq!(
            element.property_value("speed-preset").serialize().unwrap(),
            "ultrafast"
        );
    }
}
