mod closing;
#[path = "../../tests/harness/decode.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "the harness of the test programs"
)]
mod decode;
mod marker;

use super::flow::Flying;
use super::picture::{Order, Pictures};
use super::*;
use gstreamer as gst;
use nearlight_protocol::worker::{FromWorker, Video, frame_len};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const SETTINGS: Settings = Settings {
    shape: Shape {
        width: 64,
        height: 64,
        hz: 60,
    },
    threads: 1,
    kbps: 1000,
};

/// A feed, the agent's end of its link, and what it tells the event loop.
struct Rig {
    feed: Feed,
    ledger: Ledger,
    agent: UnixStream,
    bytes: Vec<u8>,
    told: Receiver<Event>,
}

impl Rig {
    fn new(elements: &[&str]) -> Self {
        Self::with(
            elements
                .iter()
                .map(|e| ladder::recipe(e).unwrap())
                .collect(),
        )
    }

    fn with(ladder: Vec<&'static Recipe>) -> Self {
        gst::init().unwrap();
        let (ours, agent) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        agent.set_read_timeout(Some(PATIENCE)).unwrap();
        let outbox = Outbox::new(|| {});
        outbox.connect(ours);
        let ledger = Ledger::default();
        let (tell, told) = sync_channel(64);
        let feed = Feed::new(SETTINGS, ladder, ledger.clone(), outbox, move |event| {
            tell.try_send(event).unwrap();
        });
        Self {
            feed,
            ledger,
            agent,
            bytes: Vec::new(),
            told,
        }
    }

    /// Waits for the encoder before this one to be closed.
    fn wait_closed(&self) {
        let since = std::time::Instant::now();
        let open = |closing: &flow::Closing| !closing.closed.load(Ordering::Acquire);
        while self.feed.lock().closing.as_ref().is_some_and(open) {
            assert!(since.elapsed() < PATIENCE, "it is never closed");
            std::thread::yield_now();
        }
    }

    fn submit(&self) {
        self.submit_as(|picture| picture);
    }

    /// Submits a commit's picture that `change` makes something of.
    fn submit_as(&self, change: impl FnOnce(Picture) -> Picture) {
        let pictures = Pictures::new((64, 64), 100, 60).unwrap();
        let mut canvas = pictures.canvas().unwrap();
        canvas.draw(&[0x40; 64 * 64 * 4], 256, Order::Bgrx).unwrap();
        let commit = self.ledger.committed();
        let stamp = Stamp {
            commit_us: mono_us(),
            ..Stamp::default()
        };
        self.feed
            .submit(change(canvas.plain()), Origin::Commit(commit), stamp);
    }

    /// The counts once nothing is in flight: an access unit is handed over a moment before its
    /// commit is settled.
    fn settled(&self) -> crate::ledger::Totals {
        let since = std::time::Instant::now();
        loop {
            let totals = self.ledger.snapshot();
            if totals.in_flight == 0 {
                return totals;
            }
            assert!(since.elapsed() < PATIENCE, "{totals:?}");
            std::thread::yield_now();
        }
    }

    fn next_video(&mut self) -> Video {
        loop {
            if let Some(len) = frame_len(&self.bytes).unwrap()
                && self.bytes.len() >= len
            {
                let frame: Vec<u8> = self.bytes.drain(..len).collect();
                match FromWorker::decode(&frame).unwrap() {
                    FromWorker::Video(video) => return video,
                    other => panic!("not a video: {other:?}"),
                }
            }
            let mut chunk = [0; 4096];
            let n = self.agent.read(&mut chunk).expect("a video in time");
            self.bytes.extend(&chunk[..n]);
        }
    }
}

#[test]
fn nothing_is_encoded_without_a_viewer() {
    let rig = Rig::new(&["x264enc"]);
    rig.submit();
    assert_eq!(rig.ledger.snapshot().dropped[&DropReason::NoViewer], 1);
    assert_eq!(rig.feed.deadline_us(), None);
    assert_eq!(rig.feed.encoder(), "");
}

#[test]
fn a_broken_encoder_is_replaced_by_the_next_which_shows_the_last_picture() {
    let mut rig = Rig::new(&["x264enc", "openh264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.submit();
    assert!(rig.next_video().key);
    assert_eq!(rig.feed.encoder(), "x264enc");

    rig.feed.replace_encoder(1, "pulled");
    let again = rig.next_video();
    assert!(again.key);
    assert_eq!(again.frame, 1);
    assert_eq!(rig.feed.encoder(), "openh264enc");
    // A late word about the first one changes nothing.
    rig.feed.replace_encoder(1, "pulled again");
    assert_eq!(rig.feed.encoder(), "openh264enc");

    rig.submit();
    assert_eq!(rig.next_video().frame, 2);
    let generation = rig.feed.lock().generation;
    assert_eq!(rig.feed.take_exhausted(), None);
    rig.feed.replace_encoder(generation, "pulled too");
    let exhausted = rig.feed.take_exhausted().unwrap();
    assert_eq!(exhausted.codec, VideoCodec::H264);
    assert_eq!(rig.feed.take_exhausted(), None, "it is said once");
    assert_eq!(rig.feed.encoders(), []);
    let totals = rig.ledger.snapshot();
    assert_eq!(
        (totals.committed, totals.encoded, totals.in_flight),
        (2, 2, 0),
        "{totals:?}"
    );
    assert!(totals.repeated >= 1);
}

#[test]
fn a_codec_without_an_encoder_leaves_the_feed_idle_and_the_others_to_choose() {
    let mut rig = Rig::new(&["x264enc", "vp8enc"]);
    rig.feed.attach(VideoCodec::VP9, 1000);
    let exhausted = rig.feed.take_exhausted().unwrap();
    assert_eq!(exhausted.codec, VideoCodec::VP9);
    rig.submit();
    assert_eq!(rig.ledger.snapshot().dropped[&DropReason::NoViewer], 1);
    // One codec's encoders fail, one after the other; a viewer of another codec is served.
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.submit();
    assert_eq!(rig.next_video().codec, VideoCodec::H264);
    rig.settled();
    let generation = rig.feed.lock().generation;
    rig.feed.replace_encoder(generation, "the GPU is gone");
    assert!(rig.feed.take_exhausted().is_some());
    assert_eq!(
        rig.feed.encoders(),
        [(VideoCodec::VP8, "vp8enc".to_owned())]
    );
    // What nobody took in time is said of that viewer alone.
    rig.feed.attach(VideoCodec::VP9, 1000);
    rig.feed.attach(VideoCodec::VP8, 1000);
    assert_eq!(rig.feed.take_exhausted(), None);
    rig.submit();
    let video = rig.next_video();
    assert_eq!(
        (video.codec, video.key, video.frame),
        (VideoCodec::VP8, true, 3)
    );
}

#[test]
fn a_better_encoder_that_has_rested_is_back_with_the_next_key_frame() {
    let mut rig = Rig::new(&["x264enc", "openh264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.submit();
    rig.next_video();
    rig.settled();
    rig.feed.replace_encoder(1, "pulled");
    assert!(rig.next_video().key);
    rig.feed.key_frame();
    assert_eq!(rig.feed.encoder(), "openh264enc", "it still rests");
    let ladder = rig.feed.recipes();
    rig.feed.lock().rungs = Rungs::new(ladder);
    rig.feed.key_frame();
    assert_eq!(rig.feed.encoder(), "x264enc");
    assert_eq!(rig.told.try_recv(), Ok(Event::Redraw));
    rig.submit();
    // Access units of the other encoder may be on their way.
    while rig.next_video().frame < 2 {}
    rig.settled();
}

#[test]
fn a_burst_keeps_only_its_newest_picture() {
    let mut rig = Rig::new(&["x264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    for _ in 0..20 {
        rig.submit();
    }
    while rig.next_video().frame < 20 {}
    let totals = rig.settled();
    assert_eq!(totals.committed, 20);
    let superseded = totals
        .dropped
        .get(&DropReason::Superseded)
        .copied()
        .unwrap_or(0);
    assert_eq!(totals.encoded + superseded, 20, "{totals:?}");
}

#[test]
fn while_the_path_is_behind_only_the_newest_picture_waits() {
    let mut rig = Rig::new(&["x264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    rig.submit();
    assert_eq!(rig.next_video().frame, 1);
    rig.settled();
    // However far away the agent says, it is half a second at most.
    rig.feed.hold(u64::MAX);
    let until_us = rig.feed.lock().held_until_us;
    assert!(until_us <= mono_us() + HOLD_MAX_US);
    for _ in 0..3 {
        rig.submit();
    }
    assert!(rig.feed.deadline_us().unwrap() <= until_us);
    assert_eq!(rig.ledger.snapshot().dropped[&DropReason::Superseded], 2);
    rig.feed.hold(0);
    assert_eq!(rig.next_video().frame, 4);
}

#[test]
fn a_picture_is_drawn_on_again_only_when_its_access_unit_is_there_and_a_newer_one_is_shown() {
    let mut rig = Rig::new(&["x264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    let leases: [form::Lease; 3] = Default::default();
    let holders = |n: usize| Arc::strong_count(&leases[n]) - 1;
    let submit = |rig: &Rig, n: usize| {
        let lease = Arc::clone(&leases[n]);
        rig.submit_as(|picture| picture.leased(lease));
    };
    submit(&rig, 0);
    assert!(holders(0) >= 1, "in the encoder, and shown");
    assert_eq!(rig.next_video().frame, 1);
    rig.settled();
    assert_eq!(holders(0), 1, "it may be shown again");
    // One that waits is let go of when a newer one takes its place.
    rig.feed.hold(u64::MAX);
    submit(&rig, 1);
    assert_eq!((holders(0), holders(1)), (0, 2));
    submit(&rig, 2);
    assert_eq!((holders(1), holders(2)), (0, 2));
    rig.feed.hold(0);
    assert_eq!(rig.next_video().frame, 3);
    rig.settled();
    rig.feed.detach();
    assert_eq!(holders(2), 0);
}

#[test]
fn a_picture_of_another_form_is_none_for_this_encoder_and_a_new_one_is_asked_for() {
    let rig = Rig::new(&["x264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    let lease = form::Lease::default();
    rig.submit_as(|picture| Picture::on_gpu(picture.buffer, 0, Arc::clone(&lease)));
    assert_eq!(rig.told.recv_timeout(PATIENCE).unwrap(), Event::Redraw);
    let totals = rig.settled();
    assert_eq!(totals.dropped[&DropReason::Superseded], 1);
    assert_eq!(Arc::strong_count(&lease), 1);
}

#[test]
fn an_encoder_that_takes_nothing_from_the_gpu_after_all_is_given_pictures_from_memory() {
    let mut rig = Rig::new(&["x264enc"]);
    let form = Form::Dmabuf { modifier: 0 };
    rig.feed.allow_zero_copy(&["x264enc"], form);
    rig.feed.attach(VideoCodec::H264, 1000);
    assert_eq!(rig.feed.form(), Form::Memory);
    let recipe = ladder::recipe("x264enc").unwrap();
    let next = rig.feed.lock().rungs.form_for(recipe, mono_us());
    assert_eq!(next, Form::Memory, "it is not tried again soon");
    rig.submit();
    assert_eq!(rig.next_video().frame, 1);
    assert_eq!(rig.feed.encoder(), "x264enc");
    rig.settled();
    // What was drawn for an encoder that is gone is of no use to the next.
    let mut inner = rig.feed.lock();
    inner.last.as_mut().unwrap().0.form = form;
    inner.forget_unfit();
    assert!(inner.last.is_none());
    assert_eq!(rig.told.try_recv(), Ok(Event::Redraw));
}

#[test]
fn an_encoder_that_hangs_is_noticed() {
    let rig = Rig::new(&["x264enc"]);
    rig.feed.attach(VideoCodec::H264, 1000);
    let since_us = mono_us();
    rig.feed.lock().flying.push_back(Flying {
        pts_us: u64::MAX,
        since_us,
        stamp: Stamp::default(),
        origin: Some(Origin::Commit(rig.ledger.committed())),
        _lease: None,
    });
    // The machine stands still for a minute: that is not the encoder's doing.
    let woken_us = since_us + 60_000_000;
    rig.feed.on_deadline(woken_us);
    assert!(rig.told.try_recv().is_err());
    // Seen to hold it all the time, at the feed's own deadlines.
    let mut now = woken_us;
    while now < woken_us + ENCODE_MAX_US {
        now = rig.feed.deadline_us().unwrap();
        rig.feed.on_deadline(now);
        assert!(now < woken_us + 2 * ENCODE_MAX_US);
        if now < woken_us + ENCODE_MAX_US / 2 {
            assert!(rig.told.try_recv().is_err());
        }
    }
    assert!(matches!(
        rig.told.try_recv(),
        Ok(Event::Broken { generation: 1, .. })
    ));
    rig.feed.replace_encoder(1, "hung");
    assert!(rig.feed.take_exhausted().is_some());
    assert_eq!(rig.ledger.snapshot().dropped[&DropReason::Encoder], 1);
}

#[test]
fn a_fall_of_the_path_is_told_at_once_and_a_buffer_of_another_rate_lasts_to_the_next_key_frame() {
    let mut rig = Rig::with(vec![&ladder::software::X264_AS_ON_GPU]);
    rig.feed.attach(VideoCodec::H264, 8000);
    let shown = |rig: &mut Rig, kbps: u32| {
        rig.feed.set_kbps(kbps);
        rig.submit();
        rig.next_video();
        rig.settled();
        rig.feed.lock().settings.kbps
    };
    // The encoder is to be told seldom: once a second.
    assert_eq!(shown(&mut rig, 7600), 8000);
    assert_eq!(shown(&mut rig, 4500), 4500);
    assert_eq!(shown(&mut rig, 4300), 4500);
    let generation = rig.feed.lock().generation;
    rig.feed.key_frame();
    assert_eq!(rig.feed.lock().generation, generation, "its buffer will do");
    assert_eq!(shown(&mut rig, 1000), 1000);
    rig.feed.key_frame();
    assert_eq!(rig.feed.lock().generation, generation + 1);
    assert_eq!(rig.feed.lock().started_kbps, 1000);
    rig.wait_closed();
    assert_eq!(shown(&mut rig, 1000), 1000);
}

/// Pictures of blocks of grey noise, none like the one before.
fn noise(seed: &mut u32, side: (u32, u32)) -> Vec<u8> {
    let blocks: Vec<u8> = (0..side.0 / 8 * (side.1 / 8))
        .map(|_| {
            *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            116 + (*seed >> 24) as u8 % 24
        })
        .collect();
    let row = |y: u32| {
        let blocks = &blocks[(y / 8 * (side.0 / 8)) as usize..];
        blocks[..side.0 as usize / 8]
            .iter()
            .flat_map(|level| [*level; 32])
    };
    (0..side.1).flat_map(row).collect()
}

#[test]
fn the_bit_rate_is_what_the_path_carries_and_no_frame_is_a_flood() {
    gst::init().unwrap();
    let side = (320, 184);
    let pictures = Pictures::new(side, 100, 60).unwrap();
    let settings = Settings {
        shape: pictures.shape(),
        threads: 1,
        kbps: 800,
    };
    let (tell, told) = sync_channel(4);
    let recipe = ladder::recipe("x264enc").unwrap();
    let pipeline = Pipeline::start(recipe, &settings, Form::Memory, move |output| {
        tell.send(output).unwrap();
    })
    .unwrap();
    let mut seed = 1;
    let mut pts_us = 0;
    for kbps in [800, 480, 800] {
        pipeline.set_kbps(kbps);
        let mut sizes = Vec::new();
        for n in 0..70 {
            let mut canvas = pictures.canvas().unwrap();
            let pixels = noise(&mut seed, side);
            canvas.draw(&pixels, side.0 * 4, Order::Bgrx).unwrap();
            pts_us += 16_667;
            assert!(pipeline.push(&canvas.plain(), pts_us));
            match told.recv_timeout(PATIENCE).unwrap() {
                Output::Unit(unit) => {
                    assert_eq!(unit.key, pts_us == 16_667);
                    sizes.extend((n >= 15).then_some(unit.data.len()));
                }
                Output::Broken(reason) => panic!("{reason}"),
            }
        }
        let delivered = sizes.iter().sum::<usize>() as u32 * 8 * 60 / sizes.len() as u32 / 1000;
        assert!(
            delivered.abs_diff(kbps) <= kbps / 10,
            "{delivered} of {kbps} kbit/s"
        );
        let largest = sizes.iter().max().unwrap() * sizes.len() * 10 / sizes.iter().sum::<usize>();
        assert!(largest <= 20, "a frame of {largest} tenths of the mean");
    }
}
