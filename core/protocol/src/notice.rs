//! What the edge tells the browser beside the media: JSON notices on the data channel `control`,
//! and small binary marks on `motion`.
//!
//! Both channels are negotiated (no DCEP): `motion` is stream 0, unordered, no retransmits;
//! `control` is stream 1, ordered and reliable. The edge speaks first: a player says nothing on
//! `control` before it has heard the edge, whose end opens later than the browser's and loses what
//! comes before. Binary marks are little-endian:
//!
//! ```text
//! Pong   [version=1][kind=0x81][client_us u64][host_us u64]
//! Frame  [version=1][kind=0x82][rtp_timestamp u32][frame u32][commit_us u64][captured_us u64]
//!        [encoded_us u64][sent_us u64][input_us u64][input_host_us u64]
//! Train  [version=1][kind=0x83][train u8][seq u16][count u16][sent_us u64][padding to 1100 bytes]
//! ```
//!
//! Trains are sent in a line check only: the messages of one train follow each other as fast as the
//! edge paces them, so the browser can tell the path's capacity from how far they spread.
//!
//! Marks of frames come behind their frames, some together: up to about a fifth of a second later.
//!
//! Host times are the node's monotonic clock in microseconds. `client_us` and `input_us` are the
//! browser's own, echoed: `input_us` belongs to the newest input that was injected before the
//! frame was committed, or is 0; `input_host_us` is when the node got that input, or 0.

use crate::api::EndReason;
use crate::bytes::Reader;
use serde::{Deserialize, Serialize};

/// Stream id of the data channel for motion and marks.
pub const MOTION_CHANNEL: u16 = 0;
/// Stream id of the data channel for keys, text and notices.
pub const CONTROL_CHANNEL: u16 = 1;

/// A JSON notice from the edge to the browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
    /// The edge listens: the first notice, and what a player waits for before it says anything.
    Ready {
        /// It takes [`crate::input::Event::Shown`]. One that does not say so may take three of them for a breach.
        #[serde(default)]
        hears_shown: bool,
    },
    /// The cursor that the app wants.
    Cursor {
        /// Its shape.
        cursor: Cursor,
    },
    /// Text that the app put on its clipboard.
    Clipboard {
        /// UTF-8, at most [`crate::limits::CLIPBOARD_BYTES_MAX`] bytes.
        text: String,
    },
    /// The app locked or confined the pointer (`true`) or let go: the browser should ask for
    /// pointer lock and send relative motion.
    PointerLock {
        /// Whether it is wanted.
        wanted: bool,
    },
    /// The display's size changed.
    Display {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The session will end by itself unless there is input (idle) or in any case.
    EndingSoon {
        /// Why.
        reason: EndReason,
        /// Seconds from now.
        in_s: u32,
    },
    /// What [`Notice::EndingSoon`] said last does not hold.
    GoesOn,
    /// How the stream goes, about once a second.
    Stream {
        /// The state of it.
        stream: StreamState,
    },
    /// How many others watch the session.
    Watchers {
        /// Viewers on watch links.
        count: u32,
    },
    /// This attachment is over; the session may go on.
    Detached {
        /// Why.
        reason: DetachReason,
    },
    /// The session is over.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// How the stream goes, as its sender sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
pub struct StreamState {
    /// What congestion control gives the encoder, kbit/s.
    pub kbps_target: u32,
    /// What it believes the path carries, kbit/s.
    pub kbps_path: u32,
    /// Round trip, milliseconds.
    pub rtt_ms: u32,
    /// Delay in queues on the path, beyond the least one seen, milliseconds.
    pub queue_ms: u32,
    /// Packets lost on the path, per mille, over the last seconds.
    pub loss_permille: u32,
    /// Encoded picture width, pixels.
    pub width: u32,
    /// Encoded picture height, pixels.
    pub height: u32,
    /// Frames per second at most.
    pub fps_max: u32,
    /// The encoder, such as `x264enc`.
    pub encoder: String,
    /// What keeps the picture from being better.
    pub limited_by: LimitedBy,
    /// How lost packets are made good.
    pub repair: Repair,
    /// The most that the operator lets the session take of any path, headers and repair included, kbit/s; nodes of
    /// before do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub kbps_max: Option<u32>,
    /// Whether pictures carry the session's marker; nodes of before do not say, and theirs carry none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub marked: Option<bool>,
}

/// What keeps the picture from being better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum LimitedBy {
    /// Nothing: the app draws what the display can show.
    Nothing,
    /// The path's capacity.
    Capacity,
    /// The path's losses.
    Loss,
    /// The node's uplink, which other sessions share.
    Uplink,
    /// The node cannot encode or draw fast enough.
    Node,
    /// The player's own settings.
    Player,
    /// The operator's: no session gets more ([`StreamState::kbps_max`]).
    Operator,
}

/// How lost packets are made good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The viewer offers no way; a key frame follows a loss.
    KeyFrame,
    /// Sent again when the viewer asks (RTX, RFC 4588).
    Rtx,
    /// Repair packets beside the stream (FlexFEC, RFC 8627), and RTX.
    FlexFec,
}

/// The cursor that the app wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cursor {
    /// None.
    Hidden,
    /// A name of CSS `cursor`, such as `default` or `text`.
    Named {
        /// The CSS name.
        name: String,
    },
    /// An image.
    Image {
        /// Base64 of a PNG, at most [`crate::limits::CURSOR_SIDE_MAX`] pixels a side.
        png: String,
        /// The pixel that points.
        hotspot_x: u32,
        /// The pixel that points.
        hotspot_y: u32,
    },
}

/// Why an attachment ended while its session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ts_rs::TS)]
#[serde(rename_all = "kebab-case")]
pub enum DetachReason {
    /// The owner attached elsewhere.
    TakenOver,
    /// The edge is shutting its transport down.
    NodeRestarting,
    /// The browser broke the protocol.
    ProtocolError,
    /// The watch link was revoked or has expired.
    LinkRevoked,
    /// The stream goes on in a codec that was not agreed with this viewer: attach again.
    CodecChanged,
}

/// Version byte of the binary marks.
pub const MARK_VERSION: u8 = 1;
const KIND_PONG: u8 = 0x81;
const KIND_FRAME: u8 = 0x82;
const KIND_TRAIN: u8 = 0x83;
/// Size of a [`Mark::Train`], bytes: with SCTP, DTLS, UDP and IP it fills a packet of about 1200.
pub const TRAIN_BYTES: usize = 1100;

/// A binary mark from the edge to the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The answer to an input ping.
    Pong {
        /// The ping's own time.
        client_us: u64,
        /// When the edge answered.
        host_us: u64,
    },
    /// Where one frame spent its time on the node.
    Frame {
        /// Matches `rtpTimestamp` of requestVideoFrameCallback.
        rtp_timestamp: u32,
        /// Number of the commit.
        frame: u32,
        /// When the app committed it.
        commit_us: u64,
        /// When it was converted and handed to the encoder.
        captured_us: u64,
        /// When the encoder had its access unit.
        encoded_us: u64,
        /// When its last packet was handed to the kernel.
        sent_us: u64,
        /// Browser time of the newest input injected before the commit, or 0.
        input_us: u64,
        /// When the node got that input, or 0.
        input_host_us: u64,
    },
    /// One message of a train of a line check. [`TRAIN_BYTES`] long; the padding says nothing.
    Train {
        /// Number of the train, from 0.
        train: u8,
        /// Number of the message in it, from 0.
        seq: u16,
        /// Messages in the train.
        count: u16,
        /// When the edge sent it.
        sent_us: u64,
    },
}

impl Mark {
    /// The mark as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let size = match self {
            Self::Pong { .. } | Self::Frame { .. } => 58,
            Self::Train { .. } => TRAIN_BYTES,
        };
        let mut out = Vec::with_capacity(size);
        out.push(MARK_VERSION);
        match *self {
            Self::Pong { client_us, host_us } => {
                out.push(KIND_PONG);
                out.extend(client_us.to_le_bytes());
                out.extend(host_us.to_le_bytes());
            }
            Self::Frame {
                rtp_timestamp,
                frame,
                commit_us,
                captured_us,
                encoded_us,
                sent_us,
                input_us,
                input_host_us,
            } => {
                out.push(KIND_FRAME);
                out.extend(rtp_timestamp.to_le_bytes());
                out.extend(frame.to_le_bytes());
                for time in [
                    commit_us,
                    captured_us,
                    encoded_us,
                    sent_us,
                    input_us,
                    input_host_us,
                ] {
                    out.extend(time.to_le_bytes());
                }
            }
            Self::Train {
                train,
                seq,
                count,
                sent_us,
            } => {
                out.extend([KIND_TRAIN, train]);
                out.extend(seq.to_le_bytes());
                out.extend(count.to_le_bytes());
                out.extend(sent_us.to_le_bytes());
                out.resize(TRAIN_BYTES, 0);
            }
        }
        out
    }

    /// The mark in `bytes`, or `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader(bytes);
        if r.u8()? != MARK_VERSION {
            return None;
        }
        let mark = match r.u8()? {
            KIND_PONG => Self::Pong {
                client_us: r.u64()?,
                host_us: r.u64()?,
            },
            KIND_FRAME => Self::Frame {
                rtp_timestamp: r.u32()?,
                frame: r.u32()?,
                commit_us: r.u64()?,
                captured_us: r.u64()?,
                encoded_us: r.u64()?,
                sent_us: r.u64()?,
                input_us: r.u64()?,
                input_host_us: r.u64()?,
            },
            KIND_TRAIN if bytes.len() == TRAIN_BYTES => {
                let mark = Self::Train {
                    train: r.u8()?,
                    seq: r.u16()?,
                    count: r.u16()?,
                    sent_us: r.u64()?,
                };
                return Some(mark);
            }
            _ => return None,
        };
        r.is_empty().then_some(mark)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_train_is_padded_to_its_size_and_no_other_size_is_one() {
        let train = Mark::Train {
            train: 2,
            seq: 0x0102,
            count: 0x0304,
            sent_us: 5,
        };
        let bytes = train.encode();
        assert_eq!(bytes.len(), TRAIN_BYTES);
        let head = [1, 0x83, 2, 2, 1, 4, 3, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes[..head.len()], head);
        assert!(bytes[head.len()..].iter().all(|byte| *byte == 0));
        assert_eq!(Mark::decode(&bytes), Some(train));
        assert_eq!(Mark::decode(&bytes[..TRAIN_BYTES - 1]), None);
        assert_eq!(Mark::decode(&[bytes, vec![0]].concat()), None);
    }
}
