//! `nearlight up`: every role on this machine, as supervised child processes.
//!
//! ```text
//!   prepare (directories, lock, CA, identities)
//!     -> session-broker up -> edge-node up -> an app is available -> `ready http://…`
//!     -> Ctrl-C or SIGTERM: edge-node drains, then session-broker, then we exit
//! ```
//!
//! **Invariants.** One `up` a data directory (a lock is held while it runs). A role that dies is
//! started again with the ports it had, so links and streams stay valid. A role never outlives us:
//! it gets SIGTERM if we are killed. The roles are the same programs that an operator installs one
//! by one; nothing here decides what they do.

mod checkers;
mod prepare;
mod ready;
mod role;

use crate::cli::Up;
use crate::terminal;
use anyhow::{Context as _, bail};
use prepare::Prepared;
use role::{Role, Supervised};
use std::path::Path;
use std::time::Duration;

/// Games are told, containers stopped, workers waited for.
const EDGE_DRAIN: Duration = Duration::from_secs(25);
/// Requests are answered and the ledger closed: more than the ten seconds that the broker gives itself.
const BROKER_DRAIN: Duration = Duration::from_secs(15);

/// Printing what the roles wrote before they ended.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Runs until Ctrl-C, SIGTERM, or until a role cannot be started at all.
///
/// # Errors
/// What could not be prepared or started, and what to do about it.
pub fn run(up: Up) -> anyhow::Result<()> {
    nearlight_kit::telemetry::init("up")?;
    let prepared = Prepared::new(up)?;
    prepared.check_ports()?;
    // One thread: the roles are tied to the life of the thread that starts them (PR_SET_PDEATHSIG).
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let outcome = supervise(&prepared).await;
        // The roles' last lines, whichever did not start.
        prepared.tasks.drain(LAST_LINES).await;
        outcome
    })
}

/// Where the broker of the `up` that uses this data directory is, if one is ready.
pub fn running_url(data: &Path) -> Option<String> {
    std::fs::read_to_string(data.join(prepare::URL_FILE)).ok()
}

async fn supervise(prepared: &Prepared) -> anyhow::Result<()> {
    let shutdown = &prepared.tasks;
    shutdown.on_signals();
    let broker = Role::broker(prepared);
    let stopped = shutdown.token();

    let mut broker = Supervised::start(broker).await?;
    let listen = broker.field("listen")?;
    let node_listen = broker.field("node_listen")?;
    broker.pin([
        ("--listen", listen.clone()),
        ("--node-listen", node_listen.clone()),
        ("--jobs-listen", broker.field("jobs_listen")?),
    ]);

    let outcome = with_broker(prepared, &listen, &node_listen, &mut broker, &stopped).await;
    let stopped = broker.stop(BROKER_DRAIN).await;
    outcome.and(stopped)
}

async fn with_broker(
    prepared: &Prepared,
    listen: &str,
    node_listen: &str,
    broker: &mut Supervised,
    stopped: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<()> {
    let edge = Role::edge(prepared, node_listen);
    let mut edge = tokio::select! {
        edge = Supervised::start(edge) => edge?,
        () = stopped.cancelled() => return Ok(()),
    };
    let (port, admin) = (edge.field("rtc_port")?, edge.field("admin")?);
    edge.pin([("--rtc-port", port), ("--admin", admin)]);

    let url = prepared.url(listen);
    let mut checking = Vec::new();
    let at = (url.as_str(), node_listen);
    let outcome = tokio::select! {
        outcome = until_stopped(prepared, at, broker, (&mut edge, &mut checking)) => outcome,
        () = stopped.cancelled() => Ok(()),
    };
    let left = checkers::stop(&mut checking).await;
    tracing::info!("ending sessions");
    let stopped = edge.stop(EDGE_DRAIN).await;
    outcome.and(left).and(stopped)
}

/// Announces readiness once, then keeps all roles alive.
async fn until_stopped(
    prepared: &Prepared,
    (url, node_listen): (&str, &str),
    broker: &mut Supervised,
    (edge, checking): (&mut Supervised, &mut Vec<Supervised>),
) -> anyhow::Result<()> {
    checking.extend(checkers::start(prepared, (url, node_listen)).await?);
    let announced = async {
        ready::wait(url, &prepared.dev_key).await?;
        ready::vet(url, &prepared.dev_key, &prepared.node).await?;
        prepared.announce(url)?;
        terminal::result(format_args!("ready {url}"));
        terminal::result(ready::curl_line(url, &prepared.dev_key));
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        outcome = announced => outcome,
        error = broker.keep_alive() => bail!(error),
        error = edge.keep_alive() => bail!(error),
        error = checkers::keep_alive(checking) => bail!(error),
    }
}
