//! The report: figures for programs, presses for those who plot on their own, a page for people.
//!
//! | file | what |
//! |---|---|
//! | `report.json` | one flat object: `stream.*` figures, `machine.*` facts, `plan.*` what was asked for |
//! | `presses.csv` | one line a press, with its stages |
//! | `report.html` | one page with its plots in it; it loads nothing |

use super::figures::{Figures, of};
use super::machine::Machine;
use super::plan::{Mode, Plan, Subject};
use super::plot::{self, Series};
use super::quantile::quantile;
use super::sample::{Measured, Row, STAGE_NAMES};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const STYLE: &str = include_str!("report.css");
const SUBJECTS: [Subject; 3] = [
    Subject::Floor,
    Subject::Session(Mode::Immediate),
    Subject::Session(Mode::Paced),
];

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    /// What was asked for.
    pub(super) plan: Plan,
    /// Which app.
    pub(super) app: String,
    /// Where.
    pub(super) machine: Machine,
    /// All runs, in their order.
    pub(super) runs: Vec<Measured>,
}

impl Report {
    /// Writes the three files into `folder`.
    ///
    /// # Errors
    /// The file that cannot be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), (PathBuf, std::io::Error)> {
        let files = [
            ("report.json", self.json()),
            ("presses.csv", self.csv()),
            ("report.html", self.html()),
        ];
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| (path, error))?;
        }
        Ok(())
    }

    /// Named figures.
    pub(super) fn figures(&self) -> Figures {
        Figures::of(&self.runs)
    }

    fn json(&self) -> String {
        let mut flat = Map::new();
        for (name, value) in self.figures().iter() {
            flat.insert(name.to_owned(), value.into());
        }
        for (name, value) in self.facts() {
            flat.insert(name, value);
        }
        format!("{:#}\n", Value::Object(flat))
    }

    fn facts(&self) -> Vec<(String, Value)> {
        let named = |prefix: &str, value: Value| match value {
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| (format!("{prefix}.{name}"), value))
                .collect(),
            _ => vec![],
        };
        let plan = json!({
            "app": self.app,
            "sessions": self.plan.sessions,
            "presses": self.plan.presses,
            "seed": self.plan.seed,
        });
        let machine = serde_json::to_value(&self.machine).unwrap_or_default();
        [named("plan", plan), named("machine", machine)].concat()
    }

    fn csv(&self) -> String {
        let mut text = format!(
            "subject,round,press_ms,picture_ms,display_ms,{},ledger_ms,clock_error_ms,same_frame\n",
            STAGE_NAMES.map(|name| format!("{name}_ms")).join(",")
        );
        for run in &self.runs {
            for row in &run.rows {
                let _ = writeln!(
                    text,
                    "{},{},{}",
                    run.run.subject.name(),
                    run.run.round,
                    csv_row(row)
                );
            }
        }
        text
    }

    fn html(&self) -> String {
        let series: Vec<_> = SUBJECTS
            .iter()
            .map(|&subject| Series {
                name: subject.name(),
                values: of(&self.runs, subject)
                    .flat_map(Measured::latencies_ms)
                    .collect(),
            })
            .filter(|series| !series.values.is_empty())
            .collect();
        let figures = self.figures();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>Input to picture</title><style>{STYLE}</style>\n<h1>Input to picture</h1>\n<p>{}</p>\n",
            escaped(&self.summary())
        );
        let _ = write!(
            page,
            "{}\n<h2>Distribution</h2>\n{}\n",
            headline(&figures),
            plot::distribution(&series)
        );
        let _ = write!(page, "<h2>Histogram</h2>\n{}\n", plot::histogram(&series));
        let _ = write!(
            page,
            "<h2>Where the milliseconds go</h2>\n<p>Medians over all presses, as the player page's own ledger tells them; \
             <em>present</em> ends when the browser expects the frame on the display, or with its callback if that is later.</p>\n{}\n",
            plot::stage_bars(&self.stage_rows())
        );
        let _ = write!(page, "<h2>Runs</h2>\n{}\n", self.runs_table());
        let _ = write!(
            page,
            "<h2>All figures</h2>\n{}\n",
            table(
                ["figure", "value"],
                figures
                    .iter()
                    .map(|(name, value)| [name.to_owned(), value.to_string()])
            )
        );
        let facts = self.facts().into_iter().map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            [name, value]
        });
        let _ = write!(
            page,
            "<h2>Machine and plan</h2>\n{}\n</html>\n",
            table(["fact", "value"], facts)
        );
        page
    }

    fn summary(&self) -> String {
        format!(
            "App {}, {} sessions of {} presses a mode and as many on a local canvas, {}, {} ({} cores).",
            self.app,
            self.plan.sessions,
            self.plan.presses,
            self.machine.browser,
            self.machine.cpu,
            self.machine.cores
        )
    }

    fn stage_rows(&self) -> Vec<(&'static str, Vec<(&'static str, f64)>)> {
        [Mode::Immediate, Mode::Paced]
            .into_iter()
            .filter_map(|mode| {
                let medians = STAGE_NAMES.iter().enumerate().map(|(stage, name)| {
                    let all: Vec<_> = of(&self.runs, Subject::Session(mode))
                        .flat_map(|run| run.stage_ms(stage))
                        .collect();
                    Some((*name, quantile(&all, 0.5)?))
                });
                Some((mode.name(), medians.collect::<Option<Vec<_>>>()?))
            })
            .collect()
    }

    fn runs_table(&self) -> String {
        let rows = self.runs.iter().map(|run| {
            let values = run.latencies_ms();
            let at = |share| {
                quantile(&values, share).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"))
            };
            let first = run
                .first_frame_s
                .map_or_else(|| "-".to_owned(), |s| format!("{s:.2}"));
            [
                format!("{} {}", run.run.subject.name(), run.run.round + 1),
                at(0.5),
                at(0.9),
                at(0.99),
                values.len().to_string(),
                run.unseen.to_string(),
                first,
            ]
        });
        table(
            [
                "run",
                "p50 ms",
                "p90 ms",
                "p99 ms",
                "seen",
                "unseen",
                "first frame s",
            ],
            rows,
        )
    }
}

fn headline(figures: &Figures) -> String {
    let rows = SUBJECTS.iter().filter_map(|subject| {
        let name = match subject {
            Subject::Floor => "floor_ms".to_owned(),
            Subject::Session(mode) => format!("m2p_{}_ms", mode.name()),
        };
        let at = |quantile: &str| figures.value(&format!("{name}_{quantile}"));
        let [p50, p90, p99] = [at("p50")?, at("p90")?, at("p99")?].map(|ms| format!("{ms:.1}"));
        Some([subject.name().to_owned(), p50, p90, p99])
    });
    table(["milliseconds", "p50", "p90", "p99"], rows)
}

fn csv_row(row: &Row) -> String {
    let press = &row.press;
    let mut cells = vec![Some(press.press_ms), Some(press.seen_ms), press.display_ms];
    match &row.answer {
        Some(answer) => cells.extend(answer.stages.values()),
        None => cells.extend([None; STAGE_NAMES.len()]),
    }
    cells.push(row.ledger_ms());
    cells.push(row.answer.as_ref().map(|answer| answer.clock_error_ms));
    let cells: Vec<_> = cells
        .into_iter()
        .map(|cell| cell.map_or_else(String::new, |ms| format!("{ms:.3}")))
        .collect();
    let same_frame = row
        .same_frame()
        .map_or("", |same| if same { "1" } else { "0" });
    format!("{},{same_frame}", cells.join(","))
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut html = format!(
        "<table><tr>{}</tr>",
        head.map(|cell| format!("<th>{cell}</th>")).concat()
    );
    for row in rows {
        let cells = row
            .map(|cell| format!("<td>{}</td>", escaped(&cell)))
            .concat();
        let _ = write!(html, "<tr>{cells}</tr>");
    }
    html + "</table>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod test {
    use super::super::sample::test::run_of;
    use super::*;

    fn report() -> Report {
        let immediate = Subject::Session(Mode::Immediate);
        Report {
            plan: Plan {
                sessions: 1,
                presses: 3,
                modes: vec![Mode::Immediate],
                seed: 1,
            },
            app: "calibrate".to_owned(),
            machine: Machine {
                cpu: "<CPU> & co".to_owned(),
                ..Machine::default()
            },
            runs: vec![
                run_of(Subject::Floor, 0, &[8.0, 9.0, 16.0]),
                run_of(immediate, 0, &[22.0, 25.0, 31.0]),
            ],
        }
    }

    #[test]
    fn the_json_is_flat() {
        let value: Value = serde_json::from_str(&report().json()).unwrap();
        let object = value.as_object().unwrap();
        assert!(
            object
                .values()
                .all(|value| value.is_number() || value.is_string())
        );
        assert_eq!(object["stream.m2p_immediate_ms_p50"], 25.0);
        assert_eq!(object["plan.presses"], 3);
        assert_eq!(object["machine.cpu"], "<CPU> & co");
    }

    #[test]
    fn the_csv_has_a_line_for_each_press_and_a_cell_for_each_column() {
        let csv = report().csv();
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines.len(), 7);
        let columns = |line: &str| line.split(',').count();
        assert!(
            lines.iter().all(|line| columns(line) == columns(lines[0])),
            "{csv}"
        );
        assert_eq!(lines[1], "floor,0,0.000,8.000,8.000,,,,,,,,,,,");
        assert_eq!(
            lines[4],
            "immediate,0,0.000,22.000,22.000,0.000,1.000,2.000,3.000,4.000,5.000,6.000,1.000,22.000,0.100,1"
        );
    }

    #[test]
    fn the_page_stands_alone() {
        let page = report().html();
        assert!(page.contains("&lt;CPU&gt; &amp; co") && !page.contains("<CPU>"));
        assert_eq!(page.matches("<svg").count(), 3);
        for outside in ["<script", "http://", "https://", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn three_files_are_written() {
        let folder = tempfile::tempdir().unwrap();
        report().write(folder.path()).unwrap();
        for name in ["report.json", "presses.csv", "report.html"] {
            assert!(folder.path().join(name).is_file(), "{name}");
        }
        let (path, _) = report().write(&folder.path().join("absent")).unwrap_err();
        assert!(path.ends_with("absent/report.json"));
    }
}
