//! What the browser is told beside the media, and what a new viewer is told again.
//!
//! **Invariants.** Between attach and detach the browser knows the current display size at once, and
//! the cursor and the pointer-lock wish of now or of a moment ago: an app may change these two as often
//! as it draws, and is told of at most once in [`NOTICE_INTERVAL`] each, with the newest. The first
//! change after a pause is told at once.

use crate::limits::NOTICE_INTERVAL;
use crate::link::outbox::Outbox;
use nearlight_protocol::limits::NOTICE_BYTES_MAX;
use nearlight_protocol::notice::{Cursor, Notice};
use nearlight_protocol::worker::FromWorker;

const INTERVAL_US: u64 = NOTICE_INTERVAL.as_micros() as u64;

/// Sends notices while somebody is attached, and remembers those that describe a state.
#[derive(Debug)]
pub struct Notices {
    outbox: Outbox,
    attached: bool,
    cursor: Newest<Cursor>,
    pointer_lock: Newest<bool>,
    display: (u32, u32),
}

/// Something of which the browser is told the newest, and not too often.
#[derive(Debug)]
struct Newest<T> {
    wanted: T,
    told: T,
    told_us: Option<u64>,
}

impl<T: Clone + PartialEq> Newest<T> {
    fn new(first: T) -> Self {
        Self {
            told: first.clone(),
            wanted: first,
            told_us: None,
        }
    }

    /// When the browser is to be told, if there is news.
    fn due_us(&self) -> Option<u64> {
        let due = self.told_us.map_or(0, |at| at + INTERVAL_US);
        (self.told != self.wanted).then_some(due)
    }

    /// The news, if they are due.
    fn take(&mut self, now: u64) -> Option<T> {
        let due = self.due_us().is_some_and(|due| due <= now);
        due.then(|| self.tell(now))
    }

    /// What is wanted, told now.
    fn tell(&mut self, now: u64) -> T {
        self.told_us = Some(now);
        self.told.clone_from(&self.wanted);
        self.wanted.clone()
    }
}

impl Notices {
    /// Nothing to tell yet but the display and a default cursor.
    pub fn new(outbox: Outbox, display: (u32, u32)) -> Self {
        let cursor = Cursor::Named {
            name: "default".into(),
        };
        Self {
            outbox,
            attached: false,
            cursor: Newest::new(cursor),
            pointer_lock: Newest::new(false),
            display,
        }
    }

    /// A viewer came: tell it everything.
    pub fn attach(&mut self, now: u64) {
        self.attached = true;
        let (width, height) = self.display;
        self.tell(&Notice::Display { width, height });
        let cursor = self.cursor.tell(now);
        self.tell(&Notice::Cursor { cursor });
        let wanted = self.pointer_lock.tell(now);
        self.tell(&Notice::PointerLock { wanted });
    }

    /// The viewer is gone.
    pub fn detach(&mut self) {
        self.attached = false;
    }

    /// The display has this size now.
    pub fn display(&mut self, (width, height): (u32, u32)) {
        if self.display != (width, height) {
            self.display = (width, height);
            self.tell(&Notice::Display { width, height });
        }
    }

    /// The app wants this cursor.
    pub fn cursor(&mut self, cursor: Cursor, now: u64) {
        self.cursor.wanted = cursor;
        self.on_due(now);
    }

    /// The app locked or confined the pointer, or let go.
    pub fn pointer_lock(&mut self, wanted: bool, now: u64) {
        self.pointer_lock.wanted = wanted;
        self.on_due(now);
    }

    /// When [`Self::on_due`] wants to be called.
    pub fn due_us(&self) -> Option<u64> {
        let due = [self.cursor.due_us(), self.pointer_lock.due_us()];
        due.into_iter().flatten().min().filter(|_| self.attached)
    }

    /// Tells what waited for its time.
    pub fn on_due(&mut self, now: u64) {
        if !self.attached {
            return;
        }
        if let Some(cursor) = self.cursor.take(now) {
            self.tell(&Notice::Cursor { cursor });
        }
        if let Some(wanted) = self.pointer_lock.take(now) {
            self.tell(&Notice::PointerLock { wanted });
        }
    }

    /// The app put a text on its clipboard. Not told again to a later viewer.
    pub fn clipboard(&mut self, text: String) {
        self.tell(&Notice::Clipboard { text });
    }

    fn tell(&self, notice: &Notice) {
        if !self.attached {
            return;
        }
        match serde_json::to_vec(notice) {
            Ok(json) if json.len() <= NOTICE_BYTES_MAX => {
                self.outbox.send(&FromWorker::Notice(json));
            }
            Ok(json) => tracing::warn!(bytes = json.len(), "notice is too large, not sent"),
            Err(error) => tracing::error!(%error, "a notice has no JSON"),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::worker::frame_len;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// What has come to the agent.
    fn told(agent: &mut UnixStream) -> Vec<Notice> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(n) = agent.read(&mut chunk) {
            bytes.extend(&chunk[..n]);
        }
        let mut notices = Vec::new();
        while let Some(len) = frame_len(&bytes).unwrap() {
            match FromWorker::decode(&bytes.drain(..len).collect::<Vec<u8>>()).unwrap() {
                FromWorker::Notice(json) => notices.push(serde_json::from_slice(&json).unwrap()),
                other => panic!("{other:?}"),
            }
        }
        notices
    }

    #[test]
    fn an_app_that_flickers_is_told_of_now_and_then_and_how_it_ends() {
        let (ours, mut agent) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        agent.set_nonblocking(true).unwrap();
        let outbox = Outbox::new(|| {});
        outbox.connect(ours);
        let mut notices = Notices::new(outbox, (64, 64));
        notices.cursor(Cursor::Hidden, 0);
        assert_eq!((notices.due_us(), told(&mut agent)), (None, vec![]));
        notices.attach(1_000_000);
        let first = told(&mut agent);
        let hidden = Notice::Cursor {
            cursor: Cursor::Hidden,
        };
        assert_eq!(first.len(), 3);
        assert!(first.contains(&hidden), "{first:?}");
        // After a moment of rest the next change is told at once.
        let named = |name: &str| Cursor::Named { name: name.into() };
        let start = 2_000_000;
        notices.cursor(named("text"), start);
        notices.pointer_lock(true, start);
        assert_eq!(told(&mut agent).len(), 2);
        // A second of both, a thousand times.
        let mut all = Vec::new();
        for n in 1..=1_000_u64 {
            let now = start + n * 1_000;
            notices.cursor(
                if n % 2 == 0 {
                    named("text")
                } else {
                    Cursor::Hidden
                },
                now,
            );
            notices.pointer_lock(n % 3 == 0, now);
            all.extend(told(&mut agent));
        }
        assert!((20..=40).contains(&all.len()), "{}", all.len());
        notices.cursor(named("wait"), start + 1_000_001);
        let due = notices.due_us().expect("the newest is still to be told");
        assert!(due <= start + 1_000_001 + INTERVAL_US);
        notices.on_due(due);
        assert!(told(&mut agent).contains(&Notice::Cursor {
            cursor: named("wait")
        }));
        notices.detach();
        notices.cursor(Cursor::Hidden, due + 10 * INTERVAL_US);
        assert_eq!((notices.due_us(), told(&mut agent)), (None, vec![]));
    }
}
