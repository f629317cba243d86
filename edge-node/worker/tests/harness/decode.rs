//! A decoder that shares no code with the worker's encoders, to see what a browser would see.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use nearlight_protocol::worker::{Video, VideoCodec};

/// A decoded picture, I420.
pub struct Picture {
    pub width: u32,
    pub height: u32,
    planes: Vec<u8>,
    offsets: [usize; 3],
    strides: [i32; 3],
}

impl Picture {
    /// Y, U and V at a pixel.
    pub fn yuv(&self, x: u32, y: u32) -> [u8; 3] {
        let at = |plane: usize, x: u32, y: u32| {
            let row = self.strides[plane] as usize * y as usize;
            self.planes[self.offsets[plane] + row + x as usize]
        };
        [at(0, x, y), at(1, x / 2, y / 2), at(2, x / 2, y / 2)]
    }

    /// The luma, and how many bytes it is from row to row.
    pub fn luma(&self) -> (&[u8], usize) {
        let luma = &self.planes[self.offsets[0]..self.offsets[1]];
        (luma, self.strides[0] as usize)
    }

    /// Whether the pixel is near an RGB colour, BT.709 limited range.
    pub fn is_near(&self, x: u32, y: u32, rgb: [u8; 3]) -> bool {
        let [r, g, b] = rgb.map(|c| f64::from(c) / 255.0);
        let luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        let expected = [
            16.0 + 219.0 * luma,
            128.0 + 224.0 * (b - luma) / 1.8556,
            128.0 + 224.0 * (r - luma) / 1.5748,
        ];
        let got = self.yuv(x, y);
        got.iter()
            .zip(expected)
            .all(|(got, want)| (f64::from(*got) - want).abs() <= 12.0)
    }
}

/// Decodes access units in order and returns the pictures.
pub fn decode(videos: &[Video]) -> Vec<Picture> {
    gst::init().unwrap();
    let codec = videos.first().expect("something to decode").codec;
    let (caps, decoder) = match codec {
        VideoCodec::H264 => (
            "video/x-h264,stream-format=byte-stream,alignment=au",
            "h264parse ! openh264dec",
        ),
        VideoCodec::VP8 => ("video/x-vp8", "vp8dec"),
        VideoCodec::VP9 => ("video/x-vp9", "vp9dec"),
        VideoCodec::H265 => ("video/x-h265", "avdec_h265"),
        VideoCodec::AV1 => ("video/x-av1", "dav1ddec"),
    };
    let line = format!(
        "appsrc name=in format=time caps={caps} ! {decoder} ! \
         video/x-raw,format=I420 ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&line)
        .expect("GStreamer's decoders (Debian package gstreamer1.0-plugins-bad)")
        .downcast::<gst::Pipeline>()
        .unwrap();
    let source = pipeline
        .by_name("in")
        .unwrap()
        .downcast::<gst_app::AppSrc>()
        .unwrap();
    let sink = pipeline
        .by_name("out")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (n, video) in videos.iter().enumerate() {
        let mut buffer = gst::Buffer::from_slice(video.data.clone());
        let pts = gst::ClockTime::from_mseconds(n as u64 * 16);
        buffer.get_mut().unwrap().set_pts(pts);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let mut pictures = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let info = gstreamer_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let (offset, stride) = (info.offset(), info.stride());
        pictures.push(Picture {
            width: info.width(),
            height: info.height(),
            planes: sample.buffer().unwrap().map_readable().unwrap().to_vec(),
            offsets: [offset[0], offset[1], offset[2]],
            strides: [stride[0], stride[1], stride[2]],
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    pictures
}
