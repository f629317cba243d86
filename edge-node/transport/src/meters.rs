//! Metrics of the transport. Totals are added once a second from the sessions' own counters, so the
//! path of a packet touches none; stages are recorded once a frame.

use crate::counters::{Counters, FlowGauges, VideoDropReason};
use metrics::{Counter, Gauge, Histogram, Unit};
use nearlight_protocol::input::Shown;
use nearlight_protocol::stage::Stage;
use std::time::Duration;

const DATAGRAMS: &str = "edge_transport_datagrams_total";
const FRAMES: &str = "edge_transport_frames_total";
const PACKETS: &str = "edge_transport_sent_packets_total";
const BYTES: &str = "edge_transport_sent_bytes_total";
const RETRANSMITS: &str = "edge_transport_retransmitted_packets_total";
const NACKS: &str = "edge_transport_nacks_total";
const KEY_FRAMES: &str = "edge_transport_key_frames_wanted_total";
const FEEDBACK: &str = "edge_transport_feedback_packets_total";
const INPUT: &str = "edge_transport_input_packets_total";
const ATTACHMENTS: &str = "edge_transport_attachments";
const CAUGHT: &str = "edge_transport_panics_caught_total";
const PATH_RATE: &str = "edge_transport_path_bits_per_second";
const TARGET_RATE: &str = "edge_transport_target_bits_per_second";
const QUEUE: &str = "edge_transport_path_queue_seconds";
const LOSS: &str = "edge_transport_path_loss_ratio";
const STAGE: &str = "edge_stage_seconds";

/// Describes every metric of the transport to the installed recorder.
pub fn describe_metrics() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    let count = Unit::Count;
    describe_counter!(
        DATAGRAMS,
        count,
        "Datagrams received, by what became of them."
    );
    describe_counter!(
        FRAMES,
        count,
        "Access units from workers, by what became of them."
    );
    describe_counter!(PACKETS, count, "Datagrams that the kernel took.");
    describe_counter!(BYTES, Unit::Bytes, "UDP payload that the kernel took.");
    describe_counter!(RETRANSMITS, count, "RTP packets sent again.");
    describe_counter!(NACKS, count, "RTCP NACK messages from viewers.");
    describe_counter!(KEY_FRAMES, count, "Key frames that viewers asked for.");
    describe_counter!(
        FEEDBACK,
        count,
        "Packets reported by transport-wide feedback."
    );
    describe_counter!(INPUT, count, "Messages on data channels, by outcome.");
    describe_gauge!(ATTACHMENTS, count, "Viewers connected.");
    describe_counter!(
        CAUGHT,
        count,
        "Panics on a viewer's bytes; each ended one attachment."
    );
    describe_histogram!(
        PATH_RATE,
        Unit::BitsPerSecond,
        "What players' paths are believed to carry, each second."
    );
    describe_histogram!(
        TARGET_RATE,
        Unit::BitsPerSecond,
        "What encoders are told for players, each second."
    );
    describe_histogram!(
        QUEUE,
        Unit::Seconds,
        "Queues on players' paths, each second."
    );
    describe_histogram!(
        LOSS,
        Unit::Count,
        "Share of packets lost on players' paths over the last seconds, each second."
    );
    describe_histogram!(
        STAGE,
        Unit::Seconds,
        "Where a frame, and the input that it answers, spent their time, by stage; decode and present are players' words."
    );
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    Taken,
    /// Neither STUN that names an attachment nor from a known address.
    Unknown,
    /// STUN that does not prove what it claims.
    Forged,
}

/// The instruments, looked up once.
pub(crate) struct Meters {
    taken: Counter,
    unknown: Counter,
    forged: Counter,
    frames_sent: Counter,
    frames_dropped: [(VideoDropReason, Counter); 4],
    packets: Counter,
    bytes: Counter,
    retransmits: Counter,
    nacks: Counter,
    key_frames: Counter,
    reported_arrived: Counter,
    reported_lost: Counter,
    input_taken: Counter,
    input_rejected: Counter,
    attachments: Gauge,
    caught: Counter,
    path_rate: Histogram,
    target_rate: Histogram,
    queue: Histogram,
    loss: Histogram,
    input: Histogram,
    render: Histogram,
    capture: Histogram,
    encode: Histogram,
    pace: Histogram,
    network: Histogram,
    decode: Histogram,
    present: Histogram,
}

impl Meters {
    pub(crate) fn new() -> Self {
        use metrics::{counter, gauge, histogram};
        let stage = |stage: Stage| histogram!(STAGE, "stage" => stage.name());
        let dropped = |reason, name: &'static str| (reason, counter!(FRAMES, "outcome" => name));
        Self {
            taken: counter!(DATAGRAMS, "outcome" => "taken"),
            unknown: counter!(DATAGRAMS, "outcome" => "unknown"),
            forged: counter!(DATAGRAMS, "outcome" => "forged"),
            frames_sent: counter!(FRAMES, "outcome" => "sent"),
            frames_dropped: [
                dropped(VideoDropReason::NoAttachment, "no-attachment"),
                dropped(VideoDropReason::AwaitingKey, "awaiting-key"),
                dropped(VideoDropReason::Socket, "socket"),
                dropped(VideoDropReason::Path, "path"),
            ],
            packets: counter!(PACKETS),
            bytes: counter!(BYTES),
            retransmits: counter!(RETRANSMITS),
            nacks: counter!(NACKS),
            key_frames: counter!(KEY_FRAMES),
            reported_arrived: counter!(FEEDBACK, "outcome" => "arrived"),
            reported_lost: counter!(FEEDBACK, "outcome" => "lost"),
            input_taken: counter!(INPUT, "outcome" => "taken"),
            input_rejected: counter!(INPUT, "outcome" => "rejected"),
            attachments: gauge!(ATTACHMENTS),
            caught: counter!(CAUGHT),
            path_rate: histogram!(PATH_RATE),
            target_rate: histogram!(TARGET_RATE),
            queue: histogram!(QUEUE),
            loss: histogram!(LOSS),
            input: stage(Stage::Input),
            render: stage(Stage::Render),
            capture: stage(Stage::Capture),
            encode: stage(Stage::Encode),
            pace: stage(Stage::Pace),
            network: stage(Stage::Network),
            decode: stage(Stage::Decode),
            present: stage(Stage::Present),
        }
    }

    pub(crate) fn datagram(&self, outcome: Datagram) {
        match outcome {
            Datagram::Taken => self.taken.increment(1),
            Datagram::Unknown => self.unknown.increment(1),
            Datagram::Forged => self.forged.increment(1),
        }
    }

    /// Adds what a session counted since `before`.
    pub(crate) fn add(&self, before: &Counters, now: &Counters) {
        self.frames_sent
            .increment(now.video_sent - before.video_sent);
        for (reason, counter) in &self.frames_dropped {
            let of = |c: &Counters| c.video_dropped.get(reason).copied().unwrap_or(0);
            counter.increment(of(now) - of(before));
        }
        let (watched, watched_before) = (&now.watchers, &before.watchers);
        self.packets
            .increment(now.packets_sent - before.packets_sent);
        self.packets
            .increment(watched.packets_sent - watched_before.packets_sent);
        self.bytes.increment(now.bytes_sent - before.bytes_sent);
        self.bytes
            .increment(watched.bytes_sent - watched_before.bytes_sent);
        self.retransmits
            .increment(now.retransmits - before.retransmits);
        self.nacks.increment(now.nacks - before.nacks);
        self.key_frames.increment(now.plis - before.plis);
        self.input_taken
            .increment(now.input_packets - before.input_packets);
        self.input_rejected
            .increment(now.input_rejected - before.input_rejected);
    }

    pub(crate) fn feedback(&self, packets: u64, lost: u64) {
        self.reported_arrived
            .increment(packets.saturating_sub(lost));
        self.reported_lost.increment(lost);
    }

    /// How a player's stream goes.
    pub(crate) fn flow(&self, gauges: &FlowGauges) {
        self.path_rate.record(f64::from(gauges.kbps_path) * 1000.0);
        self.target_rate
            .record(f64::from(gauges.kbps_target) * 1000.0);
        self.queue.record(f64::from(gauges.queue_us) / 1e6);
        self.loss.record(f64::from(gauges.loss_permille) / 1000.0);
    }

    pub(crate) fn attachments(&self, connected: usize) {
        self.attachments.set(connected as f64);
    }

    pub(crate) fn caught(&self) {
        self.caught.increment(1);
    }

    /// An input, of which one way is taken for half the round trip.
    pub(crate) fn input(&self, round_trip: Duration) {
        self.input.record(round_trip / 2);
    }

    pub(crate) fn render(&self, took: Duration) {
        self.render.record(took);
    }

    pub(crate) fn capture(&self, took: Duration) {
        self.capture.record(took);
    }

    pub(crate) fn encode(&self, took: Duration) {
        self.encode.record(took);
    }

    pub(crate) fn pace(&self, took: Duration) {
        self.pace.record(took);
    }

    /// How the player's browser showed a frame, in its own words.
    pub(crate) fn shown(&self, frame: &Shown) {
        self.decode.record(frame.decode());
        self.present.record(frame.present());
    }

    /// One way is taken for half the round trip.
    pub(crate) fn network(&self, round_trip: Duration) {
        self.network.record(round_trip / 2);
    }
}
