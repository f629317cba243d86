//! A line check: channels and no session, trains and pongs, and an end.

use crate::support::viewer::{Viewer, Wish, input};
use crate::support::{Node, taken};
use nearlight_protocol::control::{WhepRefusal, WhepResult};
use nearlight_protocol::input::Event as Input;
use nearlight_protocol::notice::Mark;
use std::collections::BTreeMap;

fn checking(node: &Node) -> Viewer {
    let mut viewer = Viewer::new(Wish::LineCheck);
    let answer = taken(node.check_line(&viewer.offer));
    assert!(!answer.contains("m=video"), "{answer}");
    viewer.connect(&answer);
    viewer
}

#[test]
fn three_whole_trains_come_and_pings_are_answered() {
    let node = Node::start();
    let mut viewer = checking(&node);
    viewer.wait_answered();
    let mut seen = BTreeMap::new();
    while seen.len() < 96 + 48 + 48 {
        match viewer.mark() {
            Mark::Pong { .. } => {}
            Mark::Train {
                train,
                seq,
                count,
                sent_us,
            } => {
                assert!(seq < count, "{seq} of {count}");
                assert_eq!(seen.insert((train, seq), (count, sent_us)), None);
            }
            Mark::Frame { .. } => panic!("a line check has no picture"),
        }
    }
    let of = |train: u8| {
        let messages = seen.iter().filter(|((t, _), _)| *t == train);
        messages.map(|(_, told)| *told).collect::<Vec<_>>()
    };
    let trains = [of(0), of(1), of(2)];
    for (train, count) in trains.iter().zip([96_u16, 48, 48]) {
        assert_eq!(train.len(), usize::from(count));
        // One count and one time for the whole train.
        assert!(train.iter().all(|told| *told == (count, train[0].1)));
    }
    assert!(trains[0][0].1 < trains[1][0].1 && trains[1][0].1 < trains[2][0].1);
    viewer.close();
}

#[test]
fn as_many_as_the_node_allows_and_each_frees_its_place() {
    let node = Node::start();
    let mut first = checking(&node);
    first.wait_open();
    let others: Vec<Viewer> = (0..3).map(|_| Viewer::new(Wish::LineCheck)).collect();
    for other in &others {
        taken(node.check_line(&other.offer));
    }
    let WhepResult::Refused { reason, detail } = node.check_line(&others[0].offer) else {
        panic!("the fifth is taken");
    };
    assert_eq!(reason, WhepRefusal::TooMany);
    assert!(detail.contains("try again"), "{detail}");
    // It closes its page, which the node learns from its channels.
    first.close();
    let mut result = node.check_line(&others[0].offer);
    while matches!(result, WhepResult::Refused { .. }) {
        result = node.check_line(&others[0].offer);
    }
    taken(result);
}

#[test]
fn it_needs_channels_and_reaches_no_app() {
    let node = Node::start();
    let worker = node.add_session(1);
    let media = Viewer::new(Wish::NoChannels).offer.clone();
    let refused = node.check_line(&media);
    let WhepResult::Refused { reason, detail } = refused else {
        panic!("an offer without channels is taken");
    };
    assert_eq!(reason, WhepRefusal::InvalidOffer);
    assert!(detail.contains("data channels"), "{detail}");
    let mut viewer = checking(&node);
    viewer.wait_answered();
    let key = Input::Key {
        code: 30,
        pressed: true,
    };
    viewer.send_control(&input(1, key));
    // In order: the pong is sent after the key was dropped.
    viewer.send_control(&input(2, Input::Ping));
    while !matches!(viewer.mark(), Mark::Pong { .. }) {}
    node.end(1, nearlight_protocol::api::EndReason::TimeLimit);
    let said = worker.hear();
    assert_eq!(said, Some(nearlight_protocol::worker::ToWorker::Shutdown));
}
