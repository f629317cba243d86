//! When apps may draw: frame callbacks, in the turns that the [`Pacer`] gives.
//!
//! Owns the callbacks that wait and the [`Pacer`]. A turn is only waited for while something waits.

use super::Desktop;
use crate::clock::event_ms;
use crate::pace::Pacer;
use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::wayland::presentation::PresentationFeedbackCallback;

/// What waits for a turn or a picture.
#[derive(Debug)]
pub struct Frames {
    pub(crate) pacer: Pacer,
    pub(crate) callbacks: Vec<WlCallback>,
    pub(crate) feedback: Vec<PresentationFeedbackCallback>,
}

impl Frames {
    pub(crate) fn new(hz: u32) -> Self {
        Self {
            pacer: Pacer::new(hz),
            callbacks: Vec::new(),
            feedback: Vec::new(),
        }
    }

    /// How many callbacks wait.
    pub(crate) fn waiting(&self) -> usize {
        self.callbacks.len() + self.feedback.len()
    }

    /// An input reached the app.
    pub(crate) fn on_input(&mut self, now: u64) {
        self.pacer.on_input(now, !self.callbacks.is_empty());
    }
}

impl Desktop {
    /// When [`Self::on_turn`] wants to be called.
    pub fn turn_us(&mut self, now: u64) -> Option<u64> {
        let callbacks_wait = !self.frames.callbacks.is_empty();
        self.frames.pacer.deadline_us(now, callbacks_wait)
    }

    /// A round of requests is over.
    pub fn on_round_end(&mut self, now: u64) {
        if self.frames.pacer.on_round_end(now) {
            self.capture_waiting();
        }
    }

    /// A turn of the display, if it is time.
    pub fn on_turn(&mut self, now: u64) {
        if self.turn_us(now).is_none_or(|turn| turn > now) {
            return;
        }
        let callbacks_wait = !self.frames.callbacks.is_empty();
        let act = self.frames.pacer.on_deadline(now, callbacks_wait);
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
