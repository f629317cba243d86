//! Encoders in hardware: NVENC, VA-API, Quick Sync. From memory all take NV12; NVENC and VA-API also
//! take pictures that are on their GPU already. Quick Sync shares no memory with OpenGL in
//! GStreamer; on Intel's GPUs VA-API does it.
//!
//! NVIDIA's need GStreamer 1.26 on drivers from 580 on; A100, H100 and H200 have no NVENC at all.
//! Each family exists under several names: the newest, which finds the GPU by itself, first.

use super::{Recipe, SELDOM, ZeroCopy, pairs};
use crate::encode::picture::Shape;
use nearlight_protocol::worker::VideoCodec;

pub(super) const NVIDIA_AV1: [Recipe; 3] = nvidia(
    VideoCodec::AV1,
    "av1parse",
    ["nvautogpuav1enc", "nvcudaav1enc", "nvav1enc"],
);
pub(super) const NVIDIA_H265: [Recipe; 3] = nvidia(
    VideoCodec::H265,
    "h265parse",
    ["nvautogpuh265enc", "nvcudah265enc", "nvh265enc"],
);
pub(super) const NVIDIA_H264: [Recipe; 3] = nvidia(
    VideoCodec::H264,
    "h264parse",
    ["nvautogpuh264enc", "nvcudah264enc", "nvh264enc"],
);
pub(super) const VA_AV1: Recipe = va(VideoCodec::AV1, "av1parse", "vaav1enc");
pub(super) const VA_H265: [Recipe; 2] = [
    va(VideoCodec::H265, "h265parse", "vah265lpenc"),
    va(VideoCodec::H265, "h265parse", "vah265enc"),
];
pub(super) const VA_H264: [Recipe; 2] = [
    va(VideoCodec::H264, "h264parse", "vah264lpenc"),
    va(VideoCodec::H264, "h264parse", "vah264enc"),
];
pub(super) const QSV_AV1: Recipe = qsv(VideoCodec::AV1, "av1parse", "qsvav1enc");
pub(super) const QSV_H265: Recipe = qsv(VideoCodec::H265, "h265parse", "qsvh265enc");
pub(super) const QSV_H264: Recipe = qsv(VideoCodec::H264, "h264parse", "qsvh264enc");

/// OpenGL imports, converts, and shares the result with CUDA.
const BY_GL: ZeroCopy = ZeroCopy {
    elements: &["glupload", "glcolorconvert"],
    memory: "memory:GLMemory",
};
/// VA's own post-processor imports and converts.
const BY_VA: ZeroCopy = ZeroCopy {
    elements: &["vapostproc"],
    memory: "memory:VAMemory",
};

/// What every hardware encoder has in common.
const fn base(codec: VideoCodec, parser: &'static str, element: &'static str) -> Recipe {
    Recipe {
        codec,
        element,
        format: "NV12",
        parser: Some(parser),
        zero_copy: None,
        depth: 2,
        by_caps_rate: true,
        on_gpu: true,
        buffer_at_start: false,
        demanding: false,
        rate_interval: SELDOM,
        rate: |_, kbps| vec![("bitrate", u64::from(kbps))],
        properties: |_| Vec::new(),
    }
}

const fn nvidia(
    codec: VideoCodec,
    parser: &'static str,
    elements: [&'static str; 3],
) -> [Recipe; 3] {
    [
        nvidia_one(codec, parser, elements[0]),
        nvidia_one(codec, parser, elements[1]),
        nvidia_one(codec, parser, elements[2]),
    ]
}

const fn nvidia_one(codec: VideoCodec, parser: &'static str, element: &'static str) -> Recipe {
    Recipe {
        properties: |settings| {
            let mut all = pairs(&[
                ("preset", "p2"),
                ("tune", "ultra-low-latency"),
                ("zerolatency", "true"),
                ("zero-reorder-delay", "true"),
                ("rc-mode", "cbr"),
                ("rate-control", "cbr"),
                ("rc-lookahead", "0"),
                ("bframes", "0"),
                ("b-frames", "0"),
                ("gop-size", "-1"),
                ("strict-gop", "true"),
                ("repeat-sequence-header", "true"),
                ("aud", "false"),
            ]);
            let kbit = frame_kbit(settings.shape, settings.kbps);
            all.push(("vbv-buffer-size", kbit.to_string()));
            all
        },
        zero_copy: Some(BY_GL),
        buffer_at_start: true,
        ..base(codec, parser, element)
    }
}

const fn va(codec: VideoCodec, parser: &'static str, element: &'static str) -> Recipe {
    Recipe {
        properties: |settings| {
            let mut all = pairs(&[
                ("b-frames", "0"),
                ("ref-frames", "1"),
                // The largest group; 0 would make a key frame every second.
                ("key-int-max", "1024"),
                // AV1: groups of one frame, so that nothing is reordered.
                ("gf-group-size", "1"),
                ("rate-control", "cbr"),
                ("target-usage", "7"),
                ("aud", "false"),
            ]);
            let kbit = frame_kbit(settings.shape, settings.kbps);
            all.push(("cpb-size", kbit.to_string()));
            all
        },
        zero_copy: Some(BY_VA),
        buffer_at_start: true,
        ..base(codec, parser, element)
    }
}

const fn qsv(codec: VideoCodec, parser: &'static str, element: &'static str) -> Recipe {
    Recipe {
        properties: |_| {
            pairs(&[
                ("b-frames", "0"),
                ("ref-frames", "1"),
                // The largest group; 0 leaves it to the driver.
                ("gop-size", "65535"),
                ("low-latency", "true"),
                ("rate-control", "cbr"),
                ("target-usage", "7"),
            ])
        },
        ..base(codec, parser, element)
    }
}

/// One frame at the bit rate and half of another, kbit.
fn frame_kbit(shape: Shape, kbps: u32) -> u32 {
    (kbps * 3 / 2 / shape.hz).max(1)
}
