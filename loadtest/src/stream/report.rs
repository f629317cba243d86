//! The report of `loadtest stream`: JSON for programs, a table for people.

use super::session::Measured;
use nearlight_player::collect::{Stages, Times};
use nearlight_player::decode::Readings;
use nearlight_player::frames::Tally;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::notice::StreamState;
use serde::Serialize;
use std::io::{self, Write};

/// Quantiles of a time, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are shorter.
    pub p50: f64,
    /// 90 in 100 are shorter.
    pub p90: f64,
    /// 99 in 100 are shorter.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// How many there were.
    pub count: u64,
}

impl Quantiles {
    fn of(times: &Times) -> Option<Self> {
        let histogram = times.histogram();
        let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: histogram.max() as f64 / 1000.0,
            count: histogram.len(),
        })
    }
}

/// Stages of a frame's way, by the names of [`nearlight_protocol::stage`], and two totals; `null` where
/// nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StagesMs {
    input: Option<Quantiles>,
    render: Option<Quantiles>,
    capture: Option<Quantiles>,
    encode: Option<Quantiles>,
    pace: Option<Quantiles>,
    network: Option<Quantiles>,
    commit_to_arrival: Option<Quantiles>,
    input_to_arrival: Option<Quantiles>,
}

impl StagesMs {
    fn of(stages: &Stages) -> Self {
        Self {
            input: Quantiles::of(&stages.input),
            render: Quantiles::of(&stages.render),
            capture: Quantiles::of(&stages.capture),
            encode: Quantiles::of(&stages.encode),
            pace: Quantiles::of(&stages.pace),
            network: Quantiles::of(&stages.network),
            commit_to_arrival: Quantiles::of(&stages.commit_to_arrival),
            input_to_arrival: Quantiles::of(&stages.input_to_arrival),
        }
    }
}

/// CPU of the node's processes, percent of a core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cpu {
    /// The agent: the transport of all its sessions.
    pub agent_percent: f64,
    /// The workers of the sessions measured.
    pub workers_percent: f64,
    /// Both, for each session.
    pub percent_per_session: f64,
}

/// One session over the window.
#[derive(Clone, Debug, Serialize)]
pub struct SessionReport {
    session: SessionId,
    fps: f64,
    /// Bit rate of the picture's RTP payload.
    kbps: f64,
    #[serde(flatten)]
    tally: Tally,
    /// Packets lost for good, of those sent.
    loss_percent: f64,
    jitter_ms: f64,
    longest_gap_ms: f64,
    /// Gaps of 200 ms and more.
    freezes: u64,
    interval_ms: Option<Quantiles>,
    stages_ms: StagesMs,
    marks: u64,
    /// How far times across both clocks may be wrong.
    clock_error_ms: Option<f64>,
    /// What arrived and was not read in time: not 0 means that this program was too slow.
    overflowed: u64,
    foreign: u64,
    /// What the node said last.
    state: Option<StreamState>,
    /// Since the attachment, if this session was decoded.
    pictures: Option<Readings>,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How long it was measured.
    pub seconds: f64,
    /// One for each.
    pub sessions: Vec<SessionReport>,
    /// The least of them.
    pub fps_min: f64,
    /// All sessions' frames together.
    pub stages_ms: StagesMs,
    /// Of the node, where its listener was given.
    pub cpu: Option<Cpu>,
    /// What is broken, in words; empty if nothing is.
    pub faults: Vec<String>,
}

impl Report {
    pub(super) fn new(
        measured: Vec<Measured>,
        cpu: Option<Cpu>,
        fps_min: f64,
        gap_max_us: u64,
    ) -> Self {
        let mut all = Stages::default();
        let mut faults = Vec::new();
        let mut sessions = Vec::new();
        let mut seconds = 0.0;
        for one in measured {
            merge(&mut all, &one.collect.stages);
            seconds = one.span_us as f64 / 1e6;
            let session = SessionReport::of(&one);
            let found = session.faults(fps_min, gap_max_us);
            faults.extend(found.map(|fault| format!("{}: {fault}", session.session)));
            sessions.push(session);
        }
        let slowest = sessions.iter().map(|session| session.fps);
        Self {
            seconds,
            fps_min: slowest.fold(f64::INFINITY, f64::min),
            stages_ms: StagesMs::of(&all),
            sessions,
            cpu,
            faults,
        }
    }

    /// Writes the table to stderr.
    pub(super) fn print_table(&self) -> io::Result<()> {
        let mut out = io::stderr().lock();
        writeln!(
            out,
            "{:30} {:>6} {:>7} {:>6} {:>6} {:>7} {:>8} {:>17} {:>17} {:>10}",
            "session",
            "fps",
            "kbit/s",
            "lost",
            "late",
            "jitter",
            "gap max",
            "network p50/p99",
            "commit p50/p99",
            "pictures"
        )?;
        for session in &self.sessions {
            session.print_row(&mut out)?;
        }
        if let Some(cpu) = &self.cpu {
            writeln!(
                out,
                "CPU, percent of a core: agent {:.1}, workers {:.1}, each session {:.1}",
                cpu.agent_percent, cpu.workers_percent, cpu.percent_per_session
            )?;
        }
        for fault in &self.faults {
            writeln!(out, "broken: {fault}")?;
        }
        Ok(())
    }
}

impl SessionReport {
    fn of(measured: &Measured) -> Self {
        let (collect, tally) = (&measured.collect, measured.tally);
        let seconds = measured.span_us as f64 / 1e6;
        let sent = (tally.packets + tally.lost).max(1);
        Self {
            session: measured.session.clone(),
            fps: tally.frames as f64 / seconds,
            kbps: tally.payload_bytes as f64 * 8.0 / 1000.0 / seconds,
            tally,
            loss_percent: 100.0 * tally.lost as f64 / sent as f64,
            jitter_ms: collect.jitter_us / 1000.0,
            longest_gap_ms: collect.longest_gap_us as f64 / 1000.0,
            freezes: collect.freezes,
            interval_ms: Quantiles::of(&collect.intervals),
            stages_ms: StagesMs::of(&collect.stages),
            marks: collect.marks,
            clock_error_ms: collect.clock_error_us().map(|us| us as f64 / 1000.0),
            overflowed: measured.overflowed,
            foreign: measured.foreign,
            state: measured.state.clone(),
            pictures: measured.readings,
        }
    }

    fn faults(&self, fps_min: f64, gap_max_us: u64) -> impl Iterator<Item = String> {
        let too = |bad: bool, what: String| bad.then_some(what);
        let gap_max_ms = gap_max_us as f64 / 1000.0;
        [
            too(
                self.fps < fps_min,
                format!("{:.1} fps are below {fps_min}", self.fps),
            ),
            too(
                self.longest_gap_ms > gap_max_ms,
                format!("no picture for {:.0} ms", self.longest_gap_ms),
            ),
            too(
                self.overflowed > 0,
                format!("{} arrivals were not read in time", self.overflowed),
            ),
            too(
                self.foreign > 0,
                format!("{} messages are not of this wire", self.foreign),
            ),
            too(self.marks == 0, "no frame was marked".to_owned()),
            self.pictures.and_then(|readings| readings.fault()),
        ]
        .into_iter()
        .flatten()
    }

    fn print_row(&self, out: &mut impl Write) -> io::Result<()> {
        let pair = |quantiles: Option<Quantiles>| match quantiles {
            Some(of) => format!("{:.1} / {:.1}", of.p50, of.p99),
            None => "-".to_owned(),
        };
        let pictures = match self.pictures {
            Some(readings) if readings.fault().is_none() => "continuous",
            Some(_) => "broken",
            None => "-",
        };
        writeln!(
            out,
            "{:30} {:6.1} {:7.0} {:6} {:6} {:7.2} {:8.1} {:>17} {:>17} {:>10}",
            self.session.to_string(),
            self.fps,
            self.kbps,
            self.tally.lost,
            self.tally.late,
            self.jitter_ms,
            self.longest_gap_ms,
            pair(self.stages_ms.network),
            pair(self.stages_ms.commit_to_arrival),
            pictures,
        )
    }
}

fn merge(all: &mut Stages, one: &Stages) {
    all.input.merge(&one.input);
    all.render.merge(&one.render);
    all.capture.merge(&one.capture);
    all.encode.merge(&one.encode);
    all.pace.merge(&one.pace);
    all.network.merge(&one.network);
    all.commit_to_arrival.merge(&one.commit_to_arrival);
    all.input_to_arrival.merge(&one.input_to_arrival);
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_protocol::stage::Stage;

    #[test]
    fn stages_have_the_names_that_everybody_uses() {
        let json = serde_json::to_value(StagesMs::of(&Stages::default())).unwrap();
        let known = |stage: Stage| json.get(stage.name()).is_some();
        let missing: Vec<Stage> = Stage::ALL.into_iter().filter(|s| !known(*s)).collect();
        assert_eq!(missing, [Stage::Decode, Stage::Present]);
        let totals = ["commit_to_arrival", "input_to_arrival"];
        assert!(totals.iter().all(|total| json.get(total).is_some()));
        let rest = Stage::ALL.len() - missing.len();
        assert_eq!(json.as_object().unwrap().len(), rest + totals.len());
    }
}
