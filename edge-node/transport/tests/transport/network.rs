//! What networks do: lose packets, and change a viewer's address in the middle.

use crate::support::Node;
use crate::support::relay::Relay;
use crate::support::viewer::{Viewer, Wish};

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
