//! Two ends of `rtc` on a clock and a wire of our own, datagram by datagram.

use super::*;
use bytes::BytesMut;
use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

const NODE: ([u8; 4], u16) = ([127, 0, 0, 1], 8443);
const VIEWER: ([u8; 4], u16) = ([127, 0, 0, 1], 9000);
const STEP: Duration = Duration::from_millis(10);
const STEPS_MAX: u32 = 500;

/// A viewer and the node's end of its connection, and what has become of them.
struct Pair {
    now: Instant,
    node: Box<RTCPeerConnection>,
    viewer: RTCPeerConnection,
    control: RTCDataChannelId,
    viewer_open: bool,
    node_open: bool,
    /// Messages that the node handed out.
    heard: usize,
}

fn viewer(now: Instant) -> (RTCPeerConnection, RTCDataChannelId, String) {
    let setting = SettingEngineBuilder::new()
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build();
    let mut viewer = RTCPeerConnectionBuilder::new()
        .with_setting_engine(setting)
        .build(now)
        .unwrap();
    viewer
        .add_local_candidate(nominal_candidate(VIEWER.into()))
        .unwrap();
    let (_, control) = create_channels(&mut viewer).unwrap();
    let offer = viewer.create_offer(None).unwrap();
    viewer.set_local_description(now, offer.clone()).unwrap();
    (viewer, control, offer.sdp)
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let context = Context {
            crypto: rtc::crypto::default_provider().unwrap(),
            clock: Clock::start().unwrap(),
            rates: Rates {
                kbps_start: 8_000,
                kbps_max: 12_000,
            },
            lite: true,
            nominal: vec![NODE.into()],
        };
        let (mut viewer, control, offer) = viewer(now);
        let offer = Offer::read_line_check(&offer).unwrap();
        let peer = Peer::answer(&context, &offer, &credentials(), now).unwrap();
        let answer = RTCSessionDescription::answer(peer.answer).unwrap();
        viewer.set_remote_description(now, answer).unwrap();
        Self {
            now,
            node: peer.connection,
            viewer,
            control,
            viewer_open: false,
            node_open: false,
            heard: 0,
        }
    }

    /// Carries everything to and fro until `over` says so.
    fn run_until(&mut self, over: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            self.now += STEP;
            self.node.handle_timeout(self.now).unwrap();
            self.viewer.handle_timeout(self.now).unwrap();
            self.carry_to_viewer();
            self.hear_at_viewer();
            if over(self) {
                return;
            }
            self.carry_to_node();
            self.hear_at_node();
        }
        panic!("it does not come to that");
    }

    fn carry_to_viewer(&mut self) {
        while let Some(sent) = self.node.poll_write() {
            let datagram = arrived(self.now, &sent.message, NODE, VIEWER);
            self.viewer.handle_read(datagram).unwrap();
        }
    }

    /// What the viewer has sent, in one go, as a loop reads it that was busy meanwhile.
    fn carry_to_node(&mut self) {
        while let Some(sent) = self.viewer.poll_write() {
            let datagram = arrived(self.now, &sent.message, VIEWER, NODE);
            self.node.handle_read(datagram).unwrap();
        }
    }

    fn hear_at_viewer(&mut self) {
        let control = self.control;
        while let Some(event) = self.viewer.poll_event() {
            self.viewer_open |= is_open(&event, control);
        }
    }

    fn hear_at_node(&mut self) {
        while let Some(event) = self.node.poll_event() {
            self.node_open |= is_open(&event, self.control);
        }
        while let Some(message) = self.node.poll_read() {
            let data = matches!(message.message, RTCMessage::DataChannelMessage(..));
            self.heard += usize::from(data);
        }
    }

    fn say(&mut self) {
        let mut channel = self.viewer.data_channel(self.control).unwrap();
        channel.send(self.now, BytesMut::from(&[1][..])).unwrap();
    }
}

fn is_open(event: &RTCPeerConnectionEvent, control: RTCDataChannelId) -> bool {
    matches!(
        event,
        RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) if *id == control
    )
}

fn arrived(
    now: Instant,
    message: &[u8],
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
) -> TaggedBytesMut {
    TaggedBytesMut {
        now,
        transport: TransportContext {
            local_addr: to.into(),
            peer_addr: from.into(),
            transport_protocol: TransportProtocol::UDP,
            ecn: None,
        },
        message: BytesMut::from(message),
    }
}

/// A viewer's association is up half a round trip before the node's, so what it says at once arrives
/// with, or before, what opens the node's end.
#[test]
fn what_arrives_with_the_end_of_the_handshake_is_lost() {
    let mut pair = Pair::new();
    pair.run_until(|pair| pair.viewer_open);
    pair.say();
    pair.carry_to_node();
    pair.hear_at_node();
    assert!(pair.node_open);
    // FIXME: `rtc` acknowledges it and drops it (0.21.1, `DataChannelHandler::handle_read`), which is
    // why the node speaks first. Should this be 1 one day, nobody has to wait for it.
    assert_eq!(pair.heard, 0);
    pair.run_until(|_| true);
    pair.say();
    pair.run_until(|pair| pair.heard > 0);
    assert_eq!(pair.heard, 1, "what was lost does not come again");
}
