//! `wp_presentation`: when a commit was shown. Here that is when it was captured, or, without a
//! viewer, when it was committed.

use super::Desktop;
use smithay::delegate_presentation;
use smithay::reexports::wayland_protocols::wp::presentation_time::server::wp_presentation_feedback::Kind;
use smithay::wayland::presentation::Refresh;
use std::time::Duration;

impl Desktop {
    /// Everything that waits was shown with the commit of this number.
    pub(crate) fn presented(&mut self, now: u64, number: u32) {
        let refresh = Refresh::fixed(Duration::from_micros(self.frames.pacer.interval_us()));
        for feedback in self.frames.feedback.drain(..) {
            let time = Duration::from_micros(now);
            feedback.presented(
                &self.output,
                time,
                refresh,
                u64::from(number),
                Kind::empty(),
            );
        }
    }

    /// Everything that waits was replaced before it was shown.
    pub(crate) fn discarded(&mut self) {
        for feedback in self.frames.feedback.drain(..) {
            feedback.discarded();
        }
    }
}

delegate_presentation!(Desktop);
