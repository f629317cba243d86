//! From pictures to access units, for whoever watches.
//!
//! ```text
//!             attach                    picture, encoder free
//!   idle  ------------->  watching  --------------------------->  flying  -->  handed over
//!    ^                       |  \                                   ^
//!    +------ detach ---------+   \ encoder busy: waits, newest wins |
//!                                 +--------------------------------+
//! ```
//!
//! [`Feed`] owns the running encoder and every picture between the desktop and the agent: those in
//! the encoder (`flying`), at most one that waits, and the last one, which is shown again when a
//! new viewer comes, a key frame is asked for, or the screen stands still (its quality converges
//! then). Both the desktop's thread and the encoder's call it; the lock is held for bookkeeping
//! only, never while something is encoded or waited for.
//!
//! **Invariants.** Nothing is encoded without a viewer. The first access unit of an attachment and
//! of a new shape is a key frame. Every picture has the shape the encoder was started for. Every commit
//! that enters is settled in the [`crate::ledger`]. An encoder that fails or hangs is replaced by the
//! next of its codec on the ladder ([`rungs`]); when none is left, the feed is idle, and says so
//! ([`Feed::take_exhausted`]): viewers may go on with another codec.
//!
//! **What it does not know:** Wayland, sockets, why a key frame or a bit rate is wanted.

mod flow;
pub mod form;
pub mod keys;
pub mod ladder;
pub mod origin;
pub mod picture;
pub mod pipeline;
pub mod probe;
mod rungs;
pub mod scale;
pub mod tempo;

pub use origin::{Origin, Stamp};

use crate::clock::mono_us;
use crate::ledger::Ledger;
use crate::limits::{ENCODE_MAX, REFINEMENTS};
use crate::link::outbox::Outbox;
use crate::ran::Ran;
use flow::{Flow, REFINE_US};
use form::{Form, Picture};
use keys::KeyGate;
use ladder::{Recipe, Settings};
use nearlight_protocol::worker::{DropReason, VideoCodec};
use picture::Shape;
use pipeline::{Output, Pipeline};
use rungs::Rungs;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempo::Tempo;

const ENCODE_MAX_US: u64 = ENCODE_MAX.as_micros() as u64;
/// A path that is behind for longer than that is asked again with a picture.
const HOLD_MAX_US: u64 = 500_000;

/// What the feed tells the event loop, from any thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its next deadline moved closer.
    Sooner,
    /// The encoder takes pictures of another form now: hand in the current one again.
    Redraw,
    /// The encoder of this generation is broken: call [`Feed::replace_encoder`].
    Broken {
        /// Which one.
        generation: u64,
        /// Why, for the log.
        reason: String,
    },
}

/// No encoder of the ladder works for the codec now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no encoder for {codec:?} works: {last}")]
pub struct Exhausted {
    /// The codec that is wanted.
    pub codec: VideoCodec,
    /// What the last encoder said.
    pub last: String,
}

/// The encoder and the pictures around it; clones share them.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Mutex<Flow>>,
    tell: Tell,
}

/// How the event loop is told, without the lock: an encoder may fail while it is being started.
type Tell = Arc<dyn Fn(Event) + Send + Sync>;

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lock().fmt(f)
    }
}

impl Feed {
    /// A feed that encodes with `ladder`; `tell` is called from any thread and must not block.
    pub fn new(
        settings: Settings,
        ladder: Vec<&'static Recipe>,
        ledger: Ledger,
        outbox: Outbox,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        let tell: Tell = Arc::new(tell);
        let inner = Flow {
            kbps_wanted: settings.kbps,
            settings,
            rungs: Rungs::new(ladder),
            exhausted: None,
            ledger,
            outbox,
            tell: Arc::clone(&tell),
            viewer: None,
            running: None,
            generation: 0,
            flying: VecDeque::new(),
            waiting: None,
            last: None,
            keys: KeyGate::default(),
            refinements_left: 0,
            repeat_due_us: None,
            kbps_changed_us: 0,
            tempo: Tempo::default(),
            held_until_us: 0,
            pts_us: 0,
            closing: None,
            started_kbps: settings.kbps,
            ran: Ran::default(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            tell,
        }
    }

    /// Encoders of the ladder that take pictures of this form from the GPU; nothing runs yet.
    pub fn allow_zero_copy(&self, encoders: &[&'static str], form: Form) {
        self.lock().rungs.allow_zero_copy(encoders, form);
    }

    /// The ladder, best first.
    pub(crate) fn recipes(&self) -> Vec<&'static Recipe> {
        self.lock().rungs.ladder().to_vec()
    }

    /// The form of the pictures that are wanted now.
    pub fn form(&self) -> Form {
        self.lock().form()
    }

    /// The GPU draws no more: every encoder takes pictures from memory from now on.
    pub fn forbid_zero_copy(&self) {
        let mut inner = self.lock();
        inner.rungs.forbid_zero_copy();
        if inner.form() == Form::Memory {
            return;
        }
        inner.abandon(DropReason::Superseded);
        inner.retire();
        if let Some(codec) = inner.viewer {
            inner.keys.want_now();
            self.start(&mut inner, codec, "none takes pictures from memory");
        }
    }

    /// Codecs with an encoder that may be tried now, best first.
    pub fn encoders(&self) -> Vec<(VideoCodec, String)> {
        let inner = self.lock();
        let usable = inner.rungs.usable(mono_us());
        usable.map(|r| (r.codec, r.element.to_owned())).collect()
    }

    /// Why nothing is encoded any more for the viewer that attached last, once: to be asked after
    /// whatever may start an encoder.
    pub fn take_exhausted(&self) -> Option<Exhausted> {
        self.lock().exhausted.take()
    }

    /// The encoder in use, or empty.
    pub fn encoder(&self) -> String {
        let inner = self.lock();
        inner
            .running
            .as_ref()
            .map_or_else(String::new, |p| p.recipe().element.to_owned())
    }

    /// A viewer came, or the same one again: start with a key frame. The caller hands in the
    /// current picture next.
    pub fn attach(&self, codec: VideoCodec, kbps: u32) {
        let mut inner = self.lock();
        inner.abandon(DropReason::NoViewer);
        inner.viewer = Some(codec);
        // What was said of the viewer before is nothing to this one.
        inner.exhausted = None;
        inner.kbps_wanted = kbps;
        inner.held_until_us = 0;
        inner.keys.want_now();
        let reusable = inner
            .running
            .as_ref()
            .is_some_and(|p| p.recipe().codec == codec);
        if !reusable || inner.may_climb(mono_us()) {
            inner.settings.kbps = kbps;
            self.start(&mut inner, codec, "none is on the ladder");
        }
    }

    /// Pictures have this shape from now on. Starts the encoder anew if somebody watches; the
    /// caller hands in the current picture next, or soon.
    pub fn reshape(&self, shape: Shape) {
        let mut inner = self.lock();
        if inner.settings.shape == shape {
            return;
        }
        inner.abandon(DropReason::Superseded);
        inner.flying.clear();
        inner.settings.shape = shape;
        inner.retire();
        if let Some(codec) = inner.viewer {
            inner.settings.kbps = inner.kbps_wanted;
            inner.keys.want_now();
            self.start(&mut inner, codec, "none takes the size");
        }
    }

    /// The pictures' size and rate.
    pub fn shape(&self) -> Shape {
        self.lock().settings.shape
    }

    /// The viewer is gone. The encoder stays warm for the next one.
    pub fn detach(&self) {
        let mut inner = self.lock();
        inner.abandon(DropReason::NoViewer);
        inner.viewer = None;
    }

    /// A new picture.
    pub fn submit(&self, picture: Picture, origin: Origin, stamp: Stamp) {
        let mut inner = self.lock();
        if inner.viewer.is_none() {
            return origin.dropped(DropReason::NoViewer);
        }
        if picture.form != inner.form() {
            // The encoder was replaced while this one was drawn.
            (inner.tell)(Event::Redraw);
            return origin.dropped(DropReason::Superseded);
        }
        if matches!(origin, Origin::Commit(_)) {
            inner.tempo.on_picture(stamp.commit_us);
        }
        inner.last = Some((picture.clone(), origin.number()));
        inner.refinements_left = REFINEMENTS;
        inner.repeat_due_us = Some(mono_us() + REFINE_US);
        if let Some((_, older, _)) = inner.waiting.replace((picture, origin, stamp)) {
            older.dropped(DropReason::Superseded);
        }
        inner.fill();
    }

    /// The viewer needs a key frame. The next commit becomes one; without a commit within a frame
    /// time the last picture is shown again. It is also the moment to go back to a better encoder
    /// that has rested.
    pub fn key_frame(&self) {
        let mut inner = self.lock();
        if let Some(codec) = inner.viewer.filter(|_| inner.may_climb(mono_us())) {
            inner.abandon(DropReason::Superseded);
            inner.settings.kbps = inner.kbps_wanted;
            inner.keys.want_now();
            self.start(&mut inner, codec, "none is on the ladder");
            (inner.tell)(Event::Redraw);
        }
        inner.want_key();
    }

    /// The path carries so much.
    pub fn set_kbps(&self, kbps: u32) {
        self.lock().kbps_wanted = kbps;
    }

    /// The path is behind: starts no picture before `until_us`, but at most half a second from now.
    /// What waits meanwhile is the newest picture.
    pub fn hold(&self, until_us: u64) {
        let mut inner = self.lock();
        inner.held_until_us = until_us.min(mono_us() + HOLD_MAX_US);
        inner.fill();
    }

    /// When [`Self::on_deadline`] wants to be called.
    pub fn deadline_us(&self) -> Option<u64> {
        let inner = self.lock();
        let held = inner.flying.front();
        let stuck = held.map(|f| inner.ran.next_look_us(f.pts_us, f.since_us));
        let repeat = inner.repeat_due_us.filter(|_| inner.viewer.is_some());
        let held = inner.waiting.is_some() && inner.held_until_us > 0;
        let release = held.then_some(inner.held_until_us);
        let closing = inner.closing.as_ref().map(|closing| closing.until_us);
        let closed = closing.filter(|_| inner.waiting.is_some() && inner.is_on_gpu());
        let all = [stuck, repeat, release, closed];
        all.into_iter().flatten().min()
    }

    /// Shows the last picture again if that is due, and gives up on an encoder that hangs.
    pub fn on_deadline(&self, now: u64) {
        let mut inner = self.lock();
        let held = inner.flying.front().map(|f| (f.pts_us, f.since_us));
        // Not by the clock alone: after a pause of the machine its access unit is about to come.
        if held.is_some_and(|(pts, since)| inner.ran.look(pts, since, now) >= ENCODE_MAX_US) {
            let generation = inner.generation;
            let reason = format!("it held a picture for {} s", ENCODE_MAX.as_secs());
            (inner.tell)(Event::Broken { generation, reason });
            return;
        }
        if inner.repeat_due_us.is_some_and(|due| due <= now) {
            inner.repeat(now);
        }
        inner.fill();
    }

    /// Goes on with the next encoder of the ladder. The broken one rests.
    pub fn replace_encoder(&self, generation: u64, reason: &str) {
        let mut inner = self.lock();
        if generation != inner.generation {
            return;
        }
        let running = inner.running.as_ref();
        let Some((recipe, form)) = running.map(|broken| (broken.recipe(), broken.form())) else {
            return;
        };
        tracing::warn!(
            encoder = recipe.element,
            reason,
            "encoder broke, trying the next one"
        );
        inner.rungs.strike(recipe, form, mono_us());
        inner.retire();
        for flying in std::mem::take(&mut inner.flying) {
            if let Some(origin) = flying.origin {
                origin.dropped(DropReason::Encoder);
            }
        }
        inner.generation += 1;
        if let Some(codec) = inner.viewer {
            inner.keys.want_now();
            self.start(&mut inner, codec, reason);
            inner.forget_unfit();
            inner.fill();
            let now = mono_us();
            if inner.flying.is_empty() {
                inner.repeat(now);
            }
        }
    }

    /// Starts the best encoder for `codec` that does start; if none does, the feed is idle.
    fn start(&self, inner: &mut Flow, codec: VideoCodec, why: &str) {
        inner.retire();
        inner.flying.clear();
        let mut last = why.to_owned();
        while let Some(recipe) = inner.rungs.best(codec, mono_us()) {
            inner.generation += 1;
            let generation = inner.generation;
            let (feed, tell) = (Arc::downgrade(&self.inner), Arc::clone(&self.tell));
            let (settings, form) = (inner.settings, inner.rungs.form_for(recipe, mono_us()));
            let started = Pipeline::start(recipe, &settings, form, move |output| match output {
                Output::Unit(unit) => {
                    if let Some(inner) = feed.upgrade() {
                        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
                        if inner.generation == generation {
                            inner.on_unit(unit);
                        }
                    }
                }
                Output::Broken(reason) => tell(Event::Broken { generation, reason }),
            });
            match started {
                Ok(pipeline) => {
                    tracing::info!(
                        encoder = recipe.element,
                        ?settings,
                        ?form,
                        "encoder started"
                    );
                    inner.running = Some(pipeline);
                    inner.kbps_changed_us = mono_us();
                    inner.started_kbps = inner.settings.kbps;
                    return;
                }
                Err(error) => {
                    tracing::warn!(encoder = recipe.element, %error, "encoder did not start");
                    last = error.to_string();
                    inner.rungs.strike(recipe, form, mono_us());
                }
            }
        }
        inner.abandon(DropReason::Encoder);
        inner.viewer = None;
        inner.exhausted = Some(Exhausted { codec, last });
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod test;
