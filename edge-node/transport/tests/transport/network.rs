//! What networks do: lose packets, and change a viewer's address in the middle.

use crate::support::Node;
use crate::support::relay::Relay;
use crate::support::viewer::{Viewer, Wish};
use rtc::stun::message::{BINDING_SUCCESS, Message};
use rtc::stun::xoraddr::XorMappedAddress;
use std::net::{SocketAddr, UdpSocket};

fn attached_through(node: &Node, relay: &Relay) -> Viewer {
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    viewer.connect(&relay.rewrite(&answer));
    node.wait_attached(1);
    viewer
}

#[test]
fn a_lost_packet_is_sent_again() {
    let node = Node::start();
    let worker = node.add_session(1);
    let relay = Relay::to(node.transport.port());
    let mut viewer = attached_through(&node, &relay);
    worker.show(1, true, 3000);
    viewer.packets(3);
    relay.lose(1);
    worker.show(2, false, 3000);
    worker.show(3, false, 3000);
    let packets = viewer.packets(6);
    let mut numbers: Vec<u16> = packets.iter().map(|p| p.header.sequence_number).collect();
    assert!(!numbers.is_sorted(), "the lost packet comes late");
    numbers.sort_unstable();
    assert!(numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1)));
    let (_, counters) = node.wait_counters(1, |c| c.retransmits >= 1);
    assert!(counters.nacks >= 1);
}

#[test]
fn a_viewer_whose_address_changes_keeps_its_picture() {
    let node = Node::start();
    let worker = node.add_session(1);
    let relay = Relay::to(node.transport.port());
    let mut viewer = attached_through(&node, &relay);
    worker.show(1, true, 100);
    viewer.packets(1);
    relay.move_outside();
    // Nothing comes through until the viewer's next check has proved the new address; then it does,
    // without another attachment. The picture goes on meanwhile, a frame a second.
    let mut frame = 1;
    while viewer.packets_left() == 0 {
        frame += 1;
        worker.show(frame, true, 100);
        let sent = u64::from(frame);
        let (_, counters) = node.wait_counters(1, |c| c.video_sent == sent);
        assert_eq!(counters.attachments, 1);
        assert!(frame < 20, "the new address is not learned");
    }
}

/// STUN messages and others that have come to a socket that does not wait.
fn arrived(socket: &UdpSocket) -> (usize, usize) {
    let mut buffer = [0; 2048];
    let (mut stun, mut others) = (0, 0);
    while let Ok(len) = socket.recv(&mut buffer) {
        match buffer[..len].first() {
            Some(0..4) => stun += 1,
            Some(_) | None => others += 1,
        }
    }
    (stun, others)
}

#[test]
fn a_stream_does_not_move_to_where_nobody_answers_for_the_viewer() {
    let node = Node::start();
    let worker = node.add_session(1);
    let relay = Relay::to(node.transport.port());
    let mut viewer = attached_through(&node, &relay);
    worker.show(1, true, 100);
    viewer.packets(1);
    let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    relay.pretend_to_be(&victim);
    // Checks and reports of the viewer's own, which come from there by what they say: it is answered
    // and asked, and sees nothing of the stream, which goes on where it went.
    let (mut frame, mut asked) = (1, 0);
    while asked < 20 {
        frame += 1;
        worker.show(frame, true, 100);
        viewer.packets(1);
        let sent = u64::from(frame);
        node.wait_counters(1, |c| c.video_sent == sent);
        let (stun, others) = arrived(&victim);
        assert_eq!(others, 0, "the stream went to somebody else");
        asked += stun;
        assert!(frame < 25, "nobody was asked");
    }
}

/// A STUN server that sees everybody at `seen`.
fn stun_server(seen: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let mut request = Message::new();
            request.raw = buffer[..len].to_vec();
            request.decode().unwrap();
            let mut answer = Message::new();
            let mapped = XorMappedAddress {
                ip: seen.ip(),
                port: seen.port(),
            };
            let id = request.transaction_id;
            answer
                .build(&[Box::new(BINDING_SUCCESS), Box::new(id), Box::new(mapped)])
                .unwrap();
            let _ = socket.send_to(&answer.raw, from);
        }
    });
    address
}

#[test]
fn behind_nat_the_answer_names_the_outside_address_and_ice_is_full() {
    let seen: SocketAddr = "203.0.113.9:41000".parse().unwrap();
    let server = stun_server(seen);
    let node = Node::start_with(|config| config.stun = vec![server]);
    let worker = node.add_session(1);
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    assert!(!answer.contains("a=ice-lite"));
    assert!(answer.contains(" 203.0.113.9 41000 typ srflx raddr 0.0.0.0 rport 0\r\n"));
    viewer.connect(&answer);
    node.wait_attached(1);
    worker.show(1, true, 100);
    viewer.packets(1);
}

#[test]
fn without_an_answer_from_the_stun_server_an_offer_is_answered_all_the_same() {
    // Nobody listens there any more.
    let gone = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let node = Node::start_with(|config| config.stun = vec![gone]);
    let _worker = node.add_session(1);
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    assert!(!answer.contains("srflx"));
    viewer.connect(&answer);
    node.wait_attached(1);
}

#[test]
fn behind_a_port_forward_the_answer_names_the_port_outside() {
    let node = Node::start_with(|config| config.advertise_port = Some(41_000));
    let _worker = node.add_session(1);
    let viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    assert!(answer.contains(" 127.0.0.1 41000 typ host"));
}

#[test]
fn both_families_share_one_port() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return; // A machine without IPv6 has only one family to serve.
    }
    let node = Node::start_with(|config| config.bind.push("[::1]:0".parse().unwrap()));
    let _worker = node.add_session(1);
    let viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    let port = node.transport.port();
    assert!(answer.contains(&format!(" 127.0.0.1 {port} typ host")));
    assert!(answer.contains(&format!(" ::1 {port} typ host")));
}
