//! A native receiver: one WebRTC peer on threads of its own, made of the crate `webrtc`, which shares
//! no code with the node's transport but the protocol core.
//!
//! ```text
//! new (an offer) --connect(answer)--> connected --leave--> gone, having said so
//!                                         `------drop----> gone without a word
//! ```
//!
//! Owns its runtime, so whatever happens within the crate is over when this is dropped. Invariants:
//! what arrives is stamped when the crate hands it out, on the monotonic clock; the queue to the
//! reader is bounded, and what it did not take is counted.
//!
//! Does not know: brokers and sessions. Whoever drives it carries the offer and brings the answer.
#![allow(
    clippy::disallowed_methods,
    reason = "a viewer's tasks belong to its runtime and end with it"
)]

mod guise;
mod peer;

use crate::clock;
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use nearlight_protocol::input::{self, Packet as Input};
use nearlight_protocol::notice::{Mark, Notice};
use nearlight_protocol::worker::VideoCodec;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_remote::TrackRemote;
use webrtc::peer_connection::{PeerConnection, RTCPeerConnectionState, RTCSessionDescription};

/// How long a connection may take, DTLS on a busy machine included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);
/// How long a farewell may take.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5);

/// What the viewer can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// H.264, constrained baseline.
    H264,
    /// VP8.
    Vp8,
    /// HEVC, main profile.
    H265,
    /// AV1, main profile.
    Av1,
    /// VP9, profile 0.
    Vp9,
}

impl From<Codec> for VideoCodec {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::H264 => Self::H264,
            Codec::Vp8 => Self::VP8,
            Codec::H265 => Self::H265,
            Codec::Av1 => Self::AV1,
            Codec::Vp9 => Self::VP9,
        }
    }
}

/// What a viewer is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The one codec in its offer.
    pub codec: Codec,
    /// Whether it has the data channels of a player, or only watches.
    pub channels: bool,
    /// Address to send from.
    pub bind: IpAddr,
    /// Whether it offers what a browser's page does, whatever the codec, and sends its candidates later.
    pub as_browser: bool,
}

/// What reaches a viewer.
#[derive(Debug)]
pub enum Arrival {
    /// A packet of the picture.
    Video {
        /// The packet, retransmissions included.
        packet: rtc::rtp::Packet,
        /// When, on the monotonic clock.
        at_us: u64,
    },
    /// A packet of the sound.
    Audio,
    /// A mark on `motion`.
    Mark {
        /// The mark.
        mark: Mark,
        /// When, on the monotonic clock.
        at_us: u64,
    },
    /// A notice on `control`.
    Notice(Notice),
    /// The connection changed.
    State(RTCPeerConnectionState),
    /// Something that is not our wire.
    Foreign(&'static str),
}

/// The receiver. See the module.
pub struct Viewer {
    runtime: Option<Runtime>,
    connection: Arc<dyn PeerConnection>,
    channels: Option<Channels>,
    offer: String,
    fragment: Option<String>,
    arrivals: Receiver<Arrival>,
    shared: Arc<Shared>,
}

struct Channels {
    motion: Arc<dyn DataChannel>,
    control: Arc<dyn DataChannel>,
    motion_seq: AtomicU32,
    control_seq: AtomicU32,
}

/// What the viewer's tasks and its owner both see.
#[derive(Default)]
struct Shared {
    overflowed: AtomicU64,
    video: OnceLock<(Arc<dyn TrackRemote>, u32)>,
}

impl Viewer {
    /// A viewer with an offer.
    ///
    /// # Errors
    /// The crate's.
    pub fn new(options: Options) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("viewer")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared::default());
        let made = runtime.block_on(peer::make(options, Arc::clone(&shared)))?;
        let channels = made.channels.map(|(motion, control)| Channels {
            motion,
            control,
            motion_seq: AtomicU32::new(1),
            control_seq: AtomicU32::new(1),
        });
        Ok(Self {
            runtime: Some(runtime),
            connection: made.connection,
            channels,
            offer: made.offer,
            fragment: made.fragment,
            arrivals: made.arrivals,
            shared,
        })
    }

    /// The SDP to carry to the node.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Candidates to send after the offer, of a viewer that does as a browser's page.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// Takes the answer and waits until media is up and, where there are channels, until the node
    /// listens: what is sent before is lost. What arrives meanwhile is dropped: it is older than the
    /// beginning.
    ///
    /// # Errors
    /// The node does not answer.
    pub fn connect(&self, answer: &str) -> Result<()> {
        let answer = RTCSessionDescription::answer(answer.to_owned())?;
        let set = self.connection.set_remote_description(answer);
        self.runtime()?.block_on(set)?;
        let until = Instant::now() + CONNECT_DEADLINE;
        let mut connected = false;
        let mut heard = self.channels.is_none();
        while !connected || !heard {
            let left = until.saturating_duration_since(Instant::now());
            match self.next(left)? {
                Some(Arrival::State(RTCPeerConnectionState::Connected)) => connected = true,
                Some(Arrival::State(RTCPeerConnectionState::Failed)) => {
                    bail!("the node does not answer ICE checks")
                }
                Some(Arrival::Notice(Notice::Ready { .. })) => heard = true,
                Some(_) => {}
                None => bail!("no connection within {CONNECT_DEADLINE:?}"),
            }
        }
        Ok(())
    }

    /// The next thing that arrives; `None` if nothing does for `patience`.
    ///
    /// # Errors
    /// The viewer's tasks are gone.
    pub fn next(&self, patience: Duration) -> Result<Option<Arrival>> {
        match self.arrivals.recv_timeout(patience) {
            Ok(arrival) => Ok(Some(arrival)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the connection's tasks have ended"),
        }
    }

    /// Sends an input packet on the channel that its kind travels on.
    ///
    /// # Errors
    /// The channel is closed, or there is none.
    pub fn send(&self, event: input::Event) -> Result<()> {
        let channels = self.channels.as_ref().context("this viewer only watches")?;
        let (channel, seq) = match event {
            input::Event::Ping
            | input::Event::PointerAbsolute { .. }
            | input::Event::PointerRelative { .. } => (&channels.motion, &channels.motion_seq),
            _ => (&channels.control, &channels.control_seq),
        };
        let packet = Input {
            seq: seq.fetch_add(1, Relaxed),
            client_us: clock::micros(),
            event,
        };
        let bytes = BytesMut::from(packet.encode().as_slice());
        Ok(self.runtime()?.block_on(channel.send(bytes))?)
    }

    /// Asks the node for a key frame.
    ///
    /// # Errors
    /// No picture has come yet, or the connection is gone.
    pub fn ask_for_key_frame(&self) -> Result<()> {
        let (track, media_ssrc) = self.shared.video.get().context("no picture has come")?;
        let request = PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc: *media_ssrc,
        };
        let write = track.write_rtcp(vec![Box::new(request)]);
        Ok(self.runtime()?.block_on(write)?)
    }

    /// What arrived and found the queue full.
    pub fn overflowed(&self) -> u64 {
        self.shared.overflowed.load(Relaxed)
    }

    /// Says goodbye, and is gone.
    ///
    /// # Errors
    /// The goodbye could not be sent.
    pub fn leave(self) -> Result<()> {
        let close = async {
            // Made here: a timer needs the runtime around it.
            tokio::time::timeout(LEAVE_DEADLINE, self.connection.close()).await
        };
        Ok(self.runtime()?.block_on(close)??)
    }

    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().context("the viewer is gone")
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer").finish_non_exhaustive()
    }
}
