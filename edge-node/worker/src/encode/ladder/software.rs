//! Encoders in software. None for AV1: libaom 3.6 behind GStreamer 1.22 aborts the process when its
//! bit rate changes, SVT-AV1 there looks ahead. None for HEVC: x265 is not made for this.

use super::{FAST, Recipe, Settings, pairs};
use crate::encode::picture::Shape;
use nearlight_protocol::worker::VideoCodec;

/// x264 keeps its buffer's average fill at the rate it is told, and so delivers less by a constant
/// part while the buffer is short: 85 percent at this length. It is told that much more.
const X264_TOLD_PERCENT: u64 = 118;
/// Its buffer, milliseconds of the display's frames times their rate: two and a half frames.
///
/// Measured at 720p60, calibrate's scenes, told as above. One frame: the most even sizes (the
/// largest of 100 is 1.1 of the mean), but a full flip leaves cells of the old picture for one or
/// two frames at 8 Mbit/s, and at 1 Mbit/s whole rows lose their residuals (PSNR of the worst frame
/// 9 dB, with this 33 dB). Six frames: 1.5 of the mean, and a key frame of 50 KB. This: 1.2 of the
/// mean, a key frame of 34 KB; bit rates within 2 percent of 8, 4.8 and 2 Mbit/s, and within 20
/// percent over the first half second after a step down.
const X264_BUFFER_MS_HZ: u64 = 2_500;
/// And at least what one plain flip takes at the worst quality: a bit for so many pixels.
const X264_PIXELS_PER_BUFFER_BIT: u64 = 10;

pub(super) const X264: Recipe = Recipe {
    codec: VideoCodec::H264,
    element: "x264enc",
    format: "I420",
    parser: None,
    zero_copy: None,
    depth: 1,
    by_caps_rate: true,
    on_gpu: false,
    buffer_at_start: false,
    demanding: false,
    rate_interval: FAST,
    rate: x264_rate,
    properties: x264,
};

/// For tests: one that is treated as if it were a GPU's.
#[cfg(test)]
pub(in crate::encode) static X264_AS_ON_GPU: Recipe = Recipe {
    on_gpu: true,
    buffer_at_start: true,
    by_caps_rate: false,
    // Whatever the machine is busy with, a test is over before.
    rate_interval: std::time::Duration::from_secs(3_600),
    ..X264
};

pub(super) const OPENH264: Recipe = Recipe {
    element: "openh264enc",
    parser: Some("h264parse"),
    by_caps_rate: false,
    rate: |_, kbps| vec![("bitrate", u64::from(kbps) * 1000)],
    properties: openh264,
    ..X264
};

pub(super) const VP8: Recipe = Recipe {
    codec: VideoCodec::VP8,
    element: "vp8enc",
    by_caps_rate: false,
    rate: |_, kbps| vec![("target-bitrate", u64::from(kbps) * 1000)],
    properties: vp8,
    ..X264
};

pub(super) const VP9: Recipe = Recipe {
    codec: VideoCodec::VP9,
    element: "vp9enc",
    demanding: true,
    properties: vp9,
    ..VP8
};

fn x264_rate(shape: Shape, kbps: u32) -> Vec<(&'static str, u64)> {
    let told = (u64::from(kbps) * X264_TOLD_PERCENT / 100).max(1);
    let flip_kbit =
        u64::from(shape.width) * u64::from(shape.height) / X264_PIXELS_PER_BUFFER_BIT / 1000;
    let frames_ms = X264_BUFFER_MS_HZ / u64::from(shape.hz.max(1));
    let buffer_ms = frames_ms.max(flip_kbit * 1000 / told).min(1000);
    vec![("bitrate", told), ("vbv-buf-capacity", buffer_ms)]
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

/// One thread: libvpx's VP8 threads wait for each other by spinning. On a full machine a picture of
/// 720p then costs 65 ms of processor time instead of 6.
fn vp8(_: &Settings) -> Vec<(&'static str, String)> {
    let mut all = libvpx();
    all.push(("threads", "1".to_owned()));
    all
}

fn libvpx() -> Vec<(&'static str, String)> {
    pairs(&[
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
    ])
}

fn vp9(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut all = libvpx();
    all.push(("threads", settings.threads.to_string()));
    all.extend(pairs(&[
        ("row-mt", "true"),
        // A power of two, and no tile is narrower than 256 pixels.
        ("tile-columns", "2"),
        ("frame-parallel-decoding", "false"),
        // Cyclic refresh: a picture that stands still gets better block by block.
        ("aq-mode", "cyclic-refresh"),
    ]));
    all
}
