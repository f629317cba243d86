//! From runs to named figures; docs/performance.md explains each name.
//!
//! Pure. The figures have names with the unit before the quantile and no nesting, so that two
//! reports can be compared line by line.

use super::plan::{Mode, Subject};
use super::quantile::{Spread, median, quantile};
use super::sample::{Measured, STAGE_NAMES};

/// Named figures, in the order in which people read them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures(Vec<(String, f64)>);

impl Figures {
    /// Everything that `runs` tell.
    pub(super) fn of(runs: &[Measured]) -> Self {
        let mut figures = Self::default();
        let floor = spread(runs, Subject::Floor);
        figures.add_spread("floor_ms", floor);
        let immediate = spread(runs, Subject::Session(Mode::Immediate));
        figures.add_spread("m2p_immediate_ms", immediate);
        if let (Some(floor), Some(m2p)) = (floor, immediate) {
            figures.add("m2p_over_floor_p50", m2p.p50 / floor.p50);
            figures.add("m2p_over_floor_p99", m2p.p99 / floor.p99);
        }
        let paced = spread(runs, Subject::Session(Mode::Paced));
        figures.add_spread("m2p_paced_ms", paced);
        if let (Some(floor), Some(m2p)) = (floor, paced) {
            figures.add("m2p_paced_minus_floor_p50_ms", m2p.p50 - floor.p50);
            figures.add("m2p_paced_minus_floor_p99_ms", m2p.p99 - floor.p99);
        }
        figures.add_stages(runs, Mode::Immediate, "");
        figures.add_stages(runs, Mode::Paced, "_paced");
        figures.add_agreement(runs);
        let starts: Vec<_> = runs.iter().filter_map(|run| run.first_frame_s).collect();
        if let Some(first_frame_s) = median(&starts) {
            figures.add("first_frame_s", first_frame_s);
            figures.add(
                "first_frame_s_max",
                starts.iter().copied().fold(0.0, f64::max),
            );
        }
        let count = |of: fn(&Measured) -> usize| runs.iter().map(of).sum::<usize>() as f64;
        figures.add("presses_seen", count(|run| run.rows.len()));
        figures.add("presses_unseen", count(|run| run.unseen as usize));
        figures
    }

    /// Each with its name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// One by its name, without the suite's.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        let name = format!("stream.{name}");
        let found = self.0.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }

    fn add_stages(&mut self, runs: &[Measured], mode: Mode, suffix: &str) {
        for (stage, name) in STAGE_NAMES.iter().enumerate() {
            let values: Vec<_> = of(runs, Subject::Session(mode))
                .map(|run| run.stage_ms(stage))
                .collect();
            if let Some(Spread { p50, p99, .. }) = Spread::over(&values) {
                self.add(&format!("stage_{name}{suffix}_ms_p50"), p50);
                self.add(&format!("stage_{name}{suffix}_ms_p99"), p99);
            }
        }
        let ahead: Vec<_> = of(runs, Subject::Session(mode))
            .flat_map(|run| &run.rows)
            .filter_map(|row| Some(row.press.display_ms? - row.press.seen_ms))
            .collect();
        if let Some(ms) = quantile(&ahead, 0.5) {
            self.add(&format!("display_after_callback{suffix}_ms_p50"), ms);
        }
    }

    /// How far the player page's word can be taken: how often it names the frame that has the flip.
    fn add_agreement(&mut self, runs: &[Measured]) {
        let rows = runs.iter().flat_map(|run| &run.rows);
        let same: Vec<_> = rows.filter_map(|row| row.same_frame()).collect();
        if !same.is_empty() {
            let agreed = same.iter().filter(|same| **same).count();
            self.add("ledger_same_frame_share", agreed as f64 / same.len() as f64);
        }
    }

    fn add_spread(&mut self, name: &str, spread: Option<Spread>) {
        if let Some(Spread { p50, p90, p99 }) = spread {
            self.add(&format!("{name}_p50"), p50);
            self.add(&format!("{name}_p90"), p90);
            self.add(&format!("{name}_p99"), p99);
        }
    }

    /// Thousandths: what is behind them is noise.
    fn add(&mut self, name: &str, value: f64) {
        let value = (value * 1000.0).round() / 1000.0;
        self.0.push((format!("stream.{name}"), value));
    }
}

/// The runs of one subject.
pub(super) fn of(runs: &[Measured], subject: Subject) -> impl Iterator<Item = &Measured> {
    runs.iter().filter(move |run| run.run.subject == subject)
}

fn spread(runs: &[Measured], subject: Subject) -> Option<Spread> {
    let values: Vec<_> = of(runs, subject).map(Measured::latencies_ms).collect();
    Spread::over(&values)
}

#[cfg(test)]
mod test {
    use super::super::sample::test::run_of;
    use super::*;

    fn runs() -> Vec<Measured> {
        let immediate = Subject::Session(Mode::Immediate);
        let mut runs = vec![
            run_of(Subject::Floor, 0, &[8.0, 10.0, 16.0]),
            run_of(immediate, 0, &[22.0, 23.0, 30.0]),
            run_of(immediate, 1, &[24.0, 25.0, 40.0]),
            run_of(Subject::Session(Mode::Paced), 0, &[25.0, 27.0, 42.0]),
        ];
        runs[1].first_frame_s = Some(1.25);
        runs[2].first_frame_s = Some(0.75);
        runs[2].unseen = 1;
        runs
    }

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let page = include_str!("../../../docs/performance.md");
        for (name, _) in Figures::of(&runs()).iter() {
            assert!(
                page.contains(&format!("`{name}`")),
                "docs/performance.md does not explain {name}"
            );
        }
    }

    #[test]
    fn ratios_and_differences_are_of_the_figures_themselves() {
        let figures = Figures::of(&runs());
        let value = |name| figures.value(name).unwrap();
        assert_eq!((value("floor_ms_p50"), value("floor_ms_p99")), (10.0, 16.0));
        // The nearest-rank median of two runs is the lower.
        assert_eq!(
            (value("m2p_immediate_ms_p50"), value("m2p_immediate_ms_p99")),
            (23.0, 40.0)
        );
        assert_eq!(
            (value("m2p_over_floor_p50"), value("m2p_over_floor_p99")),
            (2.3, 2.5)
        );
        assert_eq!(value("m2p_paced_minus_floor_p50_ms"), 17.0);
        assert_eq!(value("m2p_paced_minus_floor_p99_ms"), 26.0);
        assert_eq!(
            (value("first_frame_s"), value("first_frame_s_max")),
            (0.75, 1.25)
        );
        assert_eq!(
            (value("stage_encode_ms_p50"), value("stage_present_ms_p50")),
            (3.0, 2.0)
        );
        assert_eq!(
            (value("presses_seen"), value("presses_unseen")),
            (12.0, 1.0)
        );
    }

    #[test]
    fn a_mode_that_was_not_measured_has_no_figures() {
        let figures = Figures::of(&[run_of(Subject::Floor, 0, &[9.0])]);
        assert_eq!(figures.value("m2p_paced_ms_p50"), None);
        assert_eq!(figures.value("m2p_over_floor_p50"), None);
        assert_eq!(figures.value("first_frame_s"), None);
    }
}
