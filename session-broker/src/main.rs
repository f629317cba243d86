//! `session-broker`: arguments, configuration, log, serve, drain.

#![forbid(unsafe_code)]

use clap::Parser;
use nearlight_kit::clock::WallClock;
use nearlight_kit::shutdown::Shutdown;
use session_broker::backup;
use session_broker::broker::{Broker, DRAIN_GRACE};
use session_broker::cli::{Args, RotationStep};
use session_broker::config::Config;
use session_broker::credentials;
use session_broker::moving;
use session_broker::rotation;
use std::io::Write;
use std::process::ExitCode;

/// `EX_USAGE`: the operator has to change something.
const EXIT_CONFIG: u8 = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(from) = &args.restore
        && let Err(error) = backup::restore_settings(&args, from)
    {
        say(
            &mut std::io::stderr(),
            &format!("session-broker: {error:#}"),
        );
        return ExitCode::FAILURE;
    }
    let config = match args.load() {
        Ok(config) => config,
        Err(error) => {
            say(
                &mut std::io::stderr(),
                &format!("session-broker: {:#}", anyhow::Error::from(error)),
            );
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if args.check_config {
        let shown = serde_json::to_string_pretty(&config).unwrap_or_default();
        say(&mut std::io::stdout(), &shown);
        return ExitCode::SUCCESS;
    }
    if args.restore.is_none()
        && let Err(error) = backup::whole(&config.data)
    {
        say(
            &mut std::io::stderr(),
            &format!("session-broker: {error:#}"),
        );
        return ExitCode::FAILURE;
    }
    let done = match (&args.backup, &args.restore) {
        (Some(to), _) => once(async { backup::backup(&config, &args.settings()?, to).await }),
        (None, Some(from)) => once(backup::restore(&config, from)),
        (None, None) if args.move_ledger.is_some() => move_ledger(&config, args.move_ledger),
        (None, None) if args.rotate_ca.is_some() => rotate(&config, args.rotate_ca, args.force),
        (None, None) if args.bootstrap_admin => bootstrap_admin(&config, args.force),
        (None, None) => run(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(
                &mut std::io::stderr(),
                &format!("session-broker: {error:#}"),
            );
            ExitCode::FAILURE
        }
    }
}

/// Does one thing, and is done.
fn once(what: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(what)
}

fn run(config: Config) -> anyhow::Result<()> {
    nearlight_kit::telemetry::init("session-broker")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        shutdown.on_signals();
        let broker = Broker::start(config, &shutdown).await?;
        let ready = serde_json::json!({ "ready": {
            "listen": broker.listen,
            "node_listen": broker.node_listen,
            "peer_listen": broker.peer_listen,
            "metrics_listen": broker.metrics_listen,
            "jobs_listen": broker.jobs_listen,
        }});
        say(&mut std::io::stdout(), &ready.to_string());
        shutdown.token().cancelled().await;
        shutdown.drain(DRAIN_GRACE).await;
        Ok(())
    })
}

/// One step of the CA's rotation, in the PKI directory of `config`.
fn rotate(config: &Config, step: Option<RotationStep>, force: bool) -> anyhow::Result<()> {
    let Some(step) = step else {
        return Ok(());
    };
    let clock = WallClock::system();
    once(async {
        let next = rotation::step(config, step, (&clock, force)).await?;
        say(&mut std::io::stderr(), &next);
        Ok(())
    })
}

/// The file's ledger to where `to` says.
fn move_ledger(config: &Config, to: Option<String>) -> anyhow::Result<()> {
    let Some(to) = to else {
        return Ok(());
    };
    once(async {
        let told = moving::move_ledger(config, &to).await?;
        say(&mut std::io::stderr(), &told);
        Ok(())
    })
}

fn bootstrap_admin(config: &Config, force: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let Some(key) = runtime.block_on(credentials::bootstrap(config, force))? else {
        anyhow::bail!(
            "there is an administrator already; use that key, or make another one with --force"
        );
    };
    let into = format!("the key is in the ledger {}", config.ledger.name());
    say(&mut std::io::stderr(), &into);
    say(&mut std::io::stdout(), &serde_json::to_string(&key)?);
    Ok(())
}

/// One line; whoever closed the pipe does not want it.
fn say(to: &mut impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
    let _ = to.flush();
}
