//! `checker witness`: a witness that does nothing else, of a member of a network or of nobody's.

use super::{Kept, Pinned, Witness};
use crate::broker::Broker;
use crate::cli::WitnessArgs;
use crate::failure::Failure;
use crate::member::Network;
use crate::run::leaving::Leaving;
use nearlight_kit::shutdown::Shutdown;
use nearlight_proof::log::note::{Algorithm, VerifierKey};
use std::path::Path;
use std::sync::Arc;

/// Watches the log until SIGTERM or SIGINT; says `ready` once it begins.
///
/// # Errors
/// Why it cannot.
pub fn run(
    data: &Path,
    args: &WitnessArgs,
    ready: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    let (broker, witness) = of(data, args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::File {
        path: data.to_owned(),
        source,
    })?;
    let shutdown = Shutdown::new();
    let leaving: Arc<Leaving> = Arc::default();
    let stopped = leaving.clone();
    let watching = std::thread::spawn(move || {
        ready();
        witness.watch(&broker, |pause| stopped.wait(pause));
    });
    runtime.block_on(async {
        shutdown.on_signals();
        shutdown.token().cancelled().await;
    });
    leaving.begin();
    // What is being signed is handed in.
    let _ = watching.join();
    Ok(())
}

/// The broker, and the witness.
fn of(data: &Path, args: &WitnessArgs) -> Result<(Broker, Witness), Failure> {
    if let (Some(url), Some(log)) = (&args.url, &args.log) {
        let key = VerifierKey::parse(log).filter(|key| key.algorithm() == Algorithm::Ed25519);
        let key = key.ok_or_else(|| Failure::LogKey(log.clone()))?;
        return Ok((
            Broker::new(url, ""),
            Witness::new(Kept::open(data)?, Pinned::Log(key)),
        ));
    }
    let network = Network::load(data).map_err(|error| match error {
        Failure::NoNetwork(_) => Failure::NoLog,
        error => error,
    })?;
    let broker = network.stranger(args.url.as_deref())?;
    Ok((broker, Witness::of_member(data, &network)?))
}
