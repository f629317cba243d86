//! Hostile viewers, hostile workers, and whoever finds the port: each harms itself at most.

use crate::support::viewer::{Viewer, Wish};
use crate::support::{Node, session};
use nearlight_protocol::notice::{DetachReason, Notice};
use nearlight_transport::Event;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, TransactionId};
use rtc::stun::textattrs::Username;
use std::io::Write;
use std::net::UdpSocket;

fn attached(node: &Node, number: u64, id: u64) -> Viewer {
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(number, id, &viewer.offer, false);
    viewer.connect(&answer);
    node.wait_attached(id);
    viewer
}

#[test]
fn garbage_on_the_port_disturbs_nobody() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, 1, 1);
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ("127.0.0.1", node.transport.port());
    let mut rng = StdRng::seed_from_u64(7);
    for frame in 1..=50 {
        for _ in 0..100 {
            let mut datagram = vec![0; rng.random_range(0..1500)];
            rng.fill(&mut datagram[..]);
            // Every class of RFC 7983, STUN most of all.
            if let Some(first) = datagram.first_mut() {
                *first = [0, 1, 3, 20, 22, 64, 128, 144, 255][rng.random_range(0..9)];
            }
            stranger.send_to(&datagram, to).unwrap();
        }
        worker.show(frame, frame == 1, 2000);
    }
    viewer.packets(100);
    let (_, counters) = node.wait_counters(1, |c| c.video_sent == 50);
    assert_eq!(counters.attachments, 1);
}

#[test]
fn a_forged_check_gets_no_answer_and_no_media() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    let of = |sdp: &str, name: &str| {
        let line = sdp.lines().find(|l| l.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    let ours = of(&answer, "a=ice-ufrag:");
    let theirs = of(&viewer.offer, "a=ice-ufrag:");
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = ("127.0.0.1", node.transport.port());
    let provider = rtc::crypto::default_provider().unwrap();
    let request = |password: &str| {
        let mut message = Message::new();
        let name = Username::new(ATTR_USERNAME, format!("{ours}:{theirs}"));
        let proof = MessageIntegrity::new_short_term_integrity_with_provider(
            password.to_owned(),
            provider.crypto(),
        );
        message
            .build(&[
                Box::new(BINDING_REQUEST),
                Box::new(TransactionId::new()),
                Box::new(name),
                Box::new(proof),
            ])
            .unwrap();
        message.raw
    };
    stranger
        .send_to(&request("not the password at all"), to)
        .unwrap();
    // What follows from there is not the viewer's either: DTLS, SRTP, SRTCP.
    for first in [22, 128, 129] {
        stranger.send_to(&[first; 200], to).unwrap();
    }
    viewer.connect(&answer);
    node.wait_attached(1);
    worker.show(1, true, 100);
    viewer.packets(1);
    node.wait_counters(1, |c| c.video_sent == 1);
    stranger.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2048];
    assert!(
        stranger.recv(&mut buffer).is_err(),
        "the stranger got an answer"
    );
    // The same request with the right password would have got one.
    let password = of(&answer, "a=ice-pwd:");
    stranger.set_nonblocking(false).unwrap();
    stranger
        .set_read_timeout(Some(crate::support::DEADLINE))
        .unwrap();
    stranger.send_to(&request(&password), to).unwrap();
    assert!(stranger.recv(&mut buffer).is_ok());
}

#[test]
fn garbage_on_the_channels_ends_the_attachment_after_three_strikes() {
    let node = Node::start();
    let _worker = node.add_session(1);
    let mut viewer = attached(&node, 1, 1);
    viewer.wait_ready();
    for garbage in [&[9, 9, 9][..], &[], &[1, 0x0b, 0, 0]] {
        viewer.send_control(garbage);
    }
    let reason = DetachReason::ProtocolError;
    assert_eq!(viewer.notice(), Notice::Detached { reason });
    node.wait_detached(1);
    let (_, counters) = node.wait_counters(1, |c| c.input_rejected > 0);
    assert_eq!((counters.input_rejected, counters.input_packets), (3, 0));
}

#[test]
fn a_worker_that_breaks_the_protocol_costs_only_its_own_session() {
    let node = Node::start();
    let good = node.add_session(1);
    let mut viewer = attached(&node, 1, 1);
    let evil = node.add_session(2);
    let mut victim = attached(&node, 2, 2);
    victim.wait_ready();
    (&evil.stream).write_all(&[255; 64]).unwrap();
    let gone = node.wait(|event| matches!(event, Event::WorkerGone { .. }));
    let expected = Event::WorkerGone {
        session: session(2),
    };
    assert_eq!(gone, expected);
    good.show(1, true, 3000);
    viewer.packets(3);
    // The viewer of the lost worker learns how it ended.
    let reason = nearlight_protocol::api::EndReason::WorkerCrashed;
    node.end(2, reason);
    assert_eq!(victim.notice(), Notice::Ended { reason });
}

#[test]
fn a_flood_of_frames_from_one_worker_does_not_starve_another() {
    let node = Node::start();
    let flooding = node.add_session(1);
    let quiet = node.add_session(2);
    let mut viewer = attached(&node, 2, 2);
    let flood = std::thread::spawn(move || {
        for frame in 1..=2000 {
            flooding.show(frame, true, 20_000);
        }
        flooding
    });
    for frame in 1..=50 {
        quiet.show(frame, frame == 1, 2000);
        viewer.packets(2);
    }
    let _flooding = flood.join().unwrap();
    let (_, counters) = node.wait_counters(1, |c| c.video_in == 2000);
    assert_eq!(counters.video_dropped_total(), 2000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_offer_gets_an_answer_or_a_refusal(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), "[ -~\r\n]{0,12}"), 0..8),
    ) {
        let node = Node::start();
        let _worker = node.add_session(1);
        let mut offer = Viewer::new(Wish::H264).offer.clone().into_bytes();
        for (at, with) in cuts {
            let at = at.index(offer.len());
            let end = (at + with.len()).min(offer.len());
            offer.splice(at..end, with.bytes());
        }
        let offer = String::from_utf8(offer).unwrap();
        // Reaching the next line is the test: a reply came, and the thread lives.
        node.offer(1, 1, &offer, false);
        node.wait_counters(1, |_| true);
    }
}
