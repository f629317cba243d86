//! What the transport counts per session. Every access unit that a worker hands over is either sent
//! or dropped with a reason: `video_in == video_sent + sum(video_dropped)` whenever nothing waits
//! for the socket.

use crate::quality::Played;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Totals of one session since it was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Access units from the worker.
    pub video_in: u64,
    /// Access units whose last packet the kernel took.
    pub video_sent: u64,
    /// Access units that were not sent, by reason.
    pub video_dropped: BTreeMap<VideoDropReason, u64>,
    /// Opus packets from the worker.
    pub audio_in: u64,
    /// Opus packets sent.
    pub audio_sent: u64,
    /// Datagrams sent to the viewer.
    pub packets_sent: u64,
    /// Bytes of UDP payload sent to the viewer.
    pub bytes_sent: u64,
    /// RTCP NACK messages from the viewer.
    pub nacks: u64,
    /// RTP packets sent again.
    pub retransmits: u64,
    /// Key frames that the viewer asked for (PLI and FIR).
    pub plis: u64,
    /// Input packets that were valid.
    pub input_packets: u64,
    /// Messages on the data channels that were no input packet.
    pub input_rejected: u64,
    /// Attachments of players that reached media.
    pub attachments: u64,
    /// What the player's path is taken for and what is made of it, now.
    #[serde(default)]
    pub flow: FlowGauges,
    /// What was measured while somebody played.
    #[serde(default)]
    pub played: Played,
    /// What went to the watchers, which is in no other total.
    #[serde(default)]
    pub watchers: WatcherCounters,
}

/// The flow to the player, as its controller sees it. Zero while nobody plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowGauges {
    /// What the encoder is told, kbit/s.
    pub kbps_target: u32,
    /// What the path is believed to carry, kbit/s.
    pub kbps_path: u32,
    /// Round trip, microseconds.
    pub rtt_us: u32,
    /// The queue on the path, microseconds.
    pub queue_us: u32,
    /// Packets lost over the last seconds, per mille.
    pub loss_permille: u32,
}

/// Totals of a session's watchers, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherCounters {
    /// Attachments that reached media.
    pub attachments: u64,
    /// Access units whose last packet the kernel took, one for each watcher.
    pub video_sent: u64,
    /// Access units that were not sent to a watcher, one for each.
    pub video_dropped: u64,
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Bytes of UDP payload sent.
    pub bytes_sent: u64,
    /// RTP packets sent again.
    pub retransmits: u64,
    /// Key frames that they asked for (PLI and FIR).
    pub plis: u64,
    /// Messages that were no ping: a watcher has no input.
    pub input_rejected: u64,
}

impl Counters {
    /// Counts access units that were not sent.
    pub(crate) fn drop_video(&mut self, reason: VideoDropReason, count: u64) {
        if count > 0 {
            *self.video_dropped.entry(reason).or_default() += count;
        }
    }

    /// Totals that were kept for watchers, in their own terms.
    pub(crate) fn as_watchers(&self) -> WatcherCounters {
        WatcherCounters {
            attachments: self.attachments,
            video_sent: self.video_sent,
            video_dropped: self.video_dropped_total(),
            packets_sent: self.packets_sent,
            bytes_sent: self.bytes_sent,
            retransmits: self.retransmits,
            plis: self.plis,
            input_rejected: self.input_rejected,
        }
    }

    /// Access units that were not sent, whatever the reason.
    pub fn video_dropped_total(&self) -> u64 {
        self.video_dropped.values().sum()
    }
}

/// Why an access unit was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VideoDropReason {
    /// Nobody plays, or the player's codec is another one.
    NoAttachment,
    /// Decoding cannot start here: the key frame has yet to come.
    AwaitingKey,
    /// The kernel does not take packets as fast as they come.
    Socket,
    /// The path is behind, and the encoder did not wait.
    Path,
}
