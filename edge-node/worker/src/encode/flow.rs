//! The pictures between the desktop and the agent, under the feed's lock: those in the encoder, at
//! most one that waits, and the last one, which may be shown again.
//!
//! **Invariant:** a picture leaves by one of two ways, both of which settle its origin: as an access
//! unit that was offered to the agent, or dropped with a reason.

use super::form::{Form, Lease, Picture};
use super::keys::KeyGate;
use super::ladder::Settings;
use super::origin::{Origin, Stamp};
use super::pipeline::{Pipeline, Unit};
use super::rungs::Rungs;
use super::tempo::Tempo;
use super::{Event, Exhausted, Tell};
use crate::clock::mono_us;
use crate::ledger::Ledger;
use crate::limits::{ENCODER_CLOSE_MAX, REFINE_INTERVAL};
use crate::link::outbox::{Handed, Outbox};
use crate::ran::Ran;
use nearlight_protocol::worker::{DropReason, Video, VideoCodec};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A bit rate under this part of the one before is told at once.
const FALL_PERCENT: u64 = 80;
const CLOSE_US: u64 = ENCODER_CLOSE_MAX.as_micros() as u64;
pub(super) const REFINE_US: u64 = REFINE_INTERVAL.as_micros() as u64;

/// What a feed's lock guards.
pub(super) struct Flow {
    pub(super) settings: Settings,
    pub(super) rungs: Rungs,
    /// Why the last viewer is given up, until the event loop takes it.
    pub(super) exhausted: Option<Exhausted>,
    pub(super) ledger: Ledger,
    pub(super) outbox: Outbox,
    pub(super) tell: Tell,
    pub(super) viewer: Option<VideoCodec>,
    pub(super) running: Option<Pipeline>,
    pub(super) generation: u64,
    pub(super) flying: VecDeque<Flying>,
    pub(super) waiting: Option<(Picture, Origin, Stamp)>,
    pub(super) last: Option<(Picture, u32)>,
    pub(super) keys: KeyGate,
    pub(super) refinements_left: u32,
    pub(super) repeat_due_us: Option<u64>,
    /// What the path carries; `settings.kbps` is what the encoder was told.
    pub(super) kbps_wanted: u32,
    pub(super) kbps_changed_us: u64,
    pub(super) tempo: Tempo,
    /// No picture starts before: the path is behind.
    pub(super) held_until_us: u64,
    pub(super) pts_us: u64,
    /// The encoder before this one, while it may still hold its place on the GPU.
    pub(super) closing: Option<Closing>,
    /// The bit rate that the encoder began with.
    pub(super) started_kbps: u32,
    /// How long the encoder has had the oldest picture in it.
    pub(super) ran: Ran,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow")
            .field("viewer", &self.viewer)
            .field("generation", &self.generation)
            .field("flying", &self.flying.len())
            .finish_non_exhaustive()
    }
}

/// An encoder that is being closed.
pub(super) struct Closing {
    pub(super) closed: Arc<AtomicBool>,
    pub(super) until_us: u64,
}

impl Closing {
    fn is_over(&self, now: u64) -> bool {
        self.closed.load(Ordering::Acquire) || self.until_us <= now
    }
}

/// A picture in the encoder.
pub(super) struct Flying {
    pub(super) pts_us: u64,
    pub(super) since_us: u64,
    pub(super) stamp: Stamp,
    /// `None` once its viewer is gone: what comes back is thrown away.
    pub(super) origin: Option<Origin>,
    /// The encoder reads the picture until its access unit is there.
    pub(super) _lease: Option<Lease>,
}

impl Flow {
    /// Lets go of the encoder. The next one gets no picture before it is closed, if both are a GPU's.
    pub(super) fn retire(&mut self) {
        let Some(mut old) = self.running.take() else {
            return;
        };
        if old.recipe().on_gpu {
            let closed = Arc::new(AtomicBool::new(false));
            let (set, tell) = (Arc::clone(&closed), Arc::clone(&self.tell));
            old.on_closed(move || {
                set.store(true, Ordering::Release);
                tell(Event::Sooner);
            });
            let until_us = mono_us() + CLOSE_US;
            self.closing = Some(Closing { closed, until_us });
        }
    }

    /// Whether another start would make a better one of what runs: a better encoder or form of pictures
    /// is there again, or its buffer is of quite another bit rate.
    pub(super) fn may_climb(&self, now: u64) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let (began, kbps) = (self.started_kbps, self.kbps_wanted);
            let apart = kbps > began.saturating_mul(2) || kbps.saturating_mul(2) < began;
            if running.recipe().buffer_at_start && apart {
                return true;
            }
            let best = self.rungs.best(running.recipe().codec, now);
            best.is_some_and(|best| {
                best.element != running.recipe().element
                    || self.rungs.form_for(best, now) != running.form()
            })
        })
    }

    /// Whether what runs has a place on the GPU.
    pub(super) fn is_on_gpu(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.recipe().on_gpu)
    }

    /// The form of the pictures that are wanted now.
    pub(super) fn form(&self) -> Form {
        self.running
            .as_ref()
            .map(Pipeline::form)
            .unwrap_or_default()
    }

    /// Pictures of another form are of no use to the encoder that runs now: a new one is asked for.
    pub(super) fn forget_unfit(&mut self) {
        let form = self.form();
        let unfit = self.waiting.take_if(|(picture, ..)| picture.form != form);
        let had_last = self.last.take_if(|(picture, _)| picture.form != form);
        if unfit.is_some() || had_last.is_some() {
            (self.tell)(Event::Redraw);
        }
        if let Some((_, origin, _)) = unfit {
            origin.dropped(DropReason::Superseded);
        }
    }

    /// On the encoder's thread.
    pub(super) fn on_unit(&mut self, unit: Unit) {
        // The encoder may swallow a picture; what it returns is in order, without B-frames.
        while self.flying.front().is_some_and(|f| f.pts_us < unit.pts_us) {
            if let Some(origin) = self.flying.pop_front().and_then(|f| f.origin) {
                origin.dropped(DropReason::Encoder);
            }
        }
        if self.flying.front().is_none_or(|f| f.pts_us != unit.pts_us) {
            return;
        }
        let (
            Some(codec),
            Some(Flying {
                pts_us,
                stamp,
                origin: Some(origin),
                ..
            }),
        ) = (self.viewer, self.flying.pop_front())
        else {
            return self.fill();
        };
        let video = Video {
            codec,
            key: unit.key,
            frame: origin.number(),
            // The same but where a repeat overtook the commit: RTP time must not go back.
            commit_us: pts_us,
            captured_us: stamp.captured_us,
            encoded_us: unit.encoded_us,
            input_us: stamp.input_us,
            input_host_us: stamp.input_host_us,
            data: unit.data,
        };
        match (self.outbox.offer_video(video), origin) {
            (Handed::Taken, Origin::Commit(commit)) => commit.encoded(),
            (Handed::Taken, Origin::Repeat(_)) => self.ledger.repeated(),
            (Handed::Behind, origin) => {
                origin.dropped(DropReason::AgentBehind);
                self.want_key();
                (self.tell)(Event::Sooner);
            }
        }
        self.fill();
    }

    /// Hands the waiting picture to the encoder if it has room.
    pub(super) fn fill(&mut self) {
        let now = mono_us();
        // First, for it is a deadline for as long as it is there.
        self.closing.take_if(|closing| closing.is_over(now));
        let Some(running) = &self.running else { return };
        let closing = self.closing.is_some() && running.recipe().on_gpu;
        if self.flying.len() >= running.recipe().depth || now < self.held_until_us || closing {
            return;
        }
        self.held_until_us = 0;
        let Some((picture, origin, stamp)) = self.waiting.take() else {
            return;
        };
        let recipe = running.recipe();
        let interval = recipe.rate_interval.as_micros() as u64;
        let kbps = if recipe.by_caps_rate {
            let hz = self.settings.shape.hz;
            self.tempo.kbps_for(self.kbps_wanted, hz)
        } else {
            self.kbps_wanted
        };
        // A path that has narrowed does not wait: all that is made for the old one queues on it.
        let falls = u64::from(kbps) * 100 < u64::from(self.settings.kbps) * FALL_PERCENT;
        let due = falls || self.kbps_changed_us + interval <= now;
        if kbps != self.settings.kbps && due {
            self.settings.kbps = kbps;
            self.kbps_changed_us = now;
            running.set_kbps(kbps);
        }
        if self.keys.take(now) {
            running.force_key();
        }
        self.pts_us = (self.pts_us + 1).max(stamp.commit_us);
        let picture = picture.shown_at(self.pts_us);
        if running.push(&picture, self.pts_us) {
            let origin = Some(origin);
            self.flying.push_back(Flying {
                pts_us: self.pts_us,
                since_us: now,
                stamp,
                origin,
                _lease: picture.lease(),
            });
        } else {
            origin.dropped(DropReason::Encoder);
            let reason = "it takes no picture".to_owned();
            (self.tell)(Event::Broken {
                generation: self.generation,
                reason,
            });
        }
    }

    pub(super) fn want_key(&mut self) {
        self.keys.want();
        let frame_us = 1_000_000 / u64::from(self.settings.shape.hz);
        let due = self.keys.due_us().unwrap_or(0).max(mono_us() + frame_us);
        self.repeat_due_us = Some(self.repeat_due_us.map_or(due, |old| old.min(due)));
    }

    /// Shows the last picture again, unless a newer one is on its way.
    pub(super) fn repeat(&mut self, now: u64) {
        self.repeat_due_us = None;
        if self.flying.is_empty() && self.waiting.is_none() {
            let key_due = self.keys.due_us().is_some_and(|due| due <= now);
            if !key_due {
                self.refinements_left = self.refinements_left.saturating_sub(1);
            }
            if let Some((picture, number)) = self.last.clone() {
                let stamp = Stamp {
                    commit_us: now,
                    captured_us: now,
                    ..Stamp::default()
                };
                self.waiting = Some((picture, Origin::Repeat(number), stamp));
                self.fill();
            }
        }
        let refine = (self.refinements_left > 0).then_some(now + REFINE_US);
        let key = self.keys.due_us().map(|due| due.max(now + REFINE_US / 10));
        self.repeat_due_us = [refine, key].into_iter().flatten().min();
    }

    /// Nobody waits any more for what is on its way.
    pub(super) fn abandon(&mut self, reason: DropReason) {
        let flying = self.flying.iter_mut().filter_map(|f| f.origin.take());
        let waiting = self.waiting.take().map(|(_, origin, _)| origin);
        for origin in flying.chain(waiting) {
            origin.dropped(reason);
        }
        self.last = None;
        self.repeat_due_us = None;
        self.refinements_left = 0;
    }
}
