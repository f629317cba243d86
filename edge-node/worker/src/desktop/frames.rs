//! When apps may draw: frame callbacks on the ticks of the display's rate.
//!
//! Owns the callbacks that wait and the [`Pacer`]. A tick is only waited for while something waits.

use super::Desktop;
use crate::clock::event_ms;
use crate::pace::Pacer;
use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::wayland::presentation::PresentationFeedbackCallback;

/// What waits for a tick or a picture.
#[derive(Debug)]
pub struct Frames {
    pub(crate) pacer: Pacer,
    pub(crate) callbacks: Vec<WlCallback>,
    pub(crate) feedback: Vec<PresentationFeedbackCallback>,
    tick_us: Option<u64>,
}

impl Frames {
    pub(crate) fn new(hz: u32) -> Self {
        Self {
            pacer: Pacer::new(hz),
            callbacks: Vec::new(),
            feedback: Vec::new(),
            tick_us: None,
        }
    }

    /// How many callbacks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.callbacks.len() + self.feedback.len()
    }
}

impl Desktop {
    /// When [`Self::on_tick`] wants to be called.
    pub fn tick_us(&mut self, now: u64) -> Option<u64> {
        if self.frames.callbacks.is_empty() && !self.capture.has_waiting() {
            self.frames.tick_us = None;
        } else if self.frames.tick_us.is_none() {
            self.frames.tick_us = Some(self.frames.pacer.next_tick_us(now));
        }
        self.frames.tick_us
    }

    /// A round of requests is over.
    pub fn on_round_end(&mut self, now: u64) {
        if self.frames.pacer.on_round_end(now) {
            self.capture_waiting();
        }
    }

    /// A tick of the display, if it is time.
    pub fn on_tick(&mut self, now: u64) {
        if self.frames.tick_us.is_none_or(|tick| tick > now) {
            return;
        }
        self.frames.tick_us = None;
        let act = self.frames.pacer.on_tick(now);
        if act.capture {
            self.capture_waiting();
        }
        if act.callbacks {
            let ms = event_ms(now);
            for callback in self.frames.callbacks.drain(..) {
                callback.done(ms);
            }
        }
    }
}
