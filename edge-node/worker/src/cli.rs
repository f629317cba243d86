//! The worker's command line. The edge agent starts it; people only run its probe and benchmark.

use crate::desktop::DisplaySize;
use clap::{ArgGroup, Parser};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::{DISPLAY_HZ_MAX, DISPLAY_SIDE_MAX, DISPLAY_SIDE_MIN};
use nearlight_protocol::worker::VideoCodec;
use std::path::PathBuf;

/// One session's desktop, sound and encoders.
#[derive(Clone, Debug, Parser)]
#[command(name = "edge-worker", version)]
#[command(group(ArgGroup::new("mode").args(["session", "probe_encoders", "try_encoders", "try_gpu", "bench_encoder", "synthetic"]).required(true)))]
pub struct Options {
    /// The session's id.
    #[arg(long, requires = "dir", value_parser = parse_session)]
    pub session: Option<SessionId>,
    /// The session's directory: `agent.sock` here, the app's sockets in `app/`.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Display width, pixels; odd sizes are rounded down.
    #[arg(long, default_value_t = 1280, value_parser = clap::value_parser!(u32).range(i64::from(DISPLAY_SIDE_MIN)..=i64::from(DISPLAY_SIDE_MAX)))]
    pub width: u32,
    /// Display height, pixels; odd sizes are rounded down.
    #[arg(long, default_value_t = 720, value_parser = clap::value_parser!(u32).range(i64::from(DISPLAY_SIDE_MIN)..=i64::from(DISPLAY_SIDE_MAX)))]
    pub height: u32,
    /// Display rate, Hz.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(DISPLAY_HZ_MAX)))]
    pub hz: u32,
    /// Pixels a second of any display of the session's, millions.
    #[arg(long, default_value_t = MPIXELS_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(MPIXELS_MAX)))]
    pub mpixels_max: u32,
    /// Keyboard layout to start with, an xkb name such as `us` or `de(nodeadkeys)`.
    #[arg(long, default_value = "us")]
    pub layout: String,
    /// Bit rate until the agent says another, kbit/s.
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub kbps: u32,
    /// Encoder threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub threads: u32,
    /// Encoders that are known to work, best first, as `--probe-encoders` printed them; saves the
    /// probe at start. Example: `H264:x264enc,VP8:vp8enc`.
    #[arg(long, value_delimiter = ',', value_parser = parse_encoder)]
    pub encoders: Vec<(VideoCodec, String)>,
    /// The render node of the session's GPU, such as `/dev/dri/renderD128`.
    #[arg(long, requires = "session")]
    pub render_node: Option<PathBuf>,
    /// Write captured frames as raw BGRx files to this directory, for `--bench-encoder`.
    #[arg(long, requires = "record_count")]
    pub record_frames: Option<PathBuf>,
    /// How many frames to write.
    #[arg(long)]
    pub record_count: Option<u32>,

    /// Try every encoder by encoding a frame, print those that work as JSON, and exit.
    #[arg(long)]
    pub probe_encoders: bool,
    /// The same for people and for checks: every encoder that is known, and why one does not work.
    #[arg(long)]
    pub try_encoders: bool,
    /// Try the GPU behind this render node: draw, import a buffer, encode without a copy. `software`
    /// stands for Mesa's renderer by CPU.
    #[arg(long, value_name = "NODE")]
    pub try_gpu: Option<PathBuf>,

    /// Measure conversion and encoding alone, at the display's rate, with frames of BGRx in this
    /// file (or directory of files, as `--record-frames` writes them), and exit.
    #[arg(long, value_name = "FILE")]
    pub bench_encoder: Option<PathBuf>,
    /// The same with a synthetic moving picture.
    #[arg(long)]
    pub synthetic: bool,
    /// Frames to measure.
    #[arg(long, default_value_t = 600)]
    pub frames: u32,
    /// Codec to measure.
    #[arg(long, default_value = "H264", value_parser = parse_codec)]
    pub codec: VideoCodec,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The largest display at the highest rate, and a little.
const MPIXELS_MAX: u32 =
    DISPLAY_SIDE_MAX * DISPLAY_SIDE_MAX / 1_000_000 * DISPLAY_HZ_MAX + DISPLAY_HZ_MAX;

impl Options {
    /// The same with a display of no more pixels a second than there may be.
    #[must_use]
    pub fn bounded(&self) -> Self {
        let (width, height) = self.display();
        let pixels_per_s = u64::from(width) * u64::from(height) * u64::from(self.hz);
        let mut bounded = self.clone();
        if pixels_per_s > self.pixels_per_s_max() {
            let wanted = DisplayMode {
                width,
                height,
                hz: self.hz,
            };
            let size = DisplaySize::fitting(wanted, self.pixels_per_s_max());
            (bounded.width, bounded.height, bounded.hz) = (size.width, size.height, size.hz);
        }
        bounded
    }

    /// Pixels a second of any display of the session's.
    pub fn pixels_per_s_max(&self) -> u64 {
        u64::from(self.mpixels_max) * 1_000_000
    }

    /// The display's size: even, for a chroma sample covers two pixels each way.
    pub fn display(&self) -> (u32, u32) {
        (self.width & !1, self.height & !1)
    }
}

fn parse_session(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|e| format!("{e}"))
}

fn parse_codec(text: &str) -> Result<VideoCodec, String> {
    match text {
        "H264" => Ok(VideoCodec::H264),
        "VP8" => Ok(VideoCodec::VP8),
        "VP9" => Ok(VideoCodec::VP9),
        "H265" => Ok(VideoCodec::H265),
        "AV1" => Ok(VideoCodec::AV1),
        other => Err(format!(
            "no codec {other:?}; say H264, VP8, VP9, H265 or AV1"
        )),
    }
}

fn parse_encoder(text: &str) -> Result<(VideoCodec, String), String> {
    let (codec, name) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is not CODEC:ENCODER, such as H264:x264enc"))?;
    Ok((parse_codec(codec)?, name.to_owned()))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_session_needs_a_directory_and_one_mode_is_needed() {
        for (args, ok) in [
            (
                &["--session", "ses_0192f0c1b2c37a4e8d5f6a7b8c9d0e1f"][..],
                false,
            ),
            (&["--probe-encoders"][..], true),
            (&["--try-encoders"][..], true),
            (&["--try-encoders", "--probe-encoders"][..], false),
            (&["--try-gpu", "/dev/dri/renderD128"][..], true),
            (&["--try-gpu"][..], false),
            (
                &["--try-encoders", "--render-node", "/dev/dri/renderD128"][..],
                false,
            ),
            (&["--synthetic", "--probe-encoders"][..], false),
            (&[][..], false),
            (&["--probe-encoders", "--width", "3"][..], false),
            (
                &["--probe-encoders", "--encoders", "H264:x264enc,VP8:vp8enc"][..],
                true,
            ),
            (&["--probe-encoders", "--encoders", "x264enc"][..], false),
        ] {
            let all = std::iter::once("edge-worker").chain(args.iter().copied());
            assert_eq!(Options::try_parse_from(all).is_ok(), ok, "{args:?}");
        }
    }
}
