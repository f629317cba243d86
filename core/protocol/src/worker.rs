//! The worker socket: how the edge agent and a session worker talk on one host.
//!
//! A `SOCK_STREAM` Unix socket that the worker listens on and the agent connects to, so that a
//! restarted agent finds a worker that went on without it. One connection at a time; a new one
//! replaces the old. Frames are little-endian: `[len u32][kind u8][payload; len - 1]`.
//!
//! ```text
//! agent -> worker   0x01 Attach json   0x02 Detach   0x03 Input [host_us u64][packet]
//!                   0x04 KeyFrame      0x05 Target json   0x06 Shutdown  0x07 Display json
//!                   0x08 Hold [until_us u64]
//! worker -> agent   0x81 Ready json    0x82 Video [header 46 bytes][access unit]
//!                   0x83 Audio [pts_us u64][opus]  0x84 Notice json  0x85 Counters json
//!                   0x86 FirstFrame    0x87 Failed json
//! ```
//!
//! On every connection the worker first sends `Ready`, then `FirstFrame` if there was one. It sends
//! `Ready` again when other encoders work than before, and in answer to an `Attach` for a codec that
//! none makes: nothing is encoded then until another `Attach`.
//! The worker encodes only between `Attach` and `Detach` (or the loss of the connection), and
//! starts each attachment with a key frame and the current cursor, pointer-lock wish and display.

use crate::api::EndReason;
use crate::app::DisplayMode;
use crate::bytes::Reader;
use crate::id::SessionId;
use crate::limits::{NOTICE_BYTES_MAX, WORKER_FRAME_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A video codec, as SDP names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VideoCodec {
    /// H.264 constrained baseline (RFC 6184), Annex B access units.
    H264,
    /// VP8 (RFC 7741).
    VP8,
    /// VP9 profile 0 (RFC 9628).
    VP9,
    /// HEVC main profile (RFC 7798), Annex B access units.
    H265,
    /// AV1 main profile (RTP Payload Format For AV1, AOM), low-overhead temporal units.
    AV1,
}

impl VideoCodec {
    /// Its number in a [`Video`] header.
    fn number(self) -> u8 {
        match self {
            Self::H264 => 0,
            Self::VP8 => 1,
            Self::VP9 => 2,
            Self::H265 => 3,
            Self::AV1 => 4,
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::H264,
            1 => Self::VP8,
            2 => Self::VP9,
            3 => Self::H265,
            4 => Self::AV1,
            _ => return None,
        })
    }
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// A viewer is attached: encode for it.
    Attach(Attach),
    /// The viewer is gone: stop encoding, release every key.
    Detach,
    /// An input packet that has been decoded once, so it is valid.
    Input {
        /// When the agent got it, host monotonic microseconds.
        host_us: u64,
        /// The packet, as the browser sent it.
        packet: Vec<u8>,
    },
    /// The viewer needs a key frame.
    KeyFrame,
    /// What the path carries, for the encoder.
    Target(Target),
    /// End: close the desktop and exit.
    Shutdown,
    /// The display that the player's screen wants.
    Display(DisplayMode),
    /// The path is behind: start no picture before then, and then encode the newest one. A frame
    /// that is not encoded costs nothing; one that is encoded and not sent costs a key frame.
    Hold {
        /// Host monotonic microseconds. A later message replaces an earlier one; 0 ends it.
        until_us: u64,
    },
}

/// How to encode for a viewer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The codec that the viewer takes.
    pub codec: VideoCodec,
    /// What to start with.
    pub target: Target,
    /// The display that the player's screen wants, or `None` to leave it as it is.
    #[serde(default)]
    pub display: Option<DisplayMode>,
    /// Whose marker pictures carry; agents of before do not say, and pictures carry none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// What the encoder is to make of the display: the ladder's rung and the bit rate. Changes are
/// seldom; an equal one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Video bit rate, kbit/s, without packet headers, retransmissions and repair packets.
    pub kbps: u32,
    /// The encoded picture's sides in percent of the display's: 100, 75, 50 or 25.
    pub scale_percent: u8,
    /// Frames per second at most; the display itself goes on at its own rate.
    pub fps_max: u32,
}

impl Target {
    /// Everything at its best, at `kbps`.
    pub fn full(kbps: u32) -> Self {
        Self {
            kbps,
            scale_percent: 100,
            fps_max: crate::limits::DISPLAY_HZ_MAX,
        }
    }
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// Its sockets are bound: the app may start; or other encoders work than before.
    Ready(Ready),
    /// An access unit.
    Video(Video),
    /// An Opus packet of 10 ms.
    Audio {
        /// Host monotonic microseconds of its first sample.
        pts_us: u64,
        /// The packet.
        data: Vec<u8>,
    },
    /// For the browser, as it is: JSON of a [`crate::notice::Notice`].
    Notice(Vec<u8>),
    /// Totals since the worker started, and what it encodes now. Every second, when display or
    /// target change, and once before it exits.
    Counters(Counters),
    /// The app showed its first picture.
    FirstFrame,
    /// The session cannot go on.
    Failed(Failed),
}

/// The worker's sockets are bound, and it encodes so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Display width, pixels.
    pub width: u32,
    /// Display height, pixels.
    pub height: u32,
    /// Codecs with an encoder that works, best first, and the encoder's name.
    pub encoders: Vec<(VideoCodec, String)>,
}

/// An access unit and where it spent its time. Times are host monotonic microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Its codec.
    pub codec: VideoCodec,
    /// Whether decoding can start here.
    pub key: bool,
    /// Number of the commit, from 1.
    pub frame: u32,
    /// When the app committed it; also its RTP timestamp, at 90 kHz.
    pub commit_us: u64,
    /// When it was converted and handed to the encoder.
    pub captured_us: u64,
    /// When the encoder returned it.
    pub encoded_us: u64,
    /// Browser time of the newest input injected before the commit, or 0.
    pub input_us: u64,
    /// Host time at which the agent got that input, or 0.
    pub input_host_us: u64,
    /// The access unit.
    pub data: Vec<u8>,
}

/// Totals of a worker since it started, and what it encodes now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Commits of a new picture by the app.
    pub committed: u64,
    /// Access units handed to the agent.
    pub encoded: u64,
    /// Commits that made no access unit, by reason. With `in_flight` and `encoded` they add up to
    /// `committed`.
    pub dropped: BTreeMap<DropReason, u64>,
    /// Commits in the encoder now.
    pub in_flight: u64,
    /// Access units handed to the agent that show an earlier commit once more: for a new viewer, a
    /// key frame, or better quality on a static screen. They belong to no commit, so the agent
    /// counts `encoded + repeated` access units.
    #[serde(default)]
    pub repeated: u64,
    /// Input events injected, by kind.
    pub injected: BTreeMap<String, u64>,
    /// Opus packets handed to the agent.
    pub audio_packets: u64,
    /// Audio: milliseconds of silence put in because an app's stream ran dry.
    pub audio_underrun_ms: u64,
    /// The encoder in use, or empty.
    pub encoder: String,
    /// The display that apps see now.
    #[serde(default)]
    pub display: Option<DisplayMode>,
    /// Width of the pictures that the encoder gets, pixels.
    #[serde(default)]
    pub encoded_width: u32,
    /// Height of them, pixels.
    #[serde(default)]
    pub encoded_height: u32,
    /// Frames per second at most that the encoder gets.
    #[serde(default)]
    pub fps_max: u32,
    /// How the newest picture reached the encoder.
    #[serde(default)]
    pub pictures: PicturePath,
    /// Whether it carries the session's marker, if it is large enough for one.
    #[serde(default)]
    pub marked: bool,
}

/// The way of a picture from the app to the encoder, the cheapest last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PicturePath {
    /// Through memory alone: what the app wrote there is converted by CPU.
    #[default]
    Memory,
    /// Drawn on the GPU, read back and converted by CPU.
    Readback,
    /// Drawn on the GPU and encoded from there.
    ZeroCopy,
}

/// Why a commit made no access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// Nobody watches.
    NoViewer,
    /// A newer commit came before the encoder was free.
    Superseded,
    /// The app commits faster than the display's rate.
    OverRate,
    /// The encoder failed on it.
    Encoder,
    /// The agent did not take it: gone, or its socket full.
    AgentBehind,
    /// The commit had no picture that can be read.
    Unreadable,
}

/// The session cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Why.
    pub reason: EndReason,
    /// For the log.
    pub detail: String,
}

/// Why bytes are no frame of this wire. The connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is zero or above the limit of its kind.
    #[error("frame length {0} is out of range")]
    Length(u32),
    /// No such kind, or a payload that is not of its kind.
    #[error("malformed frame of kind {0:#04x}")]
    Malformed(u8),
}

const KIND_VIDEO: u8 = 0x82;
/// Largest frame of any other kind, bytes: a notice.
const SMALL_FRAME_BYTES_MAX: usize = 1 + NOTICE_BYTES_MAX;

/// How long the frame at the front of `bytes` is, header included, once its header is there: four bytes,
/// or five of a long one.
///
/// # Errors
/// [`FrameError::Length`] if no frame of its kind can be that long.
pub fn frame_len(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let mut r = Reader(bytes);
    let Some(len) = r.u32() else {
        return Ok(None);
    };
    if len == 0 || len as usize > WORKER_FRAME_BYTES_MAX {
        return Err(FrameError::Length(len));
    }
    // All but pictures are read at once by whoever serves other sessions, too.
    if len as usize > SMALL_FRAME_BYTES_MAX {
        match r.u8() {
            None => return Ok(None),
            Some(KIND_VIDEO) => {}
            Some(_) => return Err(FrameError::Length(len)),
        }
    }
    Ok(Some(4 + len as usize))
}

impl ToWorker {
    /// Appends the frame to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Attach(attach) => frame(out, 0x01, |o| json_into(o, attach)),
            Self::Detach => frame(out, 0x02, |_| {}),
            Self::Input { host_us, packet } => frame(out, 0x03, |o| {
                o.extend(host_us.to_le_bytes());
                o.extend(packet);
            }),
            Self::KeyFrame => frame(out, 0x04, |_| {}),
            Self::Target(target) => frame(out, 0x05, |o| json_into(o, target)),
            Self::Shutdown => frame(out, 0x06, |_| {}),
            Self::Display(mode) => frame(out, 0x07, |o| json_into(o, mode)),
            Self::Hold { until_us } => frame(out, 0x08, |o| o.extend(until_us.to_le_bytes())),
        }
    }

    /// The message in one whole frame, header included.
    ///
    /// # Errors
    /// [`FrameError`] for anything else.
    pub fn decode(whole: &[u8]) -> Result<Self, FrameError> {
        let (kind, mut r) = open(whole)?;
        let bad = FrameError::Malformed(kind);
        Ok(match kind {
            0x01 => Self::Attach(json(r.rest()).ok_or(bad)?),
            0x02 => Self::Detach,
            0x03 => Self::Input {
                host_us: r.u64().ok_or(bad)?,
                packet: r.rest().to_vec(),
            },
            0x04 => Self::KeyFrame,
            0x05 => Self::Target(json(r.rest()).ok_or(bad)?),
            0x06 => Self::Shutdown,
            0x07 => Self::Display(json(r.rest()).ok_or(bad)?),
            0x08 => Self::Hold {
                until_us: r.u64().filter(|_| r.is_empty()).ok_or(bad)?,
            },
            _ => return Err(bad),
        })
    }
}

impl FromWorker {
    /// Appends the frame to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready(ready) => frame(out, 0x81, |o| json_into(o, ready)),
            Self::Video(video) => frame(out, KIND_VIDEO, |o| {
                o.push(video.codec.number());
                o.push(u8::from(video.key));
                o.extend(video.frame.to_le_bytes());
                for time in [
                    video.commit_us,
                    video.captured_us,
                    video.encoded_us,
                    video.input_us,
                    video.input_host_us,
                ] {
                    o.extend(time.to_le_bytes());
                }
                o.extend(&video.data);
            }),
            Self::Audio { pts_us, data } => frame(out, 0x83, |o| {
                o.extend(pts_us.to_le_bytes());
                o.extend(data);
            }),
            Self::Notice(json) => frame(out, 0x84, |o| o.extend(json)),
            Self::Counters(counters) => frame(out, 0x85, |o| json_into(o, counters)),
            Self::FirstFrame => frame(out, 0x86, |_| {}),
            Self::Failed(failed) => frame(out, 0x87, |o| json_into(o, failed)),
        }
    }

    /// The message in one whole frame, header included.
    ///
    /// # Errors
    /// [`FrameError`] for anything else.
    pub fn decode(whole: &[u8]) -> Result<Self, FrameError> {
        let (kind, mut r) = open(whole)?;
        let bad = FrameError::Malformed(kind);
        Ok(match kind {
            0x81 => Self::Ready(json(r.rest()).ok_or(bad)?),
            KIND_VIDEO => Self::Video(Video {
                codec: r.u8().and_then(VideoCodec::of_number).ok_or(bad)?,
                key: r.u8().ok_or(bad)? != 0,
                frame: r.u32().ok_or(bad)?,
                commit_us: r.u64().ok_or(bad)?,
                captured_us: r.u64().ok_or(bad)?,
                encoded_us: r.u64().ok_or(bad)?,
                input_us: r.u64().ok_or(bad)?,
                input_host_us: r.u64().ok_or(bad)?,
                data: r.rest().to_vec(),
            }),
            0x83 => Self::Audio {
                pts_us: r.u64().ok_or(bad)?,
                data: r.rest().to_vec(),
            },
            0x84 => Self::Notice(r.rest().to_vec()),
            0x85 => Self::Counters(json(r.rest()).ok_or(bad)?),
            0x86 => Self::FirstFrame,
            0x87 => Self::Failed(json(r.rest()).ok_or(bad)?),
            _ => return Err(bad),
        })
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.push(kind);
    payload(out);
    let len = u32::try_from(out.len() - start - 4).expect("a frame is far below 4 GiB");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

fn open(whole: &[u8]) -> Result<(u8, Reader<'_>), FrameError> {
    let mut r = Reader(whole);
    let len = r.u32().ok_or(FrameError::Length(0))?;
    let kind = r.u8().ok_or(FrameError::Length(len))?;
    if whole.len() != 4 + len as usize {
        return Err(FrameError::Length(len));
    }
    Ok((kind, r))
}

fn json<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn json_into<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value)
        .expect("these types have string keys and no failing serializer");
}

#[cfg(test)]
#[path = "worker/test.rs"]
mod test;
