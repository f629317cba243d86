//! The mix as Opus packets, while somebody listens.

use crate::sample::Pair;
use crate::server::PacketSink;
use opus::{Application, Bitrate, Channels, Encoder, Signal, SoftClip};
use std::fmt;

/// Frames and microseconds of a packet.
pub(crate) const FRAMES: usize = 480;
/// See [`FRAMES`].
pub(crate) const PACKET_US: u64 = 10_000;
/// Largest Opus packet of one frame (RFC 6716).
const PACKET_BYTES_MAX: usize = 1_275;
/// Of 10. Measured at 128 kbit/s: the top costs half as much again and is not heard at this rate.
const COMPLEXITY: i32 = 5;

/// The encoder and where its packets go.
pub(crate) struct Packets {
    encoder: Encoder,
    clip: SoftClip,
    on_packet: PacketSink,
    active: bool,
    packet: [u8; PACKET_BYTES_MAX],
}

impl Packets {
    /// An encoder for low delay: 2.5 ms of look-ahead. Its mode (CELT alone) has no forward error correction in
    /// Opus itself (RFC 6716 section 2.1.7 is SILK's); where packets are lost, redundant packets (RED) are
    /// sent to viewers that take them, and to others nothing.
    pub(crate) fn new(bitrate_bps: i32, on_packet: PacketSink) -> opus::Result<Self> {
        let mut encoder = Encoder::new(
            crate::resample::RATE,
            Channels::Stereo,
            Application::LowDelay,
        )?;
        encoder.set_bitrate(Bitrate::Bits(bitrate_bps))?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_inband_fec(false)?;
        encoder.set_dtx(false)?;
        encoder.set_signal(Signal::Music)?;
        Ok(Self {
            encoder,
            clip: SoftClip::new(Channels::Stereo),
            on_packet,
            active: false,
            packet: [0; PACKET_BYTES_MAX],
        })
    }

    /// Hands out a packet, if `active`. Silence is a packet too: a listener tells it from loss.
    pub(crate) fn take(&mut self, active: bool, pts_us: u64, mix: &mut [Pair; FRAMES]) -> bool {
        if active && !self.active {
            // A new listener's decoder knows nothing of what came before.
            if let Err(error) = self.encoder.reset_state() {
                tracing::warn!(%error, "cannot reset the Opus encoder");
            }
        }
        self.active = active;
        if !active {
            return false;
        }
        let samples = mix.as_flattened_mut();
        self.clip.apply(samples);
        match self.encoder.encode_float(samples, &mut self.packet) {
            Ok(length) => {
                (self.on_packet)(pts_us, &self.packet[..length]);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "10 ms of sound could not be encoded");
                false
            }
        }
    }
}

impl fmt::Debug for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packets")
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
