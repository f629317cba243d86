//! What was measured: presses, the stages that the player page told of them, runs.
//!
//! Pure. A press and its stages come from two observers, the bench's script and the player page's
//! own ledger; they are joined by the input event's time, which both know to the microsecond.

use super::plan::Run;
use nearlight_protocol::stage::Stage;
use serde::Deserialize;

/// How many stages there are.
pub(super) const STAGES: usize = Stage::ALL.len();
/// Their names, in the order of the path.
pub(super) const STAGE_NAMES: [&str; STAGES] = {
    let mut names = [""; STAGES];
    let mut at = 0;
    while at < STAGES {
        names[at] = Stage::ALL[at].name();
        at += 1;
    }
    names
};

/// One press whose picture was seen, times in milliseconds of the page's clock.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Press {
    /// `timeStamp` of the keydown event.
    pub(super) press_ms: f64,
    /// The same as the player page sends it.
    pub(super) input_us: u64,
    /// When the callback began in which the flipped pixels were there.
    pub(super) seen_ms: f64,
    /// What the browser says it is to be on the display.
    pub(super) display_ms: Option<f64>,
    /// Of the frame with the flip.
    pub(super) rtp_timestamp: Option<u32>,
}

impl Press {
    /// Input to picture.
    pub(super) fn latency_ms(&self) -> f64 {
        self.seen_ms - self.press_ms
    }
}

/// What the player page told of one input: event `nearlight-answer` (client-web/README.md).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Answer {
    /// The input event's time.
    pub(super) input_us: u64,
    /// The first frame that contains it.
    pub(super) rtp_timestamp: u32,
    /// When that frame is to be on the display.
    pub(super) present_at_ms: f64,
    /// How well the two clocks are known to each other.
    pub(super) clock_error_ms: f64,
    /// Stage by stage.
    pub(super) stages: Stages,
}

/// One value a stage, where it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Stages {
    input: Option<f64>,
    render: Option<f64>,
    capture: Option<f64>,
    encode: Option<f64>,
    pace: Option<f64>,
    network: Option<f64>,
    decode: Option<f64>,
    present: Option<f64>,
}

impl Stages {
    /// In the order of [`STAGE_NAMES`].
    pub(super) fn values(&self) -> [Option<f64>; STAGES] {
        [
            self.input,
            self.render,
            self.capture,
            self.encode,
            self.pace,
            self.network,
            self.decode,
            self.present,
        ]
    }
}

/// A press and what the player page told of it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The press.
    pub(super) press: Press,
    /// None for the floor, and where a mark was lost on the way.
    pub(super) answer: Option<Answer>,
}

impl Row {
    /// Whether the player page and the pixels mean the same frame; none where one is not known.
    pub(super) fn same_frame(&self) -> Option<bool> {
        Some(self.answer.as_ref()?.rtp_timestamp == self.press.rtp_timestamp?)
    }

    /// Input to display as the player page's ledger has it.
    pub(super) fn ledger_ms(&self) -> Option<f64> {
        Some(self.answer.as_ref()?.present_at_ms - self.press.press_ms)
    }
}

/// One run, done.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Which.
    pub(super) run: Run,
    /// Presses whose picture was seen.
    pub(super) rows: Vec<Row>,
    /// Presses whose picture was not seen in time.
    pub(super) unseen: u32,
    /// From the click on Play to the first picture.
    pub(super) first_frame_s: Option<f64>,
}

impl Measured {
    /// Joins presses and answers.
    pub(super) fn new(run: Run, presses: Vec<Press>, answers: &[Answer], unseen: u32) -> Self {
        let rows = presses
            .into_iter()
            .map(|press| {
                let answer = answers
                    .iter()
                    .find(|answer| answer.input_us == press.input_us);
                Row {
                    answer: answer.cloned(),
                    press,
                }
            })
            .collect();
        Self {
            run,
            rows,
            unseen,
            first_frame_s: None,
        }
    }

    /// Input to picture of each press.
    pub(super) fn latencies_ms(&self) -> Vec<f64> {
        self.rows.iter().map(|row| row.press.latency_ms()).collect()
    }

    /// One stage of each press of which it is known.
    pub(super) fn stage_ms(&self, stage: usize) -> Vec<f64> {
        self.rows
            .iter()
            .filter_map(|row| row.answer.as_ref()?.stages.values()[stage])
            .collect()
    }
}

#[cfg(test)]
pub(super) mod test {
    use super::super::plan::{Mode, Subject};
    use super::*;

    /// A run whose presses took so long; stage `n` took `n` ms and `present` the rest.
    pub(in super::super) fn run_of(subject: Subject, round: u32, latencies_ms: &[f64]) -> Measured {
        let press = |(i, &ms): (usize, &f64)| Press {
            press_ms: 1000.0 * i as f64,
            input_us: 1_000_000 * i as u64,
            seen_ms: 1000.0 * i as f64 + ms,
            display_ms: Some(1000.0 * i as f64 + ms),
            rtp_timestamp: Some(i as u32),
        };
        let presses: Vec<_> = latencies_ms.iter().enumerate().map(press).collect();
        let answer = |press: &Press| Answer {
            input_us: press.input_us,
            rtp_timestamp: press.rtp_timestamp.unwrap_or_default(),
            present_at_ms: press.seen_ms,
            clock_error_ms: 0.1,
            stages: Stages {
                input: Some(0.0),
                render: Some(1.0),
                capture: Some(2.0),
                encode: Some(3.0),
                pace: Some(4.0),
                network: Some(5.0),
                decode: Some(6.0),
                present: Some(press.latency_ms() - 21.0),
            },
        };
        let answers: Vec<_> = match subject {
            Subject::Floor => vec![],
            Subject::Session(_) => presses.iter().map(answer).collect(),
        };
        let run = Run { subject, round };
        Measured::new(run, presses, &answers, 0)
    }

    #[test]
    fn presses_and_answers_meet_by_the_inputs_time() {
        let mut measured = run_of(Subject::Session(Mode::Paced), 0, &[30.0, 40.0]);
        let answers: Vec<_> = measured
            .rows
            .iter()
            .filter_map(|row| row.answer.clone())
            .collect();
        let presses: Vec<_> = measured.rows.drain(..).map(|row| row.press).collect();
        // The first answer was lost; another input, which is no press, was answered too.
        let mut other = answers[1].clone();
        other.input_us += 70_000;
        let joined = Measured::new(measured.run, presses, &[other, answers[1].clone()], 0);
        assert!(joined.rows[0].answer.is_none());
        let second = &joined.rows[1];
        assert_eq!(
            (second.ledger_ms(), second.same_frame()),
            (Some(40.0), Some(true))
        );
        assert_eq!(joined.stage_ms(3), [3.0]);
    }
}
