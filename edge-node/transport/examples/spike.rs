//! What a session costs to send: CPU of the sending threads alone, over loopback, with native
//! receiving viewers, for three ways of doing it. Behind docs/adr/0001-transport.md.
//!
//! ```text
//! cargo run --release -p nearlight-transport --example spike -- [SESSIONS] [SECONDS]
//! ```
//!
//! Each session sends 60 access units of 16,667 bytes a second: 8 Mbit/s. CPU is what the kernel's
//! scheduler gave to the threads named after the sender (`/proc/self/task/*/schedstat`); delivery to
//! a loopback receiver happens in the sender's time and is in every figure alike.
#![allow(clippy::print_stdout, reason = "prints a table")]

#[path = "../tests/transport/support/mod.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared with the tests, which use more of it and may unwrap"
)]
mod support;

use anyhow::{Context, Result};
use bytes::Bytes;
use nearlight_transport::{Config, Event, Handle, StartError};
use rtc::interceptor::Registry;
use rtc::media::Sample;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::interceptor_registry::{
    configure_nack, configure_rtcp_reports, configure_twcc_sender_only,
};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MediaEngine};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use support::viewer::{Viewer, Wish};
use support::{Node, Worker};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_sample::TrackLocalStaticSample;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState, RTCSessionDescription,
};

const UNIT_BYTES: usize = 16_667;
const FRAME: Duration = Duration::from_micros(16_667);

struct Plan {
    sessions: u64,
    seconds: u64,
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u64| args.next().map_or(Ok(default), |text| text.parse());
    let plan = Plan {
        sessions: number(8)?,
        seconds: number(15)?,
    };
    println!("| sender | sessions | CPU per session, % of a core | packets received per s |");
    println!("|---|---|---|---|");
    let segmented = |config, events: Events| nearlight_transport::start(config, events);
    let plain = |config, events: Events| nearlight_transport::start_unsegmented(config, events);
    let full = "a mark a frame on a data channel";
    ours(
        &format!("this loop, segmented, {full}"),
        &plan,
        Wish::H264,
        segmented,
    )?;
    ours(
        &format!("this loop, sendmmsg, {full}"),
        &plan,
        Wish::H264,
        plain,
    )?;
    ours("this loop, segmented", &plan, Wish::NoChannels, segmented)?;
    ours("this loop, sendmmsg", &plan, Wish::NoChannels, plain)?;
    theirs("crate webrtc, tokio", &plan)
}

/// CPU time of the threads named `name`.
fn cpu(name: &str) -> Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let text = std::fs::read_to_string(path.join("schedstat"))?;
            let first = text
                .split(' ')
                .next()
                .context("schedstat has a first field")?;
            nanos += first.parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

fn row(label: &str, plan: &Plan, spent: Duration, elapsed: Duration, packets: usize) {
    let sessions = plan.sessions as f64;
    let percent = 100.0 * spent.as_secs_f64() / elapsed.as_secs_f64() / sessions;
    let rate = packets as f64 / elapsed.as_secs_f64();
    println!("| {label} | {} | {percent:.2} | {rate:.0} |", plan.sessions);
}

/// Measures from when everybody is connected: plays, and returns what was received meanwhile.
fn measure(
    label: &str,
    thread: &str,
    plan: &Plan,
    viewers: &mut [Viewer],
    play: impl FnOnce(),
) -> Result<()> {
    let (before, start) = (cpu(thread)?, Instant::now());
    play();
    let (spent, elapsed) = (cpu(thread)?.saturating_sub(before), start.elapsed());
    let packets = viewers.iter_mut().map(Viewer::drain_packets).sum();
    row(label, plan, spent, elapsed, packets);
    Ok(())
}

/// Calls `show` with the number of each frame, at 60 Hz.
fn at_sixty(seconds: u64, mut show: impl FnMut(u32)) {
    let mut due = Instant::now();
    for frame in 1..=u32::try_from(seconds * 60).unwrap_or(u32::MAX) {
        show(frame);
        due += FRAME;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

type Events = Box<dyn FnMut(Event) + Send>;

fn ours(
    label: &str,
    plan: &Plan,
    wish: Wish,
    start: impl FnOnce(Config, Events) -> Result<Handle, StartError>,
) -> Result<()> {
    let config = Config::on("127.0.0.1:0".parse()?);
    let (tx, events) = channel();
    let transport = start(config, Box::new(move |event| drop(tx.send(event))))?;
    let node = Node::of(transport, events);
    let mut workers: Vec<Worker> = Vec::new();
    let mut viewers: Vec<Viewer> = Vec::new();
    for number in 1..=plan.sessions {
        let worker = node.add_session(number);
        let mut viewer = Viewer::new(wish);
        let answer = node.answer(number, number, &viewer.offer, false);
        viewer.connect(&answer);
        node.wait_attached(number);
        worker.show(0, true, 100);
        viewer.packets(1);
        workers.push(worker);
        viewers.push(viewer);
    }
    measure(label, "transport", plan, &mut viewers, || {
        at_sixty(plan.seconds, |frame| {
            for worker in &workers {
                worker.show(frame, false, UNIT_BYTES);
            }
        });
    })
}

struct Watcher {
    gathered: tokio::sync::mpsc::Sender<()>,
    connected: tokio::sync::mpsc::Sender<()>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Watcher {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            let _ = self.connected.try_send(());
        }
    }
}

struct Sender {
    _connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticSample>,
    ssrc: u32,
    connected: tokio::sync::mpsc::Receiver<()>,
}

fn theirs(label: &str, plan: &Plan) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("sender")
        .enable_all()
        .build()?;
    let mut senders = Vec::new();
    let mut viewers = Vec::new();
    for _ in 0..plan.sessions {
        let mut viewer = Viewer::new(Wish::NoChannels);
        let offer = viewer.offer.clone();
        let made = runtime.spawn(sender(offer));
        let (mut sender, answer) = runtime.block_on(made)??;
        viewer.connect(&answer);
        runtime.block_on(sender.connected.recv());
        runtime.block_on(write(&sender, 100))?;
        viewer.packets(1);
        senders.push(sender);
        viewers.push(viewer);
    }
    let handle = runtime.handle().clone();
    measure(label, "sender", plan, &mut viewers, move || {
        // The frames are written on the sender's own thread, as a server would do it.
        let seconds = plan.seconds;
        let played = handle.spawn(async move {
            let mut ticks = tokio::time::interval(FRAME);
            for _ in 0..seconds * 60 {
                ticks.tick().await;
                for sender in &senders {
                    let _ = write(sender, UNIT_BYTES).await;
                }
            }
        });
        let _ = handle.block_on(played);
    })
}

async fn write(sender: &Sender, bytes: usize) -> Result<()> {
    let unit = support::unit(0, true, bytes);
    let sample = Sample {
        data: Bytes::from(unit.data),
        duration: FRAME,
        ..Sample::new(Instant::now())
    };
    let writer = sender.track.sample_writer(sender.ssrc, 102);
    Ok(writer.write_sample(&sample).await?)
}

async fn sender(offer: String) -> Result<(Sender, String)> {
    let (gathered_sink, mut gathered) = tokio::sync::mpsc::channel(1);
    let (connected_sink, connected) = tokio::sync::mpsc::channel(1);
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
            .to_owned(),
        rtcp_feedback: Vec::new(),
    };
    let mut engine = MediaEngine::default();
    let parameters = RTCRtpCodecParameters {
        rtp_codec: codec.clone(),
        payload_type: 102,
    };
    engine.register_codec(parameters, RtpCodecKind::Video)?;
    let registry = configure_nack(Registry::new(), &mut engine);
    let registry = configure_twcc_sender_only(registry, &mut engine)?;
    let connection = PeerConnectionBuilder::new()
        .with_media_engine(engine)
        .with_interceptor_registry(configure_rtcp_reports(registry))
        .with_handler(Arc::new(Watcher {
            gathered: gathered_sink,
            connected: connected_sink,
        }))
        .with_udp_addrs(vec!["127.0.0.1:0"]);
    let connection = Box::pin(connection.build()).await?;
    let ssrc = rand::random();
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..RTCRtpCodingParameters::default()
        },
        codec,
        ..RTCRtpEncodingParameters::default()
    };
    let name = || "picture".to_owned();
    let track = MediaStreamTrack::new(name(), name(), name(), RtpCodecKind::Video, vec![encoding]);
    let track = Arc::new(TrackLocalStaticSample::new(Instant::now(), track)?);
    let local: Arc<dyn TrackLocal> = Arc::clone(&track) as Arc<dyn TrackLocal>;
    connection.add_track(local).await?;
    let offer = RTCSessionDescription::offer(offer)?;
    connection.set_remote_description(offer).await?;
    let answer = connection.create_answer(None).await?;
    connection.set_local_description(answer).await?;
    gathered.recv().await;
    let answer = connection.local_description().await.context("an answer")?;
    let sender = Sender {
        _connection: Arc::new(connection),
        track,
        ssrc,
        connected,
    };
    Ok((sender, answer.sdp))
}
