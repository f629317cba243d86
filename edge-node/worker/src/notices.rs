//! What the browser is told beside the media, and what a new viewer is told again.
//!
//! **Invariant:** between attach and detach the browser knows the current cursor, pointer-lock wish
//! and display size.

use crate::link::outbox::Outbox;
use nearlight_protocol::limits::NOTICE_BYTES_MAX;
use nearlight_protocol::notice::{Cursor, Notice};
use nearlight_protocol::worker::FromWorker;

/// Sends notices while somebody is attached, and remembers those that describe a state.
#[derive(Debug)]
pub struct Notices {
    outbox: Outbox,
    attached: bool,
    cursor: Cursor,
    pointer_lock: bool,
    display: (u32, u32),
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
            cursor,
            pointer_lock: false,
            display,
        }
    }

    /// A viewer came: tell it everything.
    pub fn attach(&mut self) {
        self.attached = true;
        let (width, height) = self.display;
        self.tell(&Notice::Display { width, height });
        self.tell(&Notice::Cursor {
            cursor: self.cursor.clone(),
        });
        self.tell(&Notice::PointerLock {
            wanted: self.pointer_lock,
        });
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
    pub fn cursor(&mut self, cursor: Cursor) {
        if self.cursor != cursor {
            self.cursor = cursor.clone();
            self.tell(&Notice::Cursor { cursor });
        }
    }

    /// The app locked or confined the pointer, or let go.
    pub fn pointer_lock(&mut self, wanted: bool) {
        if self.pointer_lock != wanted {
            self.pointer_lock = wanted;
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
