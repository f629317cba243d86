//! The session's ladder: which encoders may be tried now, and in what form they get their pictures.
//!
//! ```text
//!   on its rung  --fails, hangs, does not start-->  rests for a minute  --over-->  on its rung
//!                                                   (twice as long each time, at most an hour)
//! ```
//!
//! What fails for pictures on the GPU rests as such alone: the same encoder may go on with pictures
//! from memory. A refusal often passes (the GPU had as many streams as it takes, its driver was
//! restarted), so nothing is struck off for good but what the desktop itself can draw no more.
//!
//! **What it does not know:** how an encoder is started, and why one failed.

use super::form::Form;
use super::ladder::Recipe;
use crate::limits::{ENCODER_REST, ENCODER_REST_MAX};
use nearlight_protocol::worker::VideoCodec;

/// The ladder and who rests.
#[derive(Debug)]
pub(super) struct Rungs {
    ladder: Vec<&'static Recipe>,
    /// Encoders that were seen to take pictures of this form, where the GPU makes such.
    zero_copy: Vec<(&'static str, Form)>,
    rests: Vec<Rest>,
}

#[derive(Debug)]
struct Rest {
    element: &'static str,
    from_memory: bool,
    until_us: u64,
    /// How long the next one is.
    next_us: u64,
}

impl Rungs {
    pub(super) fn new(ladder: Vec<&'static Recipe>) -> Self {
        Self {
            ladder,
            zero_copy: Vec::new(),
            rests: Vec::new(),
        }
    }

    /// The whole ladder, best first.
    pub(super) fn ladder(&self) -> &[&'static Recipe] {
        &self.ladder
    }

    /// These encoders take pictures of this form from the GPU.
    pub(super) fn allow_zero_copy(&mut self, encoders: &[&'static str], form: Form) {
        self.zero_copy = encoders.iter().map(|name| (*name, form)).collect();
    }

    /// Pictures come from memory alone from now on.
    pub(super) fn forbid_zero_copy(&mut self) {
        self.zero_copy.clear();
    }

    /// Those that may be tried now, best first.
    pub(super) fn usable(&self, now: u64) -> impl Iterator<Item = &'static Recipe> + '_ {
        let rests = move |recipe: &&Recipe| self.rests(recipe.element, true, now);
        self.ladder.iter().copied().filter(move |r| !rests(r))
    }

    /// The best one for `codec`.
    pub(super) fn best(&self, codec: VideoCodec, now: u64) -> Option<&'static Recipe> {
        self.usable(now).find(|recipe| recipe.codec == codec)
    }

    /// The form of the pictures that `recipe` is given now.
    pub(super) fn form_for(&self, recipe: &Recipe, now: u64) -> Form {
        let known = self.zero_copy.iter().find(|(e, _)| *e == recipe.element);
        match known {
            Some((element, form)) if !self.rests(element, false, now) => *form,
            Some(_) | None => Form::Memory,
        }
    }

    /// It failed on pictures of this form.
    pub(super) fn strike(&mut self, recipe: &Recipe, form: Form, now: u64) {
        let from_memory = form == Form::Memory;
        let (first_us, max_us) = (us(ENCODER_REST), us(ENCODER_REST_MAX));
        let struck =
            |rest: &&mut Rest| rest.element == recipe.element && rest.from_memory == from_memory;
        match self.rests.iter_mut().find(struck) {
            Some(rest) => {
                rest.until_us = now + rest.next_us;
                rest.next_us = (2 * rest.next_us).min(max_us);
            }
            None => self.rests.push(Rest {
                element: recipe.element,
                from_memory,
                until_us: now + first_us,
                next_us: 2 * first_us,
            }),
        }
    }

    fn rests(&self, element: &str, from_memory: bool, now: u64) -> bool {
        self.rests.iter().any(|rest| {
            rest.element == element && rest.from_memory == from_memory && now < rest.until_us
        })
    }
}

const fn us(duration: std::time::Duration) -> u64 {
    duration.as_micros() as u64
}

#[cfg(test)]
mod test {
    use super::super::ladder::recipe;
    use super::*;

    const REST_US: u64 = us(ENCODER_REST);
    const GPU: Form = Form::Dmabuf { modifier: 0 };

    #[test]
    fn what_failed_rests_longer_each_time_and_comes_back() {
        let [x264, openh264, vp8] =
            ["x264enc", "openh264enc", "vp8enc"].map(|e| recipe(e).unwrap());
        let mut rungs = Rungs::new(vec![x264, openh264, vp8]);
        let best = |rungs: &Rungs, now| rungs.best(VideoCodec::H264, now).map(|r| r.element);
        let mut now = 5;
        let mut rest_us = REST_US;
        for _ in 0..12 {
            assert_eq!(best(&rungs, now), Some("x264enc"));
            rungs.strike(x264, Form::Memory, now);
            assert_eq!(best(&rungs, now), Some("openh264enc"));
            now += rest_us;
            assert_eq!(best(&rungs, now - 1), Some("openh264enc"));
            rest_us = (2 * rest_us).min(us(ENCODER_REST_MAX));
        }
        assert_eq!(rest_us, us(ENCODER_REST_MAX));
        rungs.strike(x264, Form::Memory, now);
        rungs.strike(openh264, Form::Memory, now);
        assert_eq!(best(&rungs, now), None);
        let left: Vec<&str> = rungs.usable(now).map(|r| r.element).collect();
        assert_eq!(left, ["vp8enc"]);
        assert_eq!(rungs.ladder().len(), 3);
    }

    #[test]
    fn one_that_fails_on_the_gpu_s_pictures_is_given_those_from_memory_meanwhile() {
        let x264 = recipe("x264enc").unwrap();
        let mut rungs = Rungs::new(vec![x264]);
        rungs.allow_zero_copy(&["x264enc"], GPU);
        assert_eq!(rungs.form_for(x264, 0), GPU);
        rungs.strike(x264, GPU, 0);
        assert_eq!(rungs.form_for(x264, 0), Form::Memory);
        assert!(rungs.best(VideoCodec::H264, 0).is_some());
        assert_eq!(rungs.form_for(x264, REST_US), GPU);
        rungs.forbid_zero_copy();
        assert_eq!(rungs.form_for(x264, REST_US), Form::Memory);
    }
}
