//! A region to break: brokers that share a PostgreSQL, nodes that behave, and one that lies.

use super::books::Books;
use super::broker::{Blow, Broker, Setup};
use super::client::{APP, Callers};
use super::edge::{self, Edge, Seen};
use super::event::{Ask, Event, History};
use super::hostile::Hostile;
use super::network::{self, Network};
use super::plan::{Failover, Fault, Faults, Plan, Way};
use super::postgres::{Postgres, SOCKET};
use super::proxy::{End, Line};
use anyhow::{Context, Result, bail};
use nearlight_kit::pki;
use nearlight_protocol::id::NodeId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

const SLOTS: usize = 6;
/// From the start of a run to its first request.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// By when each broker has written, and so heard what others took from it.
const HEARD_WITHIN: Duration = Duration::from_secs(4);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What one run is made of.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) broker: PathBuf,
    pub(super) postgres: PathBuf,
}

/// Everything that runs. It goes when this is dropped, but for PostgreSQL: [`Region::down`].
#[derive(Debug)]
pub(super) struct Region {
    dir: PathBuf,
    pub(super) history: Arc<History>,
    pub(super) postgres: Postgres,
    brokers: Vec<Broker>,
    edges: Vec<(NodeId, mpsc::Sender<edge::Blow>)>,
    nodes: JoinSet<()>,
    liars: JoinSet<()>,
    pub(super) liar: NodeId,
    /// From the primary to its standby.
    replication: Line,
    /// Where lines are packets.
    network: Option<Network>,
    /// Held while the database is being killed, started or replaced.
    database: Mutex<()>,
    pub(super) callers: Callers,
}

/// What a broker of the region is configured as.
pub(super) fn config(
    name: &str,
    faults: Faults,
    (listen, address): (SocketAddr, SocketAddr),
) -> String {
    let node_grace_s = faults.node_grace_s();
    format!(
        "[sessions]\nstart_s = 4\nstart_total_s = 8\nstop_s = 3\nnode_grace_s = {node_grace_s}\nskew_s = 1\n\
         [control]\nheartbeat_s = 1\n\
         [peers]\nname = \"{name}\"\nlisten = \"{listen}\"\naddress = \"{address}\"\ndead_s = 3\n"
    )
}

fn app() -> String {
    format!(
        "id = \"{APP}\"\ntitle = \"{APP}\"\nsummary = \"For a test.\"\n\
         picture = \"/apps/{APP}.webp\"\nshelf = \"tool\"\n\
         launch = {{ image = \"demo:1\", command = [\"/demo\"] }}\n\
         needs = {{ cpu_milli = 1000, kbps_min = 1000 }}\n\
         time = {{ idle_s = 60, max_s = 60, grace_s = 6 }}\n"
    )
}

impl Region {
    /// Starts everything, and waits until all nodes can be used.
    pub(super) async fn up(
        programs: &Programs,
        plan: &Plan,
        dir: &Path,
        history: Arc<History>,
    ) -> Result<Self> {
        let shared = dir.join("shared");
        for part in ["pki", "apps", "replication"] {
            std::fs::create_dir_all(shared.join(part))?;
        }
        std::fs::write(shared.join("apps").join(format!("{APP}.toml")), app())?;
        let postgres = Postgres::start(&programs.postgres, dir).await?;
        let is_filtered = plan.size.faults == Faults::Partitions;
        let network = is_filtered.then(|| Network::of(plan.size.brokers));
        if is_filtered {
            postgres.speak_tcp().await?;
        }
        let sockets = shared.join("replication");
        let replication = Line::unix(&sockets.join(SOCKET), Some(End::Unix(postgres.socket())))?;
        let brokers = brokers(programs, plan, dir, (&shared, &postgres), &history).await?;
        if plan.size.failover != Failover::None {
            let waits = plan.size.failover == Failover::Synchronous;
            postgres.add_standby(dir, &sockets, waits).await?;
        }
        let key = std::fs::read_to_string(shared.join("dev.key"))?;
        let at = brokers.iter().map(|broker| broker.at.clone()).collect();
        let key = key.trim().to_owned();
        let mut region = Self {
            dir: dir.to_owned(),
            callers: Callers::new(at, key, history.clone()),
            history,
            postgres,
            brokers,
            edges: Vec::new(),
            nodes: JoinSet::new(),
            liars: JoinSet::new(),
            liar: nearlight_kit::ids::node(),
            replication,
            network,
            database: Mutex::new(()),
        };
        let liar = region.attach(plan, &shared.join("pki"))?;
        tokio::time::timeout(UP_WITHIN, region.whole())
            .await
            .context("the nodes do not get to the brokers")??;
        // Slots are secrets of their node's until it has shown them.
        region.liars.spawn(liar.run());
        Ok(region)
    }

    fn attach(&mut self, plan: &Plan, pki: &Path) -> Result<Hostile> {
        let ca = pki::ensure_ca(pki)?;
        let issue = |node: &NodeId| {
            let identity = pki::Identity {
                spiffe: format!("spiffe://nearlight/node/{node}"),
                ..pki::Identity::default()
            };
            ca.issue(pki, node.as_str(), identity)
        };
        let seen = Arc::new(Seen::default());
        let at = &self.callers.brokers;
        let mut others = Vec::new();
        for n in 0..plan.size.edges {
            let node = nearlight_kit::ids::node();
            issue(&node)?;
            let slots: Vec<_> = (0..SLOTS).map(|_| nearlight_kit::ids::slot()).collect();
            others.extend(slots.iter().cloned());
            let (blows, taken) = mpsc::channel(16);
            let parts = edge::Parts {
                node: node.clone(),
                slots,
                pki: pki.to_owned(),
                brokers: at.clone(),
                history: self.history.clone(),
                seen: seen.clone(),
                rng: rng(plan, n as u64),
                hold_ms: plan.size.faults.hold_ms(),
                blows: taken,
            };
            self.nodes.spawn(Edge::new(parts).run());
            self.edges.push((node, blows));
        }
        issue(&self.liar)?;
        Ok(Hostile {
            node: self.liar.clone(),
            slot: nearlight_kit::ids::slot(),
            others,
            pki: pki.to_owned(),
            brokers: at.clone(),
            seen,
            rng: rng(plan, u64::MAX),
        })
    }

    /// Waits until every broker sees every node.
    async fn whole(&self) -> Result<()> {
        let path = "/v1/nodes";
        for at in &self.callers.brokers {
            loop {
                let ready = (*at.borrow()).context("a broker has ended")?;
                let mut http = crate::sessions::http::Client::new(ready.listen, &self.callers.key);
                let (_, body) = http
                    .ask(hyper::Method::GET, path, None, bytes::Bytes::new())
                    .await?;
                let body: serde_json::Value = serde_json::from_slice(&body)?;
                let nodes = body["nodes"].as_array().context("nodes")?;
                let is_there = |id: &NodeId| {
                    nodes.iter().any(|node| {
                        node["id"] == id.as_str()
                            && node["status"] == "online"
                            && node["slots_total"] != 0
                    })
                };
                if self.edges.iter().all(|(id, _)| is_there(id)) {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Nodes that the plan never lets come back.
    pub(super) fn lost(&self, plan: &Plan) -> HashSet<String> {
        let never = plan.faults.iter().filter_map(|(_, fault)| match fault {
            Fault::KillEdge {
                edge,
                down_ms: None,
                ..
            } => Some(self.edges[*edge].0.to_string()),
            _ => None,
        });
        never.collect()
    }

    /// Lets the plan's faults happen, each when it is due; returns when the last one is over.
    pub(super) async fn suffer(&self, plan: &Plan, began: Instant) -> Result<()> {
        let faults = plan.faults.iter().map(async |(at_ms, fault)| {
            tokio::time::sleep_until(began + Duration::from_millis(*at_ms)).await;
            self.history.fault(fault);
            self.strike(*fault).await
        });
        let done = futures_util::future::join_all(faults).await;
        done.into_iter().collect()
    }

    async fn strike(&self, fault: Fault) -> Result<()> {
        let ms = Duration::from_millis;
        // A process that is being struck already takes no more.
        let strike = |n: usize, blow| self.brokers[n].blows.try_send(blow).ok();
        let hit = |n: usize, blow| self.edges[n].1.try_send(blow).ok();
        match fault {
            Fault::KillBroker { broker, down_ms } => {
                let down = ms(down_ms);
                let _ = strike(broker, Blow::Kill { down });
            }
            Fault::TerminateBroker { broker, down_ms } => {
                let down = ms(down_ms);
                let _ = strike(broker, Blow::Terminate { down });
            }
            Fault::StopBroker { broker, for_ms } => {
                let for_ = ms(for_ms);
                let _ = strike(broker, Blow::Stop { for_ });
            }
            Fault::CutLedger {
                broker,
                way,
                for_ms,
                breaks,
            } => match &self.network {
                None => Broker::cut(&self.brokers[broker].ledger, way, ms(for_ms), breaks).await,
                Some(network) => {
                    let ledger = network.cut_for(network::Line::Ledger, broker, way, ms(for_ms));
                    ledger.await?;
                }
            },
            Fault::CutPeers {
                broker,
                way,
                for_ms,
                breaks,
            } => match &self.network {
                None => Broker::cut(&self.brokers[broker].peers, way, ms(for_ms), breaks).await,
                Some(network) => {
                    let peers = network.cut_for(network::Line::Peers, broker, way, ms(for_ms));
                    peers.await?;
                }
            },
            Fault::CutOff { broker, for_ms } => {
                let network = self.network.as_ref().context("lines are packets")?;
                let cut = |line| network.cut_for(line, broker, Way::Both, ms(for_ms));
                let both = [network::Line::Ledger, network::Line::Peers].map(cut);
                futures_util::future::try_join_all(both).await?;
            }
            Fault::KillEdge {
                edge,
                keeps,
                down_ms,
            } => {
                let down = down_ms.map(ms);
                let _ = hit(edge, edge::Blow::Kill { keeps, down });
            }
            Fault::DropStream { edge } => {
                let _ = hit(edge, edge::Blow::Drop);
            }
            Fault::CrashLedger { down_ms } => {
                let _held = self.database.lock().await;
                self.postgres.kill().await?;
                tokio::time::sleep(ms(down_ms)).await;
                self.postgres.up().await?;
            }
            Fault::Lag => {
                self.history.add(Event::Lag);
                self.replication.cut(Way::Both);
            }
            Fault::FailOver => self.fail_over().await?,
        }
        Ok(())
    }

    async fn fail_over(&self) -> Result<()> {
        let _held = self.database.lock().await;
        self.postgres.fail_over().await?;
        for broker in &self.brokers {
            broker.ledger.lead_to(End::Unix(self.postgres.socket()));
        }
        self.history.add(Event::FailedOver);
        Ok(())
    }

    /// Reads the ledger's books into the history, if it is there.
    pub(super) async fn look(&self) -> Option<Books> {
        let _held = self.database.lock().await;
        let books = Books::read(&self.postgres).await.ok()?;
        let copy = Box::new(books.clone());
        self.history.add(Event::Books { books: copy });
        Some(books)
    }

    /// Ends every session, and waits until the ledger is quiet; whether it is.
    pub(super) async fn end_all(&mut self, within: Duration, lost: &HashSet<String>) -> Result<()> {
        self.liars.shutdown().await;
        for broker in &self.brokers {
            broker.serves().await?;
        }
        let until = Instant::now() + within;
        let mut n = 0;
        while Instant::now() < until {
            let Some(books) = self.look().await else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            let waits = |node: &&String| **node != self.liar.as_str() && !lost.contains(*node);
            let orders = books.outbox_nodes.iter().filter(waits).count();
            if books.live().next().is_none() && books.live_claims == 0 && orders == 0 {
                return Ok(());
            }
            let live = books.live().filter(|session| session.phase != "ending");
            let live: Vec<String> = live.map(|session| session.id.clone()).collect();
            for session in live {
                n += 1;
                let broker = n % self.brokers.len();
                self.callers.ask(broker, Ask::End { session }).await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.history.note("the ledger does not get quiet");
        Ok(())
    }

    /// Asks every broker for every session.
    pub(super) async fn look_for_all(&self) -> Result<()> {
        tokio::time::sleep(HEARD_WITHIN).await;
        self.history.add(Event::Healed);
        let Some(books) = self.look().await else {
            bail!("the ledger is not there at the end");
        };
        for broker in 0..self.brokers.len() {
            for session in books.sessions.iter().map(|session| session.id.clone()) {
                self.callers.ask(broker, Ask::Look { session }).await;
            }
        }
        Ok(())
    }

    /// Stops everything.
    pub(super) async fn down(mut self) {
        self.nodes.shutdown().await;
        self.brokers.clear();
        self.postgres.drop_all(&self.dir).await;
    }
}

async fn brokers(
    programs: &Programs,
    plan: &Plan,
    dir: &Path,
    (shared, postgres): (&Path, &Postgres),
    history: &Arc<History>,
) -> Result<Vec<Broker>> {
    let mut brokers = Vec::new();
    for n in 0..plan.size.brokers {
        let name = format!("b{n}");
        let setup = Setup {
            program: programs.broker.clone(),
            dir: dir.join(&name),
            name,
            shared: shared.to_owned(),
            socket: postgres.socket(),
            number: n,
            faults: plan.size.faults,
        };
        let broker = Broker::new(setup, history.clone()).await?;
        // One after the other: the first makes the CA and the key that all share.
        broker.serves().await?;
        brokers.push(broker);
    }
    Ok(brokers)
}

/// Chance of one node.
fn rng(plan: &Plan, n: u64) -> StdRng {
    StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003).wrapping_add(n))
}
