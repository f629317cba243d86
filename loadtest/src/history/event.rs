//! What happened, in one order: a line of JSON each.
//!
//! Whoever does or sees something records it at once, under one lock; so what stands earlier happened
//! earlier, as far as this process can tell.

use super::plan::{Fault, Gang, Plan};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(super) enum Event {
    /// A fault of the plan begins.
    Fault {
        /// Which, as JSON.
        what: String,
    },
    /// Something that is of use to people alone.
    Note {
        /// What.
        what: String,
    },
    /// From here on what was acked may be lost.
    Lag,
    /// What was lost is lost; from here on nothing is.
    FailedOver,
    /// From here on nothing breaks any more, and every broker has had the time to hear of it.
    Healed,
    /// A client asks.
    Asked {
        /// The request's number.
        ask: u64,
        /// Which broker.
        broker: usize,
        /// What.
        what: Ask,
    },
    /// A client has its answer; one that never comes is not there.
    Answered {
        /// The request's number.
        ask: u64,
        /// The status.
        status: u16,
        /// The session that the answer is about.
        session: Option<String>,
        /// Its phase.
        phase: Option<String>,
    },
    /// An edge begins a session: its journal has the epoch, and the order is acked next.
    Began {
        /// The edge's node.
        node: String,
        /// In which slot.
        slot: String,
        /// Under which epoch.
        epoch: u64,
        /// Which session.
        session: String,
        /// Which part of which gang it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<Part>,
    },
    /// Nothing of a session is left at an edge.
    Over {
        /// The edge's node.
        node: String,
        /// In which slot.
        slot: String,
        /// Under which epoch.
        epoch: u64,
        /// Which session.
        session: String,
        /// Why.
        why: String,
    },
    /// An edge refuses to begin a session.
    Refused {
        /// The edge's node.
        node: String,
        /// Which session.
        session: String,
        /// Under which epoch.
        epoch: u64,
        /// Why.
        why: String,
    },
    /// An edge's agent is killed, and what it runs lives on: nobody is there to end it.
    AgentDead {
        /// The edge's node.
        node: String,
    },
    /// An edge's agent is started again.
    AgentBack {
        /// The edge's node.
        node: String,
    },
    /// What the ledger says of itself.
    Books {
        /// What.
        books: Box<super::books::Books>,
    },
}

/// One of a gang's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// The session that stands for the gang.
    pub(super) gang: String,
    /// How often the gang was placed before.
    pub(super) run: u32,
    /// Its number, from 0.
    pub(super) rank: u32,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub(super) enum Ask {
    /// A session, under a key.
    Create {
        /// The key.
        key: String,
        /// A gang of jobs; otherwise an app.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gang: Option<Gang>,
    },
    /// How a session is.
    Look {
        /// Which.
        session: String,
    },
    /// That it ends.
    End {
        /// Which.
        session: String,
    },
    /// All sessions.
    List,
}

/// An event, and when it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Milliseconds since the Unix epoch, of a clock that does not jump.
    pub(super) at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub(super) event: Event,
}

/// Where everybody records.
#[derive(Debug)]
pub(super) struct History {
    began: (Instant, u64),
    /// Held to add an entry.
    entries: Mutex<Vec<Entry>>,
}

impl Default for History {
    fn default() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_ms = unix.map_or(0, |since| since.as_millis());
        Self {
            began: (Instant::now(), u64::try_from(unix_ms).unwrap_or_default()),
            entries: Mutex::default(),
        }
    }
}

impl History {
    /// Records what happens now.
    pub(super) fn add(&self, event: Event) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let at_ms = self.now_ms();
        entries.push(Entry { at_ms, event });
    }

    /// Records a remark for people.
    pub(super) fn note(&self, what: impl Into<String>) {
        self.add(Event::Note { what: what.into() });
    }

    /// Records that a fault begins.
    pub(super) fn fault(&self, fault: &Fault) {
        let what = serde_json::to_string(fault).unwrap_or_default();
        self.add(Event::Fault { what });
    }

    /// Everything so far.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let entries = self.entries.lock();
        entries.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now_ms(&self) -> u64 {
        let (began, unix_ms) = self.began;
        unix_ms + u64::try_from(began.elapsed().as_millis()).unwrap_or_default()
    }

    /// Writes the plan and the history to a file, a line each.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, plan: &Plan, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let mut file = BufWriter::new(file);
        serde_json::to_writer(&mut file, plan)?;
        for entry in self.entries() {
            file.write_all(b"\n")?;
            serde_json::to_writer(&mut file, &entry)?;
        }
        file.write_all(b"\n")?;
        Ok(file.flush()?)
    }
}
