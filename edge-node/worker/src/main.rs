//! The program around [`edge_worker`]: arguments in, exit status out.

use clap::Parser;
use edge_worker::desktop::gpu::trial;
use edge_worker::{bench, cli::Options, encode::probe, harden, session};
use std::io::Write;
use std::process::ExitCode;

/// The log filter, as for every role, and what it is without one: smithay tells every object, and
/// warns that a render node has no display to be master of.
const FILTER_VARIABLE: &str = "NEARLIGHT_LOG";
const FILTER: &str = "info,smithay=warn,smithay::backend::drm=error";

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env(FILTER_VARIABLE)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    harden::harden()?;
    gstreamer::init()?;
    if options.probe_encoders {
        let found: Vec<_> = probe::probe()
            .iter()
            .map(|recipe| (recipe.codec, recipe.element))
            .collect();
        writeln!(std::io::stdout(), "{}", serde_json::to_string(&found)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.try_encoders {
        let trials = serde_json::to_string(&probe::trials())?;
        writeln!(std::io::stdout(), "{trials}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(node) = &options.try_gpu {
        let report = serde_json::to_string(&trial::run(node))?;
        writeln!(std::io::stdout(), "{report}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.session.is_none() {
        writeln!(std::io::stdout(), "{}", bench::run(&options)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (session, event_loop) = session::start(&options)?;
    Ok(ExitCode::from(session.run(event_loop)?))
}
