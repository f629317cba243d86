//! A model of a browser: reports arrivals, asks for what is missing, shows whole frames in order,
//! and asks for a key frame when it cannot go on.

use super::stalls;
use super::{Frame, Outcome, Packet, What};
use nearlight_stream::congestion;
use std::collections::{BTreeMap, VecDeque};

/// A missing packet is asked for again after so long, so many times at most.
const ASK_AGAIN_US: u64 = 60_000;
const ASKS_MAX: u32 = 5;
/// A frame that is not whole by then is given up.
const FRAME_US_MAX: u64 = 250_000;
/// Between two requests for a key frame.
const KEY_FRAME_US: u64 = 200_000;
/// Clock of the browser against the sender's.
const CLOCK_US: u64 = 77_000_000;

/// What the browser says.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) outcomes: Vec<congestion::Outcome>,
    pub(super) missing: Vec<u64>,
    pub(super) key_frame: bool,
    sent_us: u64,
    back_us: u64,
}

impl Report {
    /// The round trip that RTCP would show at `now_us`: the way back twice, with no queue there.
    pub(super) fn rtt_us(&self, now_us: u64) -> u64 {
        debug_assert!(now_us >= self.sent_us);
        2 * self.back_us
    }
}

#[derive(Debug)]
pub(super) struct Browser {
    feedback_us: u64,
    feedback_due_us: u64,
    stalls: Vec<(u64, u64)>,
    /// On their way, by arrival.
    coming: BTreeMap<(u64, u64), Packet>,
    offered: u64,
    /// Unwrapped number and arrival of each packet since the last feedback.
    arrived: BTreeMap<u64, u64>,
    reported: Option<u64>,
    newest: Option<u64>,
    /// Packets of the picture that are missing: when asked for, how often.
    missing: BTreeMap<u64, (u64, u32)>,
    newest_number: u64,
    /// Frames that are not shown yet, and which of their packets came.
    frames: BTreeMap<u64, (Frame, Vec<u64>)>,
    shown: u64,
    broken: bool,
    key_frame_asked_us: Option<u64>,
    reports: VecDeque<(u64, Report)>,
}

impl Browser {
    pub(super) fn new(feedback_us: u64, stalls: Vec<(u64, u64)>) -> Self {
        Self {
            feedback_us,
            feedback_due_us: feedback_us,
            stalls,
            coming: BTreeMap::new(),
            offered: 0,
            arrived: BTreeMap::new(),
            reported: None,
            newest: None,
            missing: BTreeMap::new(),
            newest_number: 0,
            frames: BTreeMap::new(),
            shown: 0,
            broken: false,
            key_frame_asked_us: None,
            reports: VecDeque::new(),
        }
    }

    pub(super) fn arrives(&mut self, packet: Packet, at_us: u64) {
        self.offered += 1;
        let at_us = stalls::over_at(&self.stalls, at_us);
        self.coming.insert((at_us, self.offered), packet);
    }

    /// The reports that are back at the sender by `now_us`.
    pub(super) fn reports(&mut self, now_us: u64, back_us: u64) -> Vec<Report> {
        for (_, report) in &mut self.reports {
            report.back_us = back_us;
        }
        let mut here = Vec::new();
        while let Some((sent_us, _)) = self.reports.front()
            && sent_us + back_us <= now_us
        {
            here.extend(self.reports.pop_front().map(|(_, report)| report));
        }
        here
    }

    pub(super) fn watch(&mut self, now_us: u64, outcome: &mut Outcome) {
        while let Some(entry) = self.coming.first_entry()
            && entry.key().0 <= now_us
        {
            let ((at_us, _), packet) = entry.remove_entry();
            self.take(&packet, at_us, outcome);
        }
        self.show(now_us, outcome);
        let missing = self.ask(now_us);
        let key_frame = self.wants_key_frame(now_us);
        let stalled = stalls::over_at(&self.stalls, now_us) > now_us;
        let feedback = now_us >= self.feedback_due_us && !stalled;
        if feedback {
            self.feedback_due_us = now_us + self.feedback_us;
        }
        if feedback || key_frame || !missing.is_empty() {
            let outcomes = if feedback {
                self.feedback()
            } else {
                Vec::new()
            };
            let report = Report {
                outcomes,
                missing,
                key_frame,
                sent_us: now_us,
                back_us: 0,
            };
            self.reports.push_back((now_us, report));
        }
    }

    fn take(&mut self, packet: &Packet, at_us: u64, outcome: &mut Outcome) {
        let number = match self.newest {
            None => u64::from(packet.sequence) + (1 << 16),
            Some(newest) => {
                let ahead = packet.sequence.wrapping_sub(newest as u16).cast_signed();
                newest.saturating_add_signed(i64::from(ahead))
            }
        };
        self.newest = Some(self.newest.map_or(number, |newest| newest.max(number)));
        self.arrived.insert(number, at_us + CLOCK_US);
        match packet.what {
            What::Audio => outcome.useful(at_us, packet.wire_bytes),
            What::Video {
                number,
                frame,
                again,
            } => {
                self.missing.remove(&number);
                if !again {
                    for gap in self.newest_number + 1..number {
                        self.missing.insert(gap, (0, 0));
                    }
                    self.newest_number = self.newest_number.max(number);
                }
                if frame.number <= self.shown {
                    return;
                }
                let (_, came) = self
                    .frames
                    .entry(frame.number)
                    .or_insert((frame, Vec::new()));
                if !came.contains(&number) {
                    came.push(number);
                    outcome.useful(at_us, packet.wire_bytes);
                }
            }
        }
    }

    fn show(&mut self, now_us: u64, outcome: &mut Outcome) {
        while let Some((number, (frame, came))) = self.frames.first_key_value() {
            let (number, frame) = (*number, *frame);
            let whole = came.len() as u64 == frame.last - frame.first + 1;
            let follows = frame.key || (!self.broken && number == self.shown + 1);
            let late = now_us.saturating_sub(frame.encoded_us) > FRAME_US_MAX;
            if whole && follows {
                self.broken = false;
                outcome.shown(now_us, frame.encoded_us);
            } else if late || (whole && self.broken) {
                self.broken = true;
            } else {
                return;
            }
            self.shown = number;
            self.frames.pop_first();
            self.missing = self.missing.split_off(&(frame.last + 1));
        }
    }

    fn wants_key_frame(&mut self, now_us: u64) -> bool {
        let asked = self.key_frame_asked_us;
        let patient = asked.is_none_or(|at| now_us.saturating_sub(at) > KEY_FRAME_US);
        if self.broken && patient {
            self.key_frame_asked_us = Some(now_us);
        }
        self.broken && patient
    }

    fn ask(&mut self, now_us: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        for (number, (asked_us, asks)) in &mut self.missing {
            if *asks < ASKS_MAX && (*asks == 0 || now_us - *asked_us >= ASK_AGAIN_US) {
                *asked_us = now_us;
                *asks += 1;
                numbers.push(*number);
            }
        }
        numbers
    }

    fn feedback(&mut self) -> Vec<congestion::Outcome> {
        let (Some(newest), Some((first, _))) = (self.newest, self.arrived.first_key_value()) else {
            return Vec::new();
        };
        let from = self.reported.map_or(*first, |last| (last + 1).min(*first));
        let arrived = std::mem::take(&mut self.arrived);
        self.reported = Some(newest);
        (from..=newest)
            .map(|number| congestion::Outcome {
                sequence: number as u16,
                arrived_us: arrived.get(&number).copied(),
            })
            .collect()
    }
}
