//! What the tests share: a node's transport with a worker of ours behind it, and a native viewer in
//! front of it. Nothing sleeps; every wait is for a message and has a deadline.

pub(crate) mod relay;
pub(crate) mod viewer;

use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{ViewerRole, WhepRefusal, WhepResult};
use nearlight_protocol::id::{AttachmentId, SessionId, WatchLinkId};
use nearlight_protocol::worker::{
    Attach, Counters as WorkerCounters, FromWorker, Ready, ToWorker, Video, VideoCodec, frame_len,
};
use nearlight_transport::{Census, Config, Counters, Event, Handle};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Far more than anything takes; reached only when something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A session id of its own for each number.
pub(crate) fn session(number: u64) -> SessionId {
    SessionId::from_parts(number, [3; 10])
}

/// An attachment id of its own for each number.
pub(crate) fn attachment(number: u64) -> AttachmentId {
    AttachmentId::from_parts(number, [4; 10])
}

/// A watch link id of its own for each number.
pub(crate) fn link(number: u64) -> WatchLinkId {
    WatchLinkId::from_parts(number, [5; 10])
}

/// A transport on loopback and its events.
pub(crate) struct Node {
    pub(crate) transport: Handle,
    events: Receiver<Event>,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::on("127.0.0.1:0".parse().unwrap());
        change(&mut config);
        let (tx, events) = channel();
        let transport = nearlight_transport::start(config, move |event| {
            // A test that is over takes no more events.
            let _ = tx.send(event);
        });
        Self::of(transport.unwrap(), events)
    }

    /// A transport that was started elsewhere.
    pub(crate) fn of(transport: Handle, events: Receiver<Event>) -> Self {
        Self { transport, events }
    }

    /// Adds session `number` with a worker that is ready and shows a picture.
    pub(crate) fn add_session(&self, number: u64) -> Worker {
        self.add_session_with(number, &[VideoCodec::H264, VideoCodec::VP8])
    }

    /// The same with encoders for these codecs, best first.
    pub(crate) fn add_session_with(&self, number: u64, codecs: &[VideoCodec]) -> Worker {
        let worker = self.add_silent_session(number);
        let named = |codec: &VideoCodec| (*codec, "test".to_owned());
        worker.say(&FromWorker::Ready(Ready {
            width: 1280,
            height: 720,
            encoders: codecs.iter().map(named).collect(),
        }));
        worker.say(&FromWorker::FirstFrame);
        let id = session(number);
        self.wait(|event| matches!(event, Event::FirstFrame { session } if *session == id));
        worker
    }

    /// Adds session `number` with a worker that has said nothing.
    pub(crate) fn add_silent_session(&self, number: u64) -> Worker {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(DEADLINE)).unwrap();
        ours.set_write_timeout(Some(DEADLINE)).unwrap();
        self.transport.add_session(session(number), theirs);
        Worker { stream: ours }
    }

    /// The next event that `wanted` wants; others are passed over.
    pub(crate) fn wait(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).expect("the event comes");
            if wanted(&event) {
                return event;
            }
        }
    }

    pub(crate) fn wait_attached(&self, number: u64) {
        let wanted = attachment(number);
        self.wait(|e| matches!(e, Event::Attached { attachment, .. } if *attachment == wanted));
    }

    pub(crate) fn wait_detached(&self, number: u64) {
        let wanted = attachment(number);
        self.wait(|e| matches!(e, Event::Detached { attachment, .. } if *attachment == wanted));
    }

    /// The session's totals once `wanted` likes them.
    pub(crate) fn wait_counters(
        &self,
        number: u64,
        wanted: impl Fn(&Counters) -> bool,
    ) -> (WorkerCounters, Counters) {
        let id = session(number);
        let like = |event: &Event| match event {
            Event::Counters {
                session, transport, ..
            } => *session == id && wanted(transport),
            _ => false,
        };
        match self.wait(like) {
            Event::Counters {
                worker, transport, ..
            } => (*worker, *transport),
            other => unreachable!("{other:?}"),
        }
    }

    /// Events until the next of `session`'s totals, all of them.
    pub(crate) fn events_until_counters(&self, number: u64) -> Vec<Event> {
        let id = session(number);
        let mut seen = Vec::new();
        loop {
            let event = self.events.recv_timeout(DEADLINE).unwrap();
            let end = matches!(&event, Event::Counters { session, .. } if *session == id);
            seen.push(event);
            if end {
                return seen;
            }
        }
    }

    pub(crate) fn offer(&self, number: u64, id: u64, sdp: &str, take_over: bool) -> WhepResult {
        let (tx, rx) = channel();
        let reply = move |result| tx.send(result).unwrap();
        let sdp = sdp.to_owned();
        self.transport.offer(
            session(number),
            attachment(id),
            sdp,
            ViewerRole::Player { take_over },
            reply,
        );
        rx.recv_timeout(DEADLINE).unwrap()
    }

    /// Offers to watch session `number` on link `link`.
    pub(crate) fn watch(&self, number: u64, id: u64, sdp: &str, link: u64) -> WhepResult {
        let (tx, rx) = channel();
        let reply = move |result| tx.send(result).unwrap();
        let role = ViewerRole::Watcher {
            link: self::link(link),
        };
        let (session, attachment) = (session(number), attachment(id));
        self.transport
            .offer(session, attachment, sdp.to_owned(), role, reply);
        rx.recv_timeout(DEADLINE).unwrap()
    }

    /// Offers to check a line.
    pub(crate) fn check_line(&self, sdp: &str) -> WhepResult {
        let (tx, rx) = channel();
        let reply = move |result| tx.send(result).unwrap();
        self.transport.probe(sdp.to_owned(), reply);
        rx.recv_timeout(DEADLINE).unwrap()
    }

    /// Waits until `count` watch session `number`.
    pub(crate) fn wait_watchers(&self, number: u64, count: u32) {
        let session = session(number);
        let wanted = Event::Watchers { session, count };
        self.wait(|event| *event == wanted);
    }

    /// How much the loop keeps.
    pub(crate) fn census(&self) -> Census {
        let (tx, rx) = channel();
        self.transport
            .census(move |census| tx.send(census).unwrap());
        rx.recv_timeout(DEADLINE).unwrap()
    }

    /// The answer to an offer that must be taken.
    pub(crate) fn answer(&self, number: u64, id: u64, sdp: &str, take_over: bool) -> String {
        taken(self.offer(number, id, sdp, take_over))
    }

    /// The reason for which an offer is refused.
    pub(crate) fn refusal(&self, number: u64, id: u64, sdp: &str) -> WhepRefusal {
        match self.offer(number, id, sdp, false) {
            WhepResult::Refused { reason, detail } => {
                assert!(!detail.is_empty());
                reason
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn patch(&self, number: u64, id: u64, fragment: &str) -> WhepResult {
        let (tx, rx) = channel();
        let reply = move |result| tx.send(result).unwrap();
        let fragment = fragment.to_owned();
        self.transport
            .patch(session(number), attachment(id), fragment, reply);
        rx.recv_timeout(DEADLINE).unwrap()
    }

    pub(crate) fn delete(&self, number: u64, id: u64) -> WhepResult {
        let (tx, rx) = channel();
        let reply = move |result| tx.send(result).unwrap();
        self.transport
            .delete(session(number), attachment(id), reply);
        rx.recv_timeout(DEADLINE).unwrap()
    }

    pub(crate) fn end(&self, number: u64, reason: EndReason) {
        self.transport.end_session(session(number), reason);
    }
}

/// The answer in a result that must be one.
pub(crate) fn taken(result: WhepResult) -> String {
    match result {
        WhepResult::Answer { sdp } => sdp,
        other => panic!("refused: {other:?}"),
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.transport.shutdown();
    }
}

/// The worker's end of its socket.
pub(crate) struct Worker {
    pub(crate) stream: UnixStream,
}

impl Worker {
    pub(crate) fn say(&self, message: &FromWorker) {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        (&self.stream).write_all(&bytes).unwrap();
    }

    /// The next message of the transport; `None` once it hung up.
    pub(crate) fn hear(&self) -> Option<ToWorker> {
        let mut bytes = vec![0; 4];
        (&self.stream).read_exact(&mut bytes).ok()?;
        bytes.resize(frame_len(&bytes).unwrap().unwrap(), 0);
        (&self.stream).read_exact(&mut bytes[4..]).unwrap();
        Some(ToWorker::decode(&bytes).unwrap())
    }

    /// The next message that `wanted` wants; others are passed over.
    pub(crate) fn hear_until(&self, wanted: impl Fn(&ToWorker) -> bool) -> ToWorker {
        loop {
            let message = self.hear().expect("the transport goes on talking");
            if wanted(&message) {
                return message;
            }
        }
    }

    pub(crate) fn hear_attach(&self) -> Attach {
        match self.hear_until(|m| matches!(m, ToWorker::Attach(_))) {
            ToWorker::Attach(attach) => attach,
            other => unreachable!("{other:?}"),
        }
    }

    /// Hands over access unit `frame`.
    pub(crate) fn show(&self, frame: u32, key: bool, bytes: usize) {
        self.say(&FromWorker::Video(unit(frame, key, bytes)));
    }
}

/// The commit time of `frame`, so that its RTP timestamp is known.
pub(crate) fn commit_us(frame: u32) -> u64 {
    1_000_000_000 + u64::from(frame) * 16_600
}

/// An access unit that is none for a decoder: one slice of `bytes` bytes.
pub(crate) fn unit(frame: u32, key: bool, bytes: usize) -> Video {
    let mut data = vec![0, 0, 0, 1, if key { 0x65 } else { 0x41 }];
    data.extend((0..bytes).map(|i| (i % 251) as u8 + 1));
    Video {
        codec: VideoCodec::H264,
        key,
        frame,
        commit_us: commit_us(frame),
        captured_us: commit_us(frame) + 1000,
        encoded_us: commit_us(frame) + 3000,
        input_us: u64::from(frame) + 7,
        input_host_us: 0,
        data,
    }
}
