//! A desktop for unit tests, served on the test's thread while a Wayland program runs on another.

#[path = "../../tests/harness/app.rs"]
#[allow(
    dead_code,
    missing_debug_implementations,
    unreachable_pub,
    reason = "the integration tests' program, of which these tests use a part"
)]
pub(super) mod app;

use super::gpu::Gpu;
use super::{Desktop, DisplaySize, Parts};
use crate::encode::Feed;
use crate::encode::ladder::{self, Settings};
use crate::encode::picture::Shape;
use crate::ledger::Ledger;
use crate::link::outbox::Outbox;
use crate::notices::Notices;
use smithay::reexports::wayland_server::Display;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long anything may take before a test gives up; no test asserts how long it did take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const SIZE: DisplaySize = DisplaySize {
    width: 800,
    height: 600,
    hz: 60,
};

/// A desktop and its Wayland display.
pub(super) struct Rig {
    display: Display<Desktop>,
    pub(super) desktop: Desktop,
    pub(super) feed: Feed,
    pub(super) ledger: Ledger,
}

impl Rig {
    pub(super) fn new(gpu: Option<Gpu>) -> Self {
        gstreamer::init().unwrap();
        let (ledger, outbox) = (Ledger::default(), Outbox::new(|| {}));
        let settings = Settings {
            shape: Shape {
                width: SIZE.width,
                height: SIZE.height,
                hz: SIZE.hz,
            },
            threads: 1,
            kbps: 1000,
        };
        let ladder = vec![ladder::recipe("x264enc").unwrap()];
        let feed = Feed::new(settings, ladder, ledger.clone(), outbox.clone(), |_| {});
        let display = Display::new().unwrap();
        let parts = Parts {
            size: SIZE,
            pixels_per_s_max: u64::MAX,
            layout: "us".to_owned(),
            feed: feed.clone(),
            ledger: ledger.clone(),
            notices: Notices::new(outbox, (SIZE.width, SIZE.height)),
            record: None,
            gpu,
        };
        Self {
            desktop: Desktop::new(&display.handle(), parts).unwrap(),
            display,
            feed,
            ledger,
        }
    }

    /// Mesa's renderer by CPU stands for a GPU.
    pub(super) fn on_gpu() -> Self {
        Self::new(Some(
            Gpu::software().expect("Mesa's renderer by CPU (Debian package libegl-mesa0)"),
        ))
    }

    /// Serves `program` until it returns.
    pub(super) fn serve<T: Send + 'static>(
        &mut self,
        program: impl FnOnce(UnixStream) -> T + Send + 'static,
    ) -> T {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.desktop.connect(ours);
        let running = std::thread::spawn(move || program(theirs));
        while !running.is_finished() {
            self.round();
            std::thread::yield_now();
        }
        self.round();
        running.join().unwrap()
    }

    /// One round of requests, as in the session's loop.
    pub(super) fn round(&mut self) {
        self.display.dispatch_clients(&mut self.desktop).unwrap();
        self.desktop.after_round();
        self.display.flush_clients().unwrap();
    }
}
