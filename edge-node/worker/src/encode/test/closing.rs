//! An encoder that is being closed, and the one after it.

use super::*;
use std::sync::atomic::AtomicBool;

#[test]
fn a_gpu_s_next_encoder_waits_for_the_last_one_to_be_closed() {
    let mut rig = Rig::with(vec![&ladder::software::X264_AS_ON_GPU]);
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.submit();
    rig.next_video();
    rig.settled();
    rig.feed.reshape(Shape {
        hz: 30,
        ..SETTINGS.shape
    });
    assert!(rig.feed.lock().closing.is_some());
    // It is closed, and the event loop is told.
    while rig.told.recv_timeout(PATIENCE).unwrap() != Event::Sooner {}
    rig.wait_closed();
    // As if it were not yet.
    let open = Arc::new(AtomicBool::new(false));
    rig.feed.lock().closing = Some(flow::Closing {
        closed: Arc::clone(&open),
        until_us: u64::MAX,
    });
    rig.submit();
    rig.feed.on_deadline(mono_us());
    assert_eq!(rig.ledger.snapshot().in_flight, 1);
    assert_eq!(
        rig.feed.lock().flying.len(),
        0,
        "it waits before the encoder"
    );
    open.store(true, Ordering::Release);
    rig.feed.on_deadline(mono_us());
    assert_eq!(rig.next_video().frame, 2);
    rig.settled();
    // One that never closes holds nothing up for long.
    rig.feed.lock().closing = Some(flow::Closing {
        closed: Arc::default(),
        until_us: mono_us(),
    });
    rig.submit();
    assert_eq!(rig.next_video().frame, 3);
    rig.settled();
    // And it wakes nobody while the path holds up what waits.
    rig.feed.hold(u64::MAX);
    let until_us = rig.feed.lock().held_until_us;
    rig.feed.lock().closing = Some(flow::Closing {
        closed: Arc::default(),
        until_us: mono_us(),
    });
    rig.submit();
    assert!(rig.feed.lock().closing.is_none());
    rig.feed.lock().repeat_due_us = None;
    assert_eq!(rig.feed.deadline_us(), Some(until_us));
}

#[test]
fn an_encoder_of_the_cpu_s_waits_for_none_of_the_gpu_s_to_be_closed() {
    let software = ladder::recipe("openh264enc").unwrap();
    let mut rig = Rig::with(vec![&ladder::software::X264_AS_ON_GPU, software]);
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.submit();
    rig.next_video();
    rig.settled();
    rig.feed.replace_encoder(1, "it hangs");
    assert_eq!(rig.feed.encoder(), "openh264enc");
    // As if it hung in its end, too.
    rig.feed.lock().closing = Some(flow::Closing {
        closed: Arc::default(),
        until_us: u64::MAX,
    });
    rig.submit();
    while rig.next_video().frame < 2 {}
    rig.settled();
    // The next one of the GPU's would be one too many still.
    assert!(rig.feed.lock().closing.is_some());
}
