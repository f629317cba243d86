//! Plots as SVG text: distributions, histograms, stage bars. Pure.
//!
//! Colours are classes that the report's style sheet knows, so that they follow the reader's theme.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Bars of a histogram.
const BIN_MS: f64 = 2.0;
const STAGE_ROW: f64 = 46.0;
/// A stage that is narrower tells its name only when pointed at.
const LABEL_WIDTH_MIN: f64 = 72.0;

/// A sample with the name that the legend gives it; the name is its colour's class too.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// `floor`, `immediate` or `paced`.
    pub(super) name: &'static str,
    /// In milliseconds.
    pub(super) values: Vec<f64>,
}

/// From milliseconds and shares to a place in the picture.
struct Frame {
    x_max: f64,
    y_max: f64,
}

impl Frame {
    fn x(&self, ms: f64) -> f64 {
        LEFT + ms.clamp(0.0, self.x_max) / self.x_max * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, share: f64) -> f64 {
        HEIGHT - BOTTOM - share / self.y_max * (HEIGHT - TOP - BOTTOM)
    }

    fn open(&self, title: &str, y_label: impl Fn(f64) -> String) -> String {
        let mut svg =
            format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">"#);
        for i in 0..=4 {
            let share = self.y_max * f64::from(i) / 4.0;
            let y = self.y(share);
            line(&mut svg, "grid", LEFT, y, WIDTH - RIGHT, y);
            text(&mut svg, "end", LEFT - 6.0, y + 4.0, &y_label(share));
        }
        let step = tick(self.x_max);
        let mut ms = 0.0;
        while ms <= self.x_max {
            let x = self.x(ms);
            line(&mut svg, "grid", x, TOP, x, HEIGHT - BOTTOM);
            text(
                &mut svg,
                "middle",
                x,
                HEIGHT - BOTTOM + 16.0,
                &format!("{ms:.0}"),
            );
            ms += step;
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        text(
            &mut svg,
            "middle",
            middle,
            HEIGHT - 6.0,
            "milliseconds from key press to picture",
        );
        svg
    }
}

/// The share of presses whose picture had come after so many milliseconds.
pub(super) fn distribution(series: &[Series]) -> String {
    let frame = Frame {
        x_max: x_max(series),
        y_max: 1.0,
    };
    let mut svg = frame.open("Share of presses answered, over time", |share| {
        format!("{:.0}%", share * 100.0)
    });
    for one in series.iter().filter(|one| !one.values.is_empty()) {
        let mut sorted = one.values.clone();
        sorted.sort_by(f64::total_cmp);
        let mut points = format!("{:.1},{:.1}", frame.x(0.0), frame.y(0.0));
        let count = sorted.len() as f64;
        for (i, &ms) in sorted.iter().enumerate() {
            let (x, below, above) = (frame.x(ms), i as f64 / count, (i + 1) as f64 / count);
            let _ = write!(
                points,
                " {x:.1},{:.1} {x:.1},{:.1}",
                frame.y(below),
                frame.y(above)
            );
        }
        let _ = write!(
            svg,
            r#"<polyline class="line {}" points="{points}"/>"#,
            one.name
        );
    }
    legend(&mut svg, series);
    svg + "</svg>"
}

/// How many of the presses took how long.
pub(super) fn histogram(series: &[Series]) -> String {
    let x_max = x_max(series);
    let bins = (x_max / BIN_MS).ceil() as usize;
    let shares: Vec<_> = series.iter().map(|one| binned(&one.values, bins)).collect();
    let highest = shares.iter().flatten().copied().fold(0.01, f64::max);
    let frame = Frame {
        x_max,
        y_max: highest,
    };
    let mut svg = frame.open("How many presses took how long", |share| {
        format!("{:.0}%", share * 100.0)
    });
    for (one, shares) in series.iter().zip(&shares) {
        for (bin, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (x, y) = (frame.x(bin as f64 * BIN_MS), frame.y(share));
            let width = frame.x(BIN_MS) - frame.x(0.0) - 1.0;
            let height = frame.y(0.0) - y;
            let _ = write!(
                svg,
                r#"<rect class="bar {}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#,
                one.name
            );
        }
    }
    legend(&mut svg, series);
    svg + "</svg>"
}

/// One row a mode: its stages' medians, one after the other.
pub(super) fn stage_bars(rows: &[(&str, Vec<(&str, f64)>)]) -> String {
    let total = |stages: &[(&str, f64)]| stages.iter().map(|(_, ms)| ms).sum::<f64>();
    let longest = rows
        .iter()
        .map(|(_, stages)| total(stages))
        .fold(1.0, f64::max);
    let height = STAGE_ROW * rows.len() as f64 + 8.0;
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Median of each stage">"#
    );
    for (row, (name, stages)) in rows.iter().enumerate() {
        let y = STAGE_ROW * row as f64 + 18.0;
        text(&mut svg, "start", 0.0, y - 4.0, name);
        let mut x = 0.0;
        for (stage, ms) in stages {
            let width = ms / longest * WIDTH;
            let _ = write!(
                svg,
                r#"<rect class="stage-{stage}" x="{x:.1}" y="{y}" width="{width:.1}" height="20"><title>{stage} {ms:.2} ms</title></rect>"#
            );
            if width > LABEL_WIDTH_MIN {
                text(
                    &mut svg,
                    "start on-bar",
                    x + 4.0,
                    y + 14.0,
                    &format!("{stage} {ms:.1}"),
                );
            }
            x += width;
        }
    }
    svg + "</svg>"
}

/// Everything but the last half percent fits: one outlier would squeeze the rest.
fn x_max(series: &[Series]) -> f64 {
    let ends = series
        .iter()
        .filter_map(|one| super::quantile::quantile(&one.values, 0.995));
    let end = ends.fold(BIN_MS, f64::max) * 1.05;
    (end / tick(end)).ceil() * tick(end)
}

/// A round step that gives 5 to 10 ticks.
fn tick(end: f64) -> f64 {
    let decade = 10f64.powf((end / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
    steps
        .into_iter()
        .find(|step| end / step <= 10.0)
        .unwrap_or(decade * 10.0)
}

fn binned(values: &[f64], bins: usize) -> Vec<f64> {
    let mut shares = vec![0.0; bins.max(1)];
    let last = shares.len() - 1;
    for &ms in values {
        let bin = ((ms / BIN_MS).max(0.0) as usize).min(last);
        shares[bin] += 1.0 / values.len() as f64;
    }
    shares
}

fn legend(svg: &mut String, series: &[Series]) {
    for (i, one) in series.iter().enumerate() {
        let (x, y) = (WIDTH - RIGHT - 110.0, TOP + 8.0 + 20.0 * i as f64);
        let _ = write!(
            svg,
            r#"<rect class="key {}" x="{x}" y="{y}" width="12" height="12"/>"#,
            one.name
        );
        text(svg, "start", x + 18.0, y + 10.5, one.name);
    }
}

fn line(svg: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = write!(
        svg,
        r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
    );
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let _ = write!(
        svg,
        r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{words}</text>"#
    );
}

#[cfg(test)]
mod test {
    use super::*;

    fn series() -> Vec<Series> {
        vec![
            Series {
                name: "floor",
                values: vec![4.0, 9.0, 9.5, 16.0],
            },
            Series {
                name: "immediate",
                values: vec![18.0, 22.0, 30.0, 41.0],
            },
        ]
    }

    #[test]
    fn every_series_is_drawn_and_named() {
        for svg in [distribution(&series()), histogram(&series())] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
            assert!(svg.contains(">floor</text>") && svg.contains(">immediate</text>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert_eq!(distribution(&series()).matches("<polyline").count(), 2);
        assert_eq!(
            histogram(&series()).matches(r#"class="bar floor""#).count(),
            3
        );
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (end, step) in [(9.0, 1.0), (42.0, 5.0), (100.0, 10.0), (260.0, 50.0)] {
            assert_eq!(tick(end), step, "{end}");
        }
    }

    #[test]
    fn nothing_measured_is_still_a_picture() {
        let empty = [Series {
            name: "floor",
            values: vec![],
        }];
        for svg in [distribution(&empty), histogram(&empty), stage_bars(&[])] {
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn stages_stand_one_after_the_other() {
        let svg = stage_bars(&[("paced", vec![("input", 1.0), ("encode", 3.0)])]);
        assert!(
            svg.contains(r#"class="stage-input" x="0.0" y="18" width="190.0""#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"class="stage-encode" x="190.0" y="18" width="570.0""#),
            "{svg}"
        );
    }
}
