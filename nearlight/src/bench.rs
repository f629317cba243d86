//! `nearlight bench latency`: from a key press in a browser to the picture that answers it.
//!
//! ```text
//!   round 1: immediate, paced, floor · round 2: immediate, paced, floor · …
//!   run:     a fresh guest's page -> settle -> press, see, wait at random, press, … -> report
//! ```
//!
//! The pages are the product's own, with its own settings, in a headless Chromium that is driven over
//! the DevTools protocol: trusted key presses go in, pixels come out. The floor is a canvas in the
//! same browser, in turn with the sessions. What each figure means is in docs/performance.md.
//!
//! Parts: [`plan`] (what is run), [`cdp`] and [`browser`] (a typed client and its Chromium),
//! [`tab`] and [`page`] with page.js (one page, driven and read), [`sample`] (presses and stages joined),
//! [`quantile`], [`figures`], [`plot`], [`report`] (pure, from values to files), [`machine`],
//! [`host`] (a Nearlight of our own).
//!
//! **Invariants.** Every wait has a deadline. Nothing in the product knows that it is measured.

mod browser;
mod cdp;
mod figures;
mod host;
mod machine;
mod page;
mod plan;
mod plot;
mod quantile;
mod report;
mod sample;
mod tab;

use crate::cli::{BenchMode, Latency};
use crate::terminal::{self, Progress};
pub use browser::BrowserError;
pub use cdp::CdpError;
pub use host::HostError;
pub use page::PageError;

use browser::Browser;
use host::Host;
use machine::Machine;
use page::Page;
use plan::{Mode, Plan, Run, Subject};
use report::Report;
use sample::Measured;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Before the first press of a session: pings for the clock offset, the first estimate of the line.
const SETTLE: Duration = Duration::from_secs(3);
/// Presses that are not answered within two seconds are no latency but a fault.
const UNSEEN_SHARE_MAX: f64 = 0.02;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The browser.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// The page, or the session in it.
    #[error("{run}: {why}")]
    Page {
        /// In which run.
        run: String,
        /// Why.
        why: PageError,
    },
    /// Our own Nearlight.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The report.
    #[error("cannot write {}; choose another directory with --out", .0.display())]
    Unwritable(PathBuf, #[source] std::io::Error),
    /// The report was written, but it cannot be believed.
    #[error("{unseen} of {presses} presses had no picture within 2 s: the report in {} is of a stream that did not work", .out.display())]
    Unseen {
        /// Presses without a picture.
        unseen: u32,
        /// All presses.
        presses: u32,
        /// Where the report is.
        out: PathBuf,
    },
    /// The runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// Measures, prints the figures, writes the report.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn latency(args: &Latency) -> Result<(), BenchError> {
    let out = &args.out;
    std::fs::create_dir_all(out).map_err(|error| BenchError::Unwritable(out.clone(), error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Runtime)?;
    let report = runtime.block_on(measure(args))?;
    report
        .write(out)
        .map_err(|(path, error)| BenchError::Unwritable(path, error))?;
    print(&report, out);
    let unseen = report.runs.iter().map(|run| run.unseen).sum::<u32>();
    let seen: usize = report.runs.iter().map(|run| run.rows.len()).sum();
    let presses = unseen + u32::try_from(seen).unwrap_or(u32::MAX);
    if f64::from(unseen) > UNSEEN_SHARE_MAX * f64::from(presses) {
        let out = out.clone();
        return Err(BenchError::Unseen {
            unseen,
            presses,
            out,
        });
    }
    Ok(())
}

async fn measure(args: &Latency) -> Result<Report, BenchError> {
    let host = if args.up {
        Some(Host::start(&args.out).await?)
    } else {
        None
    };
    let url = host
        .as_ref()
        .map_or_else(|| args.broker_url(), |host| host.url.clone());
    let mut browser = Browser::launch(args.browser.as_deref(), &url).await?;
    let measured = measure_in(&mut browser, args, &url).await;
    browser.close().await;
    if let Some(host) = host {
        host.stop().await;
    }
    measured
}

async fn measure_in(
    browser: &mut Browser,
    args: &Latency,
    url: &str,
) -> Result<Report, BenchError> {
    let plan = plan_of(args);
    let mut machine = Machine::look(&browser.product);
    machine.load_before = machine::load();
    let bench = Bench {
        plan: &plan,
        url,
        app: args.app.as_str(),
    };
    let all = plan.runs();
    let mut progress = Progress::default();
    let mut runs = Vec::with_capacity(all.len());
    for (i, &run) in all.iter().enumerate() {
        let name = format!("{} {}", run.subject.name(), run.round + 1);
        progress.show(format!(
            "{name}: run {} of {}, {} presses",
            i + 1,
            all.len(),
            plan.presses
        ));
        let (measured, stream) = bench
            .run(browser, run)
            .await
            .map_err(|why| BenchError::Page { run: name, why })?;
        if let Some(stream) = stream {
            machine.stream = stream;
        }
        runs.push(measured);
    }
    machine.load_after = machine::load();
    Ok(Report {
        app: args.app.to_string(),
        plan,
        machine,
        runs,
    })
}

/// What every run needs.
struct Bench<'a> {
    plan: &'a Plan,
    url: &'a str,
    app: &'a str,
}

impl Bench<'_> {
    /// One run, and how its stream was.
    async fn run(
        &self,
        browser: &mut Browser,
        run: Run,
    ) -> Result<(Measured, Option<String>), PageError> {
        let mut page = Page::open(browser).await?;
        let mut first_frame_s = None;
        match run.subject {
            Subject::Floor => page.show_floor().await?,
            Subject::Session(mode) => {
                first_frame_s = Some(page.play(self.url, self.app).await?);
                page.settle(mode, self.app).await?;
            }
        }
        let mut unseen = 0;
        for wait in self.plan.waits(run) {
            tokio::time::sleep(wait).await;
            unseen += u32::from(!page.press().await?);
        }
        // The last answer may be on its way.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let taken = page.take().await?;
        let mut stream = None;
        if let Subject::Session(_) = run.subject {
            let stats = page.stats().await?;
            let word = |name: &str| stats["stream"][name].to_string().replace('"', "");
            stream = Some(format!(
                "{} {}x{}",
                word("codec"),
                word("width"),
                word("height")
            ));
            page.end_session().await?;
        }
        page.close().await?;
        let mut measured = Measured::new(run, taken.presses, &taken.answers, unseen);
        measured.first_frame_s = first_frame_s;
        Ok((measured, stream))
    }
}

fn plan_of(args: &Latency) -> Plan {
    let modes = match args.mode {
        BenchMode::Both => vec![Mode::Immediate, Mode::Paced],
        BenchMode::Immediate => vec![Mode::Immediate],
        BenchMode::Paced => vec![Mode::Paced],
    };
    Plan {
        sessions: args.sessions,
        presses: args.presses,
        modes,
        seed: args.seed,
    }
}

fn print(report: &Report, out: &Path) {
    let figures = report.figures();
    let width = figures
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (name, value) in figures.iter() {
        terminal::result(format_args!("{name:width$}  {value:10.3}"));
    }
    terminal::note(format_args!(
        "report: {}",
        out.join("report.html").display()
    ));
}
