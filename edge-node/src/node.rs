//! Puts a node together, and takes it apart again.

use crate::agent::{Agent, Message, Parts};
use crate::config::Config;
use crate::control::{self, Certificate, Dialler, Gauges};
use crate::engine;
use crate::gpu::Gpus;
use crate::gpu::board::Board;
use crate::images::{Images, Puller};
use crate::inventory::Inventory;
use crate::job;
use crate::job::ended_logs::EndedLogs;
use crate::job::host::Jobs;
use crate::journal::Journal;
use crate::left::Left;
use crate::limits::{
    AGENT_INBOX_MAX, DRAIN_DEADLINE, ENGINE_LOOK_EVERY, IMAGES_LISTED_MAX, SEND_DEADLINE,
};
use crate::prover::{Prover, ReceiptKey, devices};
use crate::session::host::Host;
use crate::streams::CounterBoard;
use crate::tunnel::{Direct, Endpoints, TicketKeys, Tunnels};
use crate::warm::{Keeper, Room, Warm};
use crate::{admin, adopt, cgroup, encoders, gpu, identity, meters, preflight, runtime, streams};
use anyhow::Context;
use nearlight_kit::beacon::Beacon;
use nearlight_kit::clock::WallClock;
use nearlight_kit::shutdown::{Drained, Shutdown};
use nearlight_protocol::control::{Hello, ImagesWanted, JobHost, PROTOCOL_VERSION};
use nearlight_protocol::id::NodeId;
use nearlight_protocol::volume::VolumesKnown;
use rustls_pki_types::ServerName;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// The UDP port of all sessions.
    pub rtc_port: u16,
    /// Where the admin listener is.
    pub admin: SocketAddr,
    /// Where the beacon is, if there is one.
    pub beacon: Option<SocketAddr>,
    /// Where callers of jobs are taken, if they are.
    pub direct: Option<SocketAddr>,
    ready: oneshot::Receiver<()>,
    shutdown: Shutdown,
    _lock: identity::DataLock,
}

impl Node {
    /// Starts a node: checks, adopts what an earlier agent left, and dials the broker.
    pub async fn start(mut config: Config, shutdown: Shutdown) -> anyhow::Result<Self> {
        let root = nix::unistd::geteuid().is_root();
        let lock = identity::lock(&config.data)?;
        let identity = identity::load(&config.data, &config.pki, config.slots)?;
        let journal = Journal::open(&config.data, &identity.slots)?;
        let (mut dialler, key) = dialler(&config, &identity.node)?;
        // Last of what fails for ordinary reasons: it leaves a directory behind.
        prepare(&config)?;

        let (left, runtime) = open_runtime(&mut config, &identity.node).await?;
        let mut machine = look(&mut config, (&identity.node, &left), runtime.name(), root).await?;
        let direct = direct(&config, &mut machine.inventory).await?;
        let prover = prover(&config, (key, &mut dialler), &machine.gpus, &shutdown).await;

        let (address, inbox) = mpsc::channel(AGENT_INBOX_MAX);
        let counters = CounterBoard::default();
        let transport = streams::start(&config, address.clone(), counters.clone())?;
        let rtc_port = transport.port();
        let (admin, beacon) = listen(&config, &address, &shutdown).await?;
        let board = machine.jobs.as_ref().map(|jobs| jobs.gpus.clone());
        let host = Arc::new(Host {
            runtime: runtime.clone(),
            images: Images::open(&config.data),
            transport,
            cgroups: cgroup::Cgroups::open(&identity.node),
            gpus: machine.gpus.for_apps(),
            tunnels: tunnels(&dialler, &prover, &config, &shutdown),
            prover,
            warm: Warm::new(),
            jobs: machine.jobs,
            root,
            config,
        });

        let found = adopt::find(&host, &journal).await?;
        machine.inventory.images = images_here(runtime.as_ref()).await;
        let (wanted, wishes) = watch::channel(ImagesWanted::default());
        let puller = puller(&host, runtime.clone(), wishes, &address);
        let (room, rooms) = watch::channel(Room::default());
        let keeper = Keeper {
            host: host.clone(),
            wanted: wanted.subscribe(),
            room: rooms,
            agent: address.clone(),
        };
        let (known, storing) = storing(&host, &address, &wanted, &shutdown);
        let keys = TicketKeys::default();
        let direct = serve_direct(direct, (&identity.node, &host, &keys), &shutdown)?;
        let (told_ready, ready) = oneshot::channel();
        let id = identity.node.clone();
        let mut agent = Agent::new(Parts {
            host,
            identity,
            journal,
            inventory: machine.inventory,
            counters: counters.clone(),
            wanted,
            known,
            room,
            keys,
            shutdown: shutdown.clone(),
            inbox,
            address: address.clone(),
            ready: told_ready,
        });
        found.hand_over(&mut agent);

        // The control stream outlives the agent by what it still has to say.
        let gauges = Gauges::new(counters, board.clone());
        shutdown.spawn(control::run(dialler, gauges, address.clone()));
        shutdown.spawn(puller.run(shutdown.token()));
        shutdown.spawn(keeper.run(shutdown.token()));
        shutdown.spawn(storing.run(shutdown.token()));
        watch_machine((board, runtime), address, &shutdown);
        shutdown.spawn(agent.run());
        Ok(Self {
            id,
            rtc_port,
            admin,
            beacon,
            direct,
            ready,
            shutdown,
            _lock: lock,
        })
    }

    /// Waits for the first welcome; `false` if the node stops before it.
    pub async fn ready(&mut self) -> bool {
        (&mut self.ready).await.is_ok()
    }

    /// Waits until somebody stops the node and the drain is done.
    pub async fn stopped(self) -> Drained {
        self.shutdown.token().cancelled().await;
        self.shutdown
            .drain(DRAIN_DEADLINE + 2 * SEND_DEADLINE)
            .await
    }
}

/// Opens the runtime: the one that has what an earlier agent left, if that left anything.
async fn open_runtime(
    config: &mut Config,
    node: &NodeId,
) -> anyhow::Result<(Left, Arc<dyn runtime::Runtime>)> {
    let left = Left::read(&config.data).context("cannot read the sessions' records")?;
    config.runtime = left.runtime(config.runtime)?;
    let runtime = runtime::open(config, node).await;
    let runtime = runtime.with_context(|| left.why())?;
    Ok((left, runtime))
}

/// Checks the machine. Before anything counts, too: what is counted without a recorder is lost, and stays so.
fn prepare(config: &Config) -> anyhow::Result<()> {
    check_ports(&config.rtc_bind)?;
    preflight::check(config)?;
    drop(nearlight_kit::telemetry::prometheus());
    meters::describe();
    nearlight_transport::describe_metrics();
    Ok(())
}

/// Whether the ports of all sessions are free. Another program may still be faster; then the transport says so.
fn check_ports(wanted: &[SocketAddr]) -> anyhow::Result<()> {
    for at in wanted {
        UdpSocket::bind(at).with_context(|| {
            format!("cannot listen on udp {at}; choose another port with --rtc-port")
        })?;
    }
    Ok(())
}

/// Starts the listener for this node's operator, and the beacon if this node has one.
async fn listen(
    config: &Config,
    agent: &mpsc::Sender<Message>,
    shutdown: &Shutdown,
) -> anyhow::Result<(SocketAddr, Option<SocketAddr>)> {
    let admin = admin(config, agent, shutdown).await?;
    Ok((admin, beacon(config, shutdown).await?))
}

/// Starts the listener for this node's operator.
async fn admin(
    config: &Config,
    agent: &mpsc::Sender<Message>,
    shutdown: &Shutdown,
) -> anyhow::Result<SocketAddr> {
    let at = config.admin;
    let served = admin::serve(at, agent.clone(), shutdown).await;
    served.with_context(|| format!("cannot listen on {at} (admin.listen)"))
}

/// What the first broker is told of images; whoever fetches them looks again soon.
async fn images_here(runtime: &dyn runtime::Runtime) -> Vec<String> {
    let listed = runtime.images().await;
    let mut images = listed.unwrap_or_else(|error| {
        tracing::warn!(%error, "the inventory begins without images");
        Vec::new()
    });
    images.truncate(IMAGES_LISTED_MAX);
    images
}

/// Who fetches the images that the broker wants to be here.
fn puller(
    host: &Host,
    runtime: Arc<dyn runtime::Runtime>,
    wanted: watch::Receiver<ImagesWanted>,
    agent: &mpsc::Sender<Message>,
) -> Puller {
    Puller {
        runtime,
        images: host.images.clone(),
        limits: host.config.images,
        wanted,
        agent: agent.clone(),
    }
}

/// Who keeps the volumes of tenants, and how it hears which the broker knows. What jobs may want is fetched ahead.
fn storing(
    host: &Arc<Host>,
    agent: &mpsc::Sender<Message>,
    wanted: &watch::Sender<ImagesWanted>,
    shutdown: &Shutdown,
) -> (watch::Sender<Option<VolumesKnown>>, job::keeper::Keeper) {
    let ahead = job::ahead::Ahead {
        host: host.clone(),
        wanted: wanted.subscribe(),
    };
    shutdown.spawn(ahead.run(shutdown.token()));
    let (told, known) = watch::channel(None);
    let (host, agent) = (host.clone(), agent.clone());
    (told, job::keeper::Keeper { host, known, agent })
}

/// Has the engine looked at, and the GPUs for jobs, if there are any.
fn watch_machine(
    (board, runtime): (Option<Arc<Board>>, Arc<dyn runtime::Runtime>),
    agent: mpsc::Sender<Message>,
    shutdown: &Shutdown,
) {
    let engine = engine::Watch {
        runtime,
        every: ENGINE_LOOK_EVERY,
        agent: agent.clone(),
    };
    shutdown.spawn(engine.run(shutdown.token()));
    if let Some(watch) = board.and_then(|board| gpu::watch::start(&board)) {
        shutdown.spawn(watch.run(agent));
    }
}

/// What was found of this machine.
struct Hardware {
    gpus: Gpus,
    jobs: Option<Jobs>,
    inventory: Inventory,
}

/// Looks at GPUs, at what jobs can have, and at encoders: these are of the GPUs that are left to games.
async fn look(
    config: &mut Config,
    (node, left): (&NodeId, &Left),
    runtime: &'static str,
    root: bool,
) -> anyhow::Result<Hardware> {
    let mut gpus = Gpus::probe();
    let (jobs, offer) = jobs(config, (node, left), (runtime, &mut gpus), root).await?;
    config.visible_gpus = gpus.visible_to_apps();
    let encoders = encoders::probe(config, root).await;
    let inventory = Inventory::new(config, &gpus, &encoders, runtime, offer);
    Ok(Hardware {
        gpus,
        jobs,
        inventory,
    })
}

/// What this node has for jobs, if it takes any. It has to if an earlier agent left some: their containers run.
async fn jobs(
    config: &Config,
    (node, left): (&NodeId, &Left),
    (runtime, gpus): (&str, &mut Gpus),
    root: bool,
) -> anyhow::Result<(Option<Jobs>, Option<JobHost>)> {
    match Jobs::open(config, node, (runtime, gpus), root).await {
        Ok(jobs) => {
            let offer = jobs.offer();
            Ok((Some(jobs), Some(offer)))
        }
        Err(why) if !left.jobs.is_empty() => {
            Err(anyhow::Error::new(why).context(left.why()).context(
                "let this node take jobs until they are over, or remove their containers \
                 (docker rm -f nearlight-SESSION) and their records (jobs/SESSION.json in the data directory)",
            ))
        }
        Err(why) if why.is_chosen() => {
            tracing::info!(%why, "this node takes no jobs");
            Ok((None, None))
        }
        Err(why) => {
            tracing::warn!(%why, "this node takes no jobs until it is started again");
            Ok((None, None))
        }
    }
}

/// Starts the beacon, if this node has one.
async fn beacon(config: &Config, shutdown: &Shutdown) -> anyhow::Result<Option<SocketAddr>> {
    let Some(wanted) = &config.beacon else {
        return Ok(None);
    };
    let certificate = wanted.certificate.as_ref();
    let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
    let beacon = Beacon::bind(wanted.listen, certificate).await?;
    let at = beacon.local_addr()?;
    shutdown.spawn(beacon.run(shutdown.clone()));
    Ok(Some(at))
}

/// Binds where callers of jobs are taken, if this node takes jobs, and any callers; brokers are told of it.
async fn direct(config: &Config, inventory: &mut Inventory) -> anyhow::Result<Option<Direct>> {
    let Some((wanted, jobs)) = config.direct.as_ref().zip(inventory.jobs.as_mut()) else {
        return Ok(None);
    };
    let direct = Direct::bind(wanted).await?;
    jobs.direct = Some(direct.site());
    Ok(Some(direct))
}

/// Takes callers of jobs, if there is a listener for them. Where that is.
fn serve_direct(
    direct: Option<Direct>,
    (node, host, keys): (&NodeId, &Arc<Host>, &TicketKeys),
    shutdown: &Shutdown,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(direct) = direct else {
        return Ok(None);
    };
    let at = direct.local_addr()?;
    let endpoints = host.tunnels.endpoints().clone();
    shutdown.spawn(direct.run(node.clone(), endpoints, keys.clone(), shutdown.clone()));
    Ok(Some(at))
}

/// The tunnels of this node: to its prover and to logs of jobs that are over, and to no session yet.
fn tunnels(
    dialler: &Dialler,
    prover: &Arc<Prover>,
    config: &Config,
    shutdown: &Shutdown,
) -> Tunnels {
    let logs = EndedLogs::open(&config.data, config.jobs.logs);
    shutdown.spawn(logs.clone().run(shutdown.token()));
    let endpoints = Arc::new(Endpoints::new(shutdown.clone()));
    let tunnels = Tunnels::new(dialler.way(), endpoints, shutdown.clone());
    let tunnels = tunnels.with_prover(Arc::new(prover.clone()));
    tunnels.with_ended(Arc::new(logs))
}

/// Who proves what this node can do; the broker is told what that is.
async fn prover(
    config: &Config,
    (key, dialler): (Arc<ReceiptKey>, &mut Dialler),
    gpus: &Gpus,
    shutdown: &Shutdown,
) -> Arc<Prover> {
    let root = nix::unistd::geteuid().is_root();
    let found = devices::find(config, gpus, root).await;
    let prover = Prover::new(key, found, shutdown.token());
    dialler.tell_proves(prover.proves());
    Arc::new(prover.keeping_in(&config.data))
}

/// The key that this node signs receipts with, which is made on the first start.
fn receipt_key(config: &Config) -> anyhow::Result<Arc<ReceiptKey>> {
    let key = ReceiptKey::load(&config.data);
    let key =
        key.with_context(|| format!("cannot use the receipt key in {}", config.data.display()))?;
    Ok(Arc::new(key))
}

/// The way to the broker, and the key that this node signs receipts with, which the broker is told.
fn dialler(config: &Config, node: &NodeId) -> anyhow::Result<(Dialler, Arc<ReceiptKey>)> {
    let key = receipt_key(config)?;
    let certificate = Arc::new(Certificate::load(&config.pki, WallClock::system())?);
    let server = ServerName::try_from(config.broker_server_name.clone())
        .with_context(|| format!("`broker.server_name` is `{}`", config.broker_server_name))?;
    let hello = Hello {
        proto_min: PROTOCOL_VERSION,
        proto_max: PROTOCOL_VERSION,
        node: node.clone(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        name: config.name.clone(),
        region: config.region.clone(),
        receipt_key: Some(key.claim(node)),
        proves: Vec::new(),
    };
    let dialler = Dialler::new(config.broker.clone(), server, certificate, hello);
    Ok((dialler, key))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_said_once() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = taken.local_addr().unwrap();
        let said = format!("{:#}", check_ports(&[at]).unwrap_err());
        assert_eq!(said.matches("in use").count(), 1, "{said}");
        drop(taken);
        assert!(check_ports(&[at]).is_ok());
    }
}
