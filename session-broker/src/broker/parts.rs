//! The parts of a broker, each as its configuration has it. What serves callers is put up in [`super`].

use crate::ahead::Ahead;
use crate::apps::Apps;
use crate::catalogue::Catalogue;
use crate::checks::Checks;
use crate::config::{Config, NearnessSettings};
use crate::credentials;
use crate::enrol::{Registrar, Standings};
use crate::http::Metrics;
use crate::ledger::{Ledger, Member, SqlLedger};
use crate::nearness::{Geo, Nearness};
use crate::node_keys::NodeKeys;
use crate::quality::{self, Desk};
use crate::rates;
use crate::receipts::{Keys, Receipts};
use crate::seal::Sealer;
use crate::sessions::Directory;
use crate::time::Clock;
use crate::tokens::Signer;
use crate::tunnels::Tunnels;
use crate::verdicts::{StakeTerms, Verdicts};
use anyhow::Context;
use nearlight_kit::clock::WallClock;
use nearlight_kit::network::Network;
use nearlight_kit::pki::{Ca, Identity};
use nearlight_kit::shutdown::Shutdown;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// A broker without the pages serves its API all the same.
pub(super) fn warn_without_client(client_web: Option<&Path>) {
    let Some(dir) = client_web else {
        tracing::warn!("no `client_web`: players find no page here, only the API is served");
        return;
    };
    if !dir.join("index.html").is_file() {
        let dir = dir.display();
        tracing::warn!(
            "no index.html in {dir} (`client_web`): players find no page here until `make play` or a package has put it there"
        );
    }
}

/// The networks were checked with the configuration.
pub(super) fn webhook_networks(config: &Config) -> Arc<[Network]> {
    let networks = config.webhook_networks.iter();
    networks
        .filter_map(|network| network.parse().ok())
        .collect()
}

pub(super) async fn open_ledger(
    config: &Config,
    me: Member,
    clock: Clock,
    shutdown: &Shutdown,
) -> anyhow::Result<Arc<dyn Ledger>> {
    let opened = SqlLedger::open(&config.ledger, me, clock, shutdown);
    Ok(Arc::new(opened.await?))
}

/// The way to containers of jobs.
pub(super) fn tunnels(
    config: &Config,
    directory: &Arc<Directory>,
    standings: &Arc<Standings>,
    shutdown: &Shutdown,
) -> Arc<Tunnels> {
    Arc::new(Tunnels::new(
        directory.clone(),
        standings.clone(),
        config.tunnel_address.clone(),
        shutdown.clone(),
    ))
}

/// This program's meters, each with its description.
pub(super) fn metrics() -> Metrics {
    let metrics = Metrics(nearlight_kit::telemetry::prometheus());
    crate::metrics::describe();
    metrics
}

/// Gives the ledger what the configuration brings: the catalogue's apps, rate cards, and the development
/// key.
pub(super) async fn seed(
    config: &Config,
    ledger: &Arc<dyn Ledger>,
    clock: Clock,
) -> anyhow::Result<Arc<Apps>> {
    let catalogue = Catalogue::load(config.apps.as_deref())?;
    let apps = Apps::open(&catalogue, Ahead::load(&config.prefetch)?, ledger, clock).await?;
    if let Some(file) = &config.rates {
        rates::add(ledger, file, clock.unix_ms()).await?;
    }
    if let Some(key_file) = &config.dev_key_file {
        credentials::add_dev_key(ledger, key_file, clock).await?;
    }
    Ok(Arc::new(apps))
}

/// The log of receipts, if this broker keeps one.
pub(super) fn receipts(
    config: &Config,
    ledger: &Arc<dyn Ledger>,
    clock: Clock,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Arc<Receipts>>> {
    let Some(settings) = &config.log else {
        tracing::info!(
            "no `log.objects` or `log.dir` that brokers of this ledger share: no log of receipts"
        );
        return Ok(None);
    };
    let keys = Keys::open_in(&config.pki)?;
    let started = Receipts::start(settings, keys, ledger, clock, shutdown);
    Ok(Some(started.context("log.objects")?))
}

/// What receipts come to.
pub(super) fn verdicts(
    config: &Config,
    ledger: &Arc<dyn Ledger>,
    (receipts, rounds): (&Arc<Receipts>, &Arc<Checks>),
    clock: Clock,
) -> Arc<Verdicts> {
    let checks = &config.checks;
    let terms = StakeTerms {
        slash_permille: checks.slash_permille,
        reward_micro: checks.reward_micro,
        dispute_ms: u64::from(checks.dispute_days) * 24 * 3600 * 1000,
    };
    let least = usize::try_from(checks.committee).unwrap_or(usize::MAX);
    Verdicts::new((ledger, receipts, rounds), clock, (least, terms))
}

/// The keys that nodes sign receipts with.
pub(super) async fn node_keys(
    config: &Config,
    ledger: &Arc<dyn Ledger>,
    clock: Clock,
    shutdown: &Shutdown,
) -> anyhow::Result<Arc<NodeKeys>> {
    let operator = config.operator.clone();
    let (keys, told) = NodeKeys::open(ledger.clone(), clock, operator).await?;
    shutdown.spawn(keys.clone().keep(told, shutdown.token()));
    Ok(keys)
}

/// Who makes receipts of sessions, as far as there is a log for them.
pub(super) fn desk(
    directory: &Arc<Directory>,
    clock: Clock,
    receipts: Option<&Arc<Receipts>>,
    shutdown: &Shutdown,
) -> Arc<Desk> {
    let desk = Arc::new(Desk::new(directory.clone(), clock, receipts.is_some()));
    if let Some(receipts) = receipts {
        let kept = quality::keep(desk.clone(), receipts.clone(), shutdown.token());
        shutdown.spawn(kept);
    }
    desk
}

/// How far regions are, with the operator's file of places if there is one.
pub(super) fn nearness(
    settings: &NearnessSettings,
    clock: Clock,
    shutdown: &Shutdown,
) -> anyhow::Result<Arc<Nearness>> {
    let geo = settings.geoip.as_deref().map(Geo::open).transpose()?;
    let nearness = Arc::new(Nearness::new(settings.regions.clone(), geo, clock));
    if nearness.geo().is_some() {
        shutdown.spawn(Geo::keep(nearness.clone(), shutdown.token()));
    }
    Ok(nearness)
}

/// The signing key in the data directory, the CA, and the key that seals secrets, which are made if they
/// are missing.
pub(super) fn open_keys(
    config: &Config,
    wall: WallClock,
) -> anyhow::Result<(Signer, Arc<Ca>, Sealer)> {
    let data = &config.data;
    std::fs::create_dir_all(data).with_context(|| format!("cannot make {}", data.display()))?;
    let signer = Signer::open(&data.join("signing.key"))?;
    let ca = Arc::new(Ca::ensure(&config.pki, wall)?);
    let sealer = Sealer::open_in(&config.pki)?;
    Ok((signer, ca, sealer))
}

/// Who signs for nodes, and what was decided about them.
pub(super) fn enrolment(
    ca: Arc<Ca>,
    ledger: &Arc<dyn Ledger>,
    addresses: Vec<String>,
) -> (Arc<Registrar>, Arc<Standings>) {
    let standings = Arc::new(Standings::default());
    let registrar = Registrar::new(ca, ledger.clone(), standings.clone(), addresses);
    (Arc::new(registrar), standings)
}

/// Where nodes reach the node listener, if that is known.
pub(super) fn node_addresses(config: &Config, listen: SocketAddr) -> Vec<String> {
    match config.node_addresses.as_slice() {
        [] if listen.ip().is_unspecified() => Vec::new(),
        [] => vec![listen.to_string()],
        given => given.to_vec(),
    }
}

/// Who the node listener is.
pub(super) fn own_identity() -> Identity {
    Identity {
        spiffe: "spiffe://nearlight/broker".to_owned(),
        dns: vec!["nearlight-broker".to_owned()],
        ips: Vec::new(),
    }
}
