//! The agent's end of the worker socket.

use super::PATIENCE;
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::input::{Event, Packet};
use nearlight_protocol::notice::Notice;
use nearlight_protocol::worker::{
    Attach, Counters, Failed, FromWorker, Ready, Target, ToWorker, Video, VideoCodec, frame_len,
};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A connection and everything that came over it.
pub struct Agent {
    stream: UnixStream,
    bytes: Vec<u8>,
    seq: u32,
    pub ready: Option<Ready>,
    pub first_frame: bool,
    pub videos: Vec<Video>,
    pub notices: Vec<Notice>,
    pub counters: Counters,
    greeted: bool,
    marks: u64,
    pub audio: u64,
    pub failed: Option<Failed>,
    pub closed: bool,
}

/// The socket's file is there a moment before the worker listens on it.
fn dial(path: &Path) -> UnixStream {
    let started = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(
                error.kind() == ErrorKind::ConnectionRefused && started.elapsed() < PATIENCE,
                "cannot connect to the worker: {error}"
            ),
        }
    }
}

impl Agent {
    pub fn connect(path: &Path) -> Self {
        let stream = dial(path);
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut agent = Self {
            stream,
            bytes: Vec::new(),
            seq: 0,
            ready: None,
            first_frame: false,
            videos: Vec::new(),
            notices: Vec::new(),
            counters: Counters::default(),
            greeted: false,
            marks: 0,
            audio: 0,
            failed: None,
            closed: false,
        };
        agent.until("ready and the first counters", |a| {
            a.ready.is_some() && a.greeted
        });
        agent.marks = agent.counters.injected.get("layout").copied().unwrap_or(0);
        agent
    }

    pub fn send(&mut self, message: &ToWorker) {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        self.send_raw(&bytes);
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        // A worker that is gone shows in what the test waits for next.
        let _ = self.stream.write_all(bytes);
    }

    pub fn attach(&mut self, codec: VideoCodec) {
        self.attach_with(codec, None);
    }

    pub fn attach_with(&mut self, codec: VideoCodec, display: Option<DisplayMode>) {
        self.send(&ToWorker::Attach(Attach {
            codec,
            target: Target::full(4000),
            display,
            session: None,
        }));
    }

    pub fn input(&mut self, event: Event) {
        self.seq += 1;
        let seq = self.seq;
        self.input_with_seq(seq, event);
    }

    pub fn input_with_seq(&mut self, seq: u32, event: Event) {
        let packet = Packet {
            seq,
            client_us: 1000 + u64::from(seq),
            event,
        }
        .encode();
        self.send(&ToWorker::Input {
            host_us: u64::from(seq),
            packet,
        });
    }

    pub fn key(&mut self, code: u16, pressed: bool) {
        self.input(Event::Key { code, pressed });
    }

    /// Reads what is there, or waits a moment for it.
    pub fn poll(&mut self) {
        let mut chunk = vec![0; 1 << 16];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.closed = true,
            Ok(n) => self.bytes.extend(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
        let mut start = 0;
        while let Some(len) = frame_len(&self.bytes[start..]).unwrap() {
            if self.bytes.len() < start + len {
                break;
            }
            let message = FromWorker::decode(&self.bytes[start..start + len]).unwrap();
            start += len;
            self.take(message);
        }
        self.bytes.drain(..start);
    }

    fn take(&mut self, message: FromWorker) {
        match message {
            FromWorker::Ready(ready) => self.ready = Some(ready),
            FromWorker::Video(video) => self.videos.push(video),
            FromWorker::Audio { .. } => self.audio += 1,
            FromWorker::Notice(json) => {
                self.notices.push(serde_json::from_slice(&json).unwrap());
            }
            FromWorker::Counters(counters) => {
                assert_balanced(&counters);
                self.counters = counters;
                self.greeted = true;
            }
            FromWorker::FirstFrame => self.first_frame = true,
            FromWorker::Failed(failed) => self.failed = Some(failed),
        }
    }

    /// Reads until `condition` holds.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self) {
            assert!(
                started.elapsed() < PATIENCE && !self.closed,
                "{what} did not happen (closed: {}, failed: {:?}, videos: {}, {:?})",
                self.closed,
                self.failed,
                self.videos.len(),
                self.counters,
            );
            self.poll();
        }
    }

    /// Counters that were taken after everything the worker was told so far, with every commit
    /// settled.
    pub fn fresh_counters(&mut self) -> Counters {
        let mark = self.mark();
        self.until("counters", |a| {
            a.has_reached(mark) && a.counters.in_flight == 0
        });
        self.counters.clone()
    }

    /// Marks a place in what the worker is told, by an input without effect.
    pub fn mark(&mut self) -> u64 {
        self.marks += 1;
        self.input(Event::Layout("us".into()));
        self.marks
    }

    /// Whether the newest counters were taken after the mark.
    pub fn has_reached(&self, mark: u64) -> bool {
        self.counters
            .injected
            .get("layout")
            .is_some_and(|n| *n >= mark)
    }

    /// Reads until `condition` holds for the session's failure.
    pub fn until_failed(&mut self) -> Failed {
        self.until("a failure", |a| a.failed.is_some());
        self.failed.clone().unwrap()
    }
}

/// Every commit is accounted for, whenever it is asked.
pub fn assert_balanced(c: &Counters) {
    let dropped: u64 = c.dropped.values().sum();
    assert_eq!(c.committed, c.encoded + c.in_flight + dropped, "{c:?}");
    assert!(c.in_flight <= 5, "{c:?}");
}
