//! What frames, marks and pongs of one session add up to. Pure: times come in.
//!
//! Frame and mark of one RTP timestamp arrive in any order; they are joined when both are there.

use crate::frames::Frame;
use hdrhistogram::Histogram;
use nearlight_protocol::notice::Mark;
use std::collections::HashMap;

/// Frames and marks that wait for each other; a frame without a mark is forgotten with the rest.
const WAITING_MAX: usize = 512;
/// A gap so long is a freeze to whoever looks.
pub const FREEZE_US: u64 = 200_000;
/// The longest time that is told apart.
const LONGEST_US: u64 = 60_000_000;

/// A distribution of microseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, 3);
        Self(histogram.unwrap_or_else(|error| unreachable!("constant bounds: {error}")))
    }
}

impl Times {
    /// One more.
    pub fn add(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    /// Those of another one, too.
    pub fn merge(&mut self, other: &Self) {
        // Equal bounds always merge.
        let _ = self.0.add(&other.0);
    }

    /// All of them.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// Where the time of a frame went, by the names of [`nearlight_protocol::stage`]; decoding and showing
/// are a browser's.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    /// Of the first frame that answers an input, as `render`.
    pub input: Times,
    /// See [`nearlight_protocol::stage`], as the next three.
    pub render: Times,
    pub capture: Times,
    pub encode: Times,
    pub pace: Times,
    pub network: Times,
    /// From the app's commit to the arrival of the last packet.
    pub commit_to_arrival: Times,
    /// From an input here to the arrival of the first frame that answers it.
    pub input_to_arrival: Times,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Collect {
    begun: bool,
    /// Where the time went.
    pub stages: Stages,
    /// Between the arrivals of frames.
    pub intervals: Times,
    /// Gaps of [`FREEZE_US`] and more.
    pub freezes: u64,
    /// The longest of them.
    pub longest_gap_us: u64,
    /// Interarrival jitter of frames (RFC 3550 section 6.4.1), microseconds.
    pub jitter_us: f64,
    /// Frames that were marked.
    pub marks: u64,
    /// Round trips of pings.
    pub round_trips: Times,
    /// The node's clock less ours, and half the round trip of the ping that said so.
    clock: Option<(i64, u64)>,
    last: Option<(u64, u32)>,
    arrived: HashMap<u32, u64>,
    marked: HashMap<u32, Mark>,
    newest_input_us: u64,
}

impl Collect {
    /// The window begins: what was collected is forgotten, what was learned of the clocks is not.
    pub fn begin(&mut self, now_us: u64) {
        *self = Self {
            begun: true,
            clock: self.clock,
            newest_input_us: self.newest_input_us,
            // A gap that the window cuts counts from its beginning.
            last: self.last.map(|(_, timestamp)| (now_us, timestamp)),
            ..Self::default()
        };
    }

    /// A frame arrived.
    pub fn frame(&mut self, frame: &Frame) {
        if let Some((last_us, last_timestamp)) = self.last {
            let interval_us = frame.at_us.saturating_sub(last_us);
            self.gap(interval_us);
            self.intervals.add(interval_us);
            // 90 ticks a millisecond; a timestamp that goes back is a fault that the jitter shows.
            let ticks = frame.rtp_timestamp.wrapping_sub(last_timestamp);
            let apart = interval_us as f64 - f64::from(ticks) * 1000.0 / 90.0;
            self.jitter_us += (apart.abs() - self.jitter_us) / 16.0;
        }
        self.last = Some((frame.at_us, frame.rtp_timestamp));
        match self.marked.remove(&frame.rtp_timestamp) {
            Some(mark) => self.join(&mark, frame.at_us),
            None => {
                make_room(&mut self.arrived);
                self.arrived.insert(frame.rtp_timestamp, frame.at_us);
            }
        }
    }

    /// A mark or a pong arrived.
    pub fn mark(&mut self, mark: &Mark, at_us: u64) {
        match *mark {
            Mark::Frame { rtp_timestamp, .. } => {
                self.marks += 1;
                match self.arrived.remove(&rtp_timestamp) {
                    Some(arrived_us) => self.join(mark, arrived_us),
                    None => {
                        make_room(&mut self.marked);
                        self.marked.insert(rtp_timestamp, *mark);
                    }
                }
            }
            Mark::Pong { client_us, host_us } => {
                let round_us = at_us.saturating_sub(client_us);
                self.round_trips.add(round_us);
                let half_us = round_us / 2;
                if self.clock.is_none_or(|(_, best_us)| half_us < best_us) {
                    let here_us = client_us + half_us;
                    self.clock = Some((host_us as i64 - here_us as i64, half_us));
                }
            }
            Mark::Train { .. } => {}
        }
    }

    /// The window is over: a gap that goes on counts too.
    pub fn ended(mut self, now_us: u64) -> Self {
        if let Some((last_us, _)) = self.last {
            self.gap(now_us.saturating_sub(last_us));
        }
        self
    }

    /// How far the difference of the clocks may be wrong, microseconds.
    pub fn clock_error_us(&self) -> Option<u64> {
        self.clock.map(|(_, half_us)| half_us)
    }

    fn gap(&mut self, us: u64) {
        self.longest_gap_us = self.longest_gap_us.max(us);
        self.freezes += u64::from(us >= FREEZE_US);
    }

    fn join(&mut self, mark: &Mark, arrived_us: u64) {
        let Mark::Frame {
            commit_us,
            captured_us,
            encoded_us,
            sent_us,
            input_us,
            input_host_us,
            ..
        } = *mark
        else {
            return;
        };
        let stages = &mut self.stages;
        stages.capture.add(captured_us.saturating_sub(commit_us));
        stages.encode.add(encoded_us.saturating_sub(captured_us));
        stages.pace.add(sent_us.saturating_sub(encoded_us));
        if let Some((ahead_us, _)) = self.clock {
            let on_node_us = arrived_us.saturating_add_signed(ahead_us);
            stages.network.add(on_node_us.saturating_sub(sent_us));
            let whole_us = on_node_us.saturating_sub(commit_us);
            stages.commit_to_arrival.add(whole_us);
        }
        if input_us > self.newest_input_us {
            // Before the window it only says which inputs are old.
            if self.begun {
                let answer_us = arrived_us.saturating_sub(input_us);
                stages.input_to_arrival.add(answer_us);
                stages.render.add(commit_us.saturating_sub(input_host_us));
                if let Some((ahead_us, _)) = self.clock {
                    let sent_on_node_us = input_us.saturating_add_signed(ahead_us);
                    stages
                        .input
                        .add(input_host_us.saturating_sub(sent_on_node_us));
                }
            }
            self.newest_input_us = input_us;
        }
    }
}

/// Forgets everything rather than grow: what did not meet its other half by now never will.
fn make_room<T>(waiting: &mut HashMap<u32, T>) {
    if waiting.len() >= WAITING_MAX {
        waiting.clear();
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use bytes::Bytes;

    fn frame(number: u32, at_us: u64) -> Frame {
        Frame {
            rtp_timestamp: number * 1500,
            key: false,
            data: Bytes::new(),
            at_us,
        }
    }

    /// Committed at its number times 16,667 us on a node whose clock is a second ahead.
    fn mark(number: u32, input_us: u64) -> Mark {
        let commit_us = 1_000_000 + u64::from(number) * 16_667;
        Mark::Frame {
            rtp_timestamp: number * 1500,
            frame: number,
            commit_us,
            captured_us: commit_us + 500,
            encoded_us: commit_us + 3_500,
            sent_us: commit_us + 4_000,
            input_us,
            // 2 ms on its way, on the node's clock.
            input_host_us: 1_000_000 + input_us + 2_000,
        }
    }

    fn ping(collect: &mut Collect, client_us: u64, round_trip_us: u64) {
        let host_us = 1_000_000 + client_us + round_trip_us / 2;
        let pong = Mark::Pong { client_us, host_us };
        collect.mark(&pong, client_us + round_trip_us);
    }

    #[test]
    fn stages_are_told_apart_whichever_half_comes_first() {
        let mut collect = Collect::default();
        ping(&mut collect, 10, 300);
        // A slower ping knows the clock less well.
        collect.mark(
            &Mark::Pong {
                client_us: 20,
                host_us: 0,
            },
            90_000,
        );
        collect.begin(0);
        assert_eq!(collect.clock_error_us(), Some(150));
        for number in 0..60 {
            let at_us = u64::from(number) * 16_667 + 6_000;
            if number % 2 == 0 {
                collect.frame(&frame(number, at_us));
                collect.mark(&mark(number, 0), at_us);
            } else {
                collect.mark(&mark(number, 0), at_us);
                collect.frame(&frame(number, at_us));
            }
        }
        let near = |times: &Times, us: u64| {
            let histogram = times.histogram();
            histogram.len() == 60 && histogram.value_at_quantile(0.5).abs_diff(us) <= us / 500 + 1
        };
        assert!(near(&collect.stages.capture, 500));
        assert!(near(&collect.stages.encode, 3000));
        assert!(near(&collect.stages.pace, 500));
        assert!(near(&collect.stages.network, 2000));
        assert!(near(&collect.stages.commit_to_arrival, 6000));
        assert!(collect.jitter_us < 1.0);
        assert_eq!(collect.freezes, 0);
    }

    #[test]
    fn an_input_counts_once_and_only_within_the_window() {
        let mut collect = Collect::default();
        ping(&mut collect, 10, 300);
        for (number, input_us) in [(0, 100), (1, 100)] {
            collect.frame(&frame(number, 10_000));
            collect.mark(&mark(number, input_us), 10_000);
        }
        assert_eq!(collect.stages.input_to_arrival.histogram().len(), 0);
        collect.begin(10_000);
        for (number, input_us) in [(2, 100), (3, 20_000), (4, 20_000)] {
            collect.frame(&frame(number, 28_000));
            collect.mark(&mark(number, input_us), 28_000);
        }
        let answers = collect.stages.input_to_arrival.histogram();
        assert_eq!(answers.len(), 1);
        assert!(answers.max().abs_diff(8000) <= 8);
        // Frame 3 is committed at 50,001 us.
        let (input, render) = (&collect.stages.input, &collect.stages.render);
        assert!(input.histogram().max().abs_diff(2_000) <= 2);
        assert!(render.histogram().max().abs_diff(28_001) <= 28);
        assert_eq!((input.histogram().len(), render.histogram().len()), (1, 1));
    }

    #[test]
    fn a_gap_counts_from_the_beginning_and_to_the_end_of_the_window() {
        let mut collect = Collect::default();
        collect.frame(&frame(0, 0));
        collect.begin(1_000_000);
        collect.frame(&frame(1, 1_100_000));
        collect.frame(&frame(2, 1_400_000));
        let collect = collect.ended(2_000_000);
        assert_eq!(collect.freezes, 2);
        assert_eq!(collect.longest_gap_us, 600_000);
    }
}
