//! Attachments come and go: one at a time, taken over, lost and replaced, deleted, ended.

use crate::support::viewer::{Viewer, Wish, input};
use crate::support::{DEADLINE, Node, attachment};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{WhepRefusal, WhepResult};
use nearlight_protocol::input::Event as Input;
use nearlight_protocol::notice::{DetachReason, LimitedBy, Notice};
use nearlight_protocol::worker::ToWorker;
use nearlight_transport::Event;
use std::time::{Duration, Instant};

fn attached(node: &Node, id: u64, take_over: bool) -> Viewer {
    let mut viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, id, &viewer.offer, take_over);
    viewer.connect(&answer);
    node.wait_attached(id);
    viewer
}

fn is_refused(result: &WhepResult, wanted: WhepRefusal) -> bool {
    matches!(result, WhepResult::Refused { reason, .. } if *reason == wanted)
}

#[test]
fn a_second_viewer_is_refused_unless_it_takes_over() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut first = attached(&node, 1, false);
    first.wait_ready();
    worker.show(1, true, 100);
    first.packets(1);
    let other = Viewer::new(Wish::H264);
    let elsewhere = WhepRefusal::AttachedElsewhere;
    assert_eq!(node.refusal(1, 2, &other.offer), elsewhere);
    // A bad offer that would take over costs the first viewer nothing.
    let bad = node.offer(1, 2, "v=0\r\n", true);
    assert!(is_refused(&bad, WhepRefusal::InvalidOffer));
    worker.show(2, false, 100);
    first.packets(1);

    let mut second = attached(&node, 3, true);
    let reason = DetachReason::TakenOver;
    assert_eq!(first.notice(), Notice::Detached { reason });
    worker.hear_until(|m| *m == ToWorker::Detach);
    worker.hear_attach();
    worker.show(3, true, 100);
    second.packets(1);
    let (_, counters) = node.wait_counters(1, |c| c.video_sent == 3);
    assert_eq!(counters.attachments, 2);
}

#[test]
fn a_viewer_that_vanished_can_be_replaced_before_it_is_given_up() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut lost = attached(&node, 1, false);
    lost.vanish();
    let mut again = Viewer::new(Wish::H264);
    let until = Instant::now() + DEADLINE;
    let mut id = 2;
    let answer = loop {
        assert!(Instant::now() < until, "the lost viewer holds the session");
        match node.offer(1, id, &again.offer, false) {
            WhepResult::Answer { sdp } => break sdp,
            refused => assert!(is_refused(&refused, WhepRefusal::AttachedElsewhere)),
        }
        id += 1;
        // The next second's totals: a clock without sleeping.
        node.wait(|event| matches!(event, Event::Counters { .. }));
    };
    assert!(id > 2, "the first attempts came too early");
    again.connect(&answer);
    let replaced = node.events_until_counters(1);
    let wanted = attachment(id);
    let is_detached =
        |e: &Event| matches!(e, Event::Detached { attachment: a, .. } if *a == attachment(1));
    let is_attached =
        |e: &Event| matches!(e, Event::Attached { attachment: a, .. } if *a == wanted);
    assert!(replaced.iter().any(is_detached) || replaced.iter().any(is_attached));
    worker.hear_until(|m| *m == ToWorker::Detach);
    worker.hear_attach();
    worker.show(1, true, 100);
    again.packets(1);
}

#[test]
fn a_silent_viewer_is_given_up() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, 1, false);
    let lost = Instant::now();
    viewer.vanish();
    node.wait_detached(1);
    assert!(
        lost.elapsed() > Duration::from_secs(2),
        "it may only have been slow"
    );
    worker.hear_until(|m| *m == ToWorker::Detach);
    // The session is free again.
    attached(&node, 2, false);
}

#[test]
fn a_viewer_that_closes_its_page_frees_the_session_at_once() {
    let node = Node::start();
    let _worker = node.add_session(1);
    let mut viewer = attached(&node, 1, false);
    viewer.wait_ready();
    viewer.close();
    // No take-over, and no waiting for its silence: this offer is taken at the first attempt.
    attached(&node, 2, false);
}

#[test]
fn delete_detaches_at_once_and_only_once() {
    let node = Node::start();
    let worker = node.add_session(1);
    let _viewer = attached(&node, 1, false);
    let missing = WhepRefusal::NotFound;
    assert!(is_refused(&node.delete(1, 9), missing));
    assert!(is_refused(&node.delete(2, 1), missing));
    assert_eq!(node.delete(1, 1), WhepResult::Done);
    node.wait_detached(1);
    worker.hear_until(|m| *m == ToWorker::Detach);
    assert!(is_refused(&node.delete(1, 1), missing));
    assert!(is_refused(&node.patch(1, 1, ""), missing));
}

#[test]
fn the_end_of_a_session_reaches_browser_and_worker() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, 1, false);
    viewer.wait_ready();
    let reason = EndReason::TimeLimit;
    node.end(1, reason);
    assert_eq!(viewer.notice(), Notice::Ended { reason });
    worker.hear_until(|m| *m == ToWorker::Shutdown);
    assert_eq!(worker.hear(), None);
    let offer = Viewer::new(Wish::H264).offer.clone();
    assert_eq!(node.refusal(1, 2, &offer), WhepRefusal::NotFound);
}

#[test]
fn shutdown_tells_browsers_and_leaves_workers_alone() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, 1, false);
    viewer.wait_ready();
    node.transport.shutdown();
    let reason = DetachReason::NodeRestarting;
    assert_eq!(viewer.notice(), Notice::Detached { reason });
    let mut said = Vec::new();
    while let Some(message) = worker.hear() {
        said.push(message);
    }
    assert!(!said.contains(&ToWorker::Shutdown), "{said:?}");
    // Whoever asks now gets an answer all the same.
    assert_eq!(node.refusal(1, 2, &viewer.offer), WhepRefusal::NotFound);
}

#[test]
fn a_worker_that_is_connected_anew_goes_on_with_the_same_viewer() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewer = attached(&node, 1, false);
    worker.hear_attach();
    drop(worker);
    node.wait(|event| matches!(event, Event::WorkerGone { .. }));
    let offer = Viewer::new(Wish::H264).offer.clone();
    assert_eq!(node.refusal(1, 2, &offer), WhepRefusal::NotReady);
    let worker = node.add_session(1);
    worker.hear_attach();
    worker.show(1, true, 100);
    viewer.packets(1);
}

#[test]
fn offers_are_refused_with_the_reason_that_fits() {
    let node = Node::start_with(|config| config.max_sessions = 1);
    let offer = Viewer::new(Wish::H264).offer.clone();
    assert_eq!(node.refusal(1, 1, &offer), WhepRefusal::NotFound);
    let silent = node.add_silent_session(1);
    assert_eq!(node.refusal(1, 1, &offer), WhepRefusal::NotReady);
    node.end(1, EndReason::StartTimeout);
    silent.hear_until(|m| *m == ToWorker::Shutdown);
    let _worker = node.add_session(1);
    assert_eq!(node.refusal(1, 1, "hello"), WhepRefusal::InvalidOffer);
    let av1 = offer.replace("H264", "AV1");
    assert_eq!(node.refusal(1, 1, &av1), WhepRefusal::InvalidOffer);
    // One more session than the node takes.
    let extra = node.add_silent_session(2);
    node.wait(|event| matches!(event, Event::WorkerGone { .. }));
    assert_eq!(extra.hear(), None);
}

#[test]
fn candidates_can_trickle_and_a_restart_is_refused() {
    let node = Node::start();
    let _worker = node.add_session(1);
    let viewer = Viewer::new(Wish::H264);
    let answer = node.answer(1, 1, &viewer.offer, false);
    assert!(answer.contains("a=ice-lite\r\n"));
    assert!(answer.contains("127.0.0.1"));
    assert!(answer.contains("a=end-of-candidates\r\n"));
    let ufrag = viewer.offer.lines().find(|l| l.starts_with("a=ice-ufrag:"));
    let candidate = "a=candidate:1 1 udp 1 192.0.2.7 4000 typ host\r\n";
    let fragment = format!("{}\r\n{candidate}", ufrag.unwrap().trim());
    assert_eq!(node.patch(1, 1, &fragment), WhepResult::Done);
    let restart = node.patch(1, 1, "a=ice-ufrag:other\r\n");
    assert!(is_refused(&restart, WhepRefusal::InvalidOffer));
}

/// The player's settings hold for an attachment, so each of them is told: after a reload, and to
/// whoever takes over.
#[test]
fn each_attachment_is_greeted_and_its_first_words_are_heard() {
    let node = Node::start();
    let worker = node.add_session(1);
    let mut viewers = Vec::new();
    for id in 1..=3 {
        let mut viewer = attached(&node, id, true);
        viewer.wait_ready();
        let wish = Input::Wish {
            kbps_max: 1_000 * id as u32,
            height_max: 0,
            fps_max: 0,
        };
        let display = Input::Display {
            width: 1_280 + 16 * id as u16,
            height: 720,
            hz: 60,
        };
        viewer.send_control(&input(1, wish));
        viewer.send_control(&input(2, display));
        worker.hear_until(|message| match message {
            ToWorker::Display(mode) => mode.width == 1_280 + 16 * id as u32,
            _ => false,
        });
        let state = viewer.stream_state(|state| state.limited_by == LimitedBy::Player);
        assert!(state.kbps_target < 1_000 * id as u32);
        viewers.push(viewer);
    }
    let (_, counters) = node.wait_counters(1, |c| c.input_packets == 6);
    assert_eq!((counters.attachments, counters.input_rejected), (3, 0));
}
