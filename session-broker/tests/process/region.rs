//! The worked example of docs/operations.md in small: its own files with other addresses, two brokers on a
//! PostgreSQL with a synchronous standby, haproxy in front of both listeners, coturn, three metros
//! with a beacon each.

use crate::edge::{Edge, Node, Started};
use crate::http::Client;
use crate::program::Program;
use crate::rig::{eventually, id, parsed};
use crate::shared::Postgres;
use serde_json::json;
use session_broker::config::{Config, Parsed};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

mod beacons;
mod daemons;

use beacons::Beacons;
use daemons::{Daemon, free_port, relays};

const METROS: [&str; 3] = ["frankfurt", "amsterdam", "paris"];
const SECRET: &str = "a-secret-of-the-region";

fn example(name: &str) -> PathBuf {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/examples/region");
    Path::new(dir).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).unwrap()
}

/// A broker's file of the example, as the broker reads it.
fn broker_file(name: &str) -> Parsed {
    let mut parsed = Parsed::load(Some(&example(name))).unwrap();
    // It comes with the environment.
    parsed.ledger = "postgres://nearlight@db.eu-west.internal/nearlight".to_owned();
    parsed
}

#[test]
fn the_brokers_files_of_the_example_go_together() {
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("turn.secret");
    std::fs::write(&secret, SECRET).unwrap();
    let mut names = BTreeSet::new();
    for file in ["broker-1.toml", "broker-2.toml"] {
        let mut parsed = broker_file(file);
        assert!(Config::try_from(parsed.clone()).is_err(), "no secret yet");
        parsed.turn.secret_file.clone_from(&secret);
        let config = Config::try_from(parsed).unwrap();
        let balancer = text("haproxy.cfg");
        let jobs = config.jobs.as_ref().unwrap();
        for listen in [config.listen, config.node_listen, jobs.listen] {
            assert!(balancer.contains(&listen.to_string()), "{file}: {listen}");
        }
        assert!(balancer.contains(&format!("-m end .{}", jobs.domain)));
        let (_, tunnels) = config
            .tunnel_address
            .as_ref()
            .unwrap()
            .rsplit_once(':')
            .unwrap();
        assert!(balancer.contains(&format!("bind :{tunnels}\n")), "{file}");
        assert!(text("turnserver.conf").contains("listening-port=3478"));
        assert_eq!(config.sessions.node_grace_s, 600, "as the nodes' files say");
        assert!(names.insert(config.peers.unwrap().address.unwrap()));
        let metros = config.nearness.regions.iter().map(|r| r.name.as_str());
        assert_eq!(metros.collect::<Vec<_>>(), METROS, "{file}");
    }
}

/// The region in small.
struct Region {
    dir: TempDir,
    postgres: Postgres,
    _standby: Postgres,
    _balancer: Daemon,
    beacons: Beacons,
    public: SocketAddr,
    nodes: SocketAddr,
}

impl Region {
    /// The database and its standby, as the example has them, and the brokers on them.
    async fn start() -> Option<(Self, [Program; 2])> {
        let postgres = Postgres::start()?;
        let standby = postgres.standby();
        postgres.reconfigure(&database_settings());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("pki")).unwrap();
        std::fs::write(dir.path().join("turn.secret"), SECRET).unwrap();
        let beacons = Beacons::start().await;
        let brokers = [
            broker(dir.path(), "broker-1.toml", &postgres.url, &beacons).await,
            broker(dir.path(), "broker-2.toml", &postgres.url, &beacons).await,
        ];
        let [public, nodes] = [free_port(), free_port()];
        let mut cfg = text("haproxy.cfg")
            .replace("bind :443", &format!("bind {public}"))
            .replace("bind :8443", &format!("bind {nodes}"))
            .replace("maxconn 20000", "maxconn 200")
            // Browsers' TLS has a test of its own.
            .replace("default-server check-ssl verify none", "")
            // The brokers' `proxies` name it.
            .replace(
                "default-server send-proxy-v2",
                "default-server source 127.0.0.2 send-proxy-v2",
            );
        for (n, broker) in brokers.iter().enumerate() {
            let host = format!("10.0.0.2{}", n + 1);
            let nowhere = free_port().to_string();
            cfg = cfg
                .replace(&format!("{host}:8445"), &nowhere)
                .replace(&format!(":845{}", n + 1), &nowhere)
                .replace(&format!("{host}:443"), &broker.listen.to_string())
                .replace(&format!("{host}:8443"), &broker.node_listen.to_string());
        }
        assert!(!cfg.contains("10.0.0."), "{cfg}");
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, cfg).unwrap();
        let balancer = Daemon::haproxy(&file);
        let region = Self {
            dir,
            postgres,
            _standby: standby,
            _balancer: balancer,
            beacons,
            public,
            nodes,
        };
        region.met(&brokers).await;
        Some((region, brokers))
    }

    /// Waits until the brokers know each other and the balancer both.
    async fn met(&self, brokers: &[Program; 2]) {
        for broker in brokers {
            let metrics = Client::nobody(broker.metrics_listen.unwrap());
            eventually("the brokers to meet", || async {
                metrics
                    .get("/metrics")
                    .await
                    .body
                    .contains("broker_peers 1")
            })
            .await;
        }
        eventually("the balancer to listen", || async {
            tokio::net::TcpStream::connect(self.public).await.is_ok()
        })
        .await;
        let through = self.anybody();
        eventually("the balancer to find a broker", || async {
            through.get("/readyz").await.status == 200
        })
        .await;
    }

    /// Whoever comes through the balancer by the region's name.
    fn anybody(&self) -> Client {
        Client::nobody(self.public).with("host", "play.eu-west.example.org")
    }

    async fn guest(&self) -> Client {
        let answer = self.anybody().get("/v1/whoami").await;
        let cookie = answer.header("set-cookie").unwrap();
        let pair = cookie.split(';').next().unwrap().to_owned();
        self.anybody().with("cookie", &pair)
    }

    /// Two nodes of each metro, attached through the balancer.
    async fn fleet(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for metro in METROS.into_iter().chain(METROS) {
            let file: toml::Table = text(&format!("edge-{metro}.toml")).parse().unwrap();
            let mut node = Node::new(&self.pki(), 1);
            node.region = file["region"].as_str().unwrap().to_owned();
            edges.push(node.attach(&self.pki(), self.nodes, Vec::new()).await);
        }
        let client = self.guest().await;
        eventually("all nodes to be there", || async {
            let nodes = client.get("/v1/nodes").await.json();
            let nodes = nodes["nodes"].as_array().unwrap().clone();
            let online =
                |node: &&serde_json::Value| node["status"] == "online" && node["slots_total"] == 1;
            nodes.iter().filter(online).count() == 6
        })
        .await;
        edges
    }

    fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }
}

/// Starts a broker from its file of the example, with addresses and paths of this machine.
async fn broker(dir: &Path, file: &str, ledger: &str, beacons: &Beacons) -> Program {
    let own = dir.join(file);
    std::fs::create_dir(&own).unwrap();
    let test = parsed(&own);
    let mut parsed = broker_file(file);
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    (parsed.listen, parsed.node_listen) = (any, any);
    parsed.metrics_listen = any.to_string();
    parsed.peers.listen = any.to_string();
    parsed.peers.address = String::new();
    parsed.peers.dead_s = 3;
    // Scripted nodes do not beat.
    parsed.control.heartbeat_s = 60;
    parsed.proxies = vec!["127.0.0.2".parse().unwrap()];
    parsed.tls = Parsed::load(None).unwrap().tls;
    // Jobs' endpoint behind this balancer has a test among those of tunnels.
    parsed.jobs = Parsed::load(None).unwrap().jobs;
    parsed.client_web = PathBuf::new();
    parsed.turn.secret_file = dir.join("turn.secret");
    beacons.stand_in(&mut parsed.regions);
    parsed.data = test.data;
    parsed.pki = dir.join("pki");
    parsed.apps = test.apps;
    parsed.dev_key_file = test.dev_key_file;
    let path = own.join("broker.toml");
    std::fs::write(&path, toml::to_string(&parsed).unwrap()).unwrap();
    Program::of_file(&path, ledger).await
}

/// The example's settings but for what is this machine's.
fn database_settings() -> String {
    let text = text("postgresql.conf");
    let ours = |line: &&str| {
        let of_a_host = ["listen_addresses", "ssl ", "shared_buffers"];
        !of_a_host.iter().any(|key| line.starts_with(key))
    };
    let kept: Vec<&str> = text.lines().filter(ours).collect();
    format!("\n{}\n", kept.join("\n"))
}

/// A player, the session, and the node that runs it.
struct Playing {
    owner: Client,
    session: String,
    edge: Edge,
    started: Started,
}

async fn phase_of(owner: &Client, session: &str) -> String {
    owner
        .get(&format!("/v1/sessions/{session}"))
        .await
        .at("/state/phase")
}

/// Lets a guest play on each node: six sessions fill the region, two in each metro.
async fn fill(region: &Region, edges: Vec<Edge>) -> Vec<Playing> {
    let mut asked = Vec::new();
    for _ in &edges {
        let owner = region.guest().await;
        let rtt = region.beacons.times(&owner).await;
        let owner = owner.with("idempotency-key", nearlight_kit::ids::request().as_str());
        let wish = json!({ "app": "demo", "rtt": rtt });
        let created = owner.post_json("/v1/sessions", &wish).await;
        asked.push((owner, id(&created)));
    }
    let mut playing = Vec::new();
    for mut edge in edges {
        let started = edge.start_next().await;
        let session = started.start.session.to_string();
        let (owner, session) = asked.iter().find(|(_, s)| *s == session).cloned().unwrap();
        eventually("ready", || async {
            phase_of(&owner, &session).await == "ready"
        })
        .await;
        let shown = owner.get(&format!("/v1/sessions/{session}")).await;
        assert_eq!(shown.at("/placed_in/rtt_from"), "measured", "{shown:?}");
        assert_eq!(shown.at("/placed_in/region"), edge.node.region);
        playing.push(Playing {
            owner,
            session,
            edge,
            started,
        });
    }
    playing
}

/// What a broker hands out gets a player through the relay of the example, and nothing else does.
async fn relayed(region: &Region, playing: &Playing) {
    let at = free_port();
    let conf = text("turnserver.conf")
        .replace("203.0.113.40", "127.0.0.1")
        .replace("port=3478", &format!("port={}", at.port()))
        .replace("REPLACE-BY-THE-BROKERS-SECRET", SECRET)
        .replace("198.51.100.0-198.51.100.255", "127.0.0.1");
    let file = region.dir.path().join("turnserver.conf");
    std::fs::write(&file, conf).unwrap();
    let _relay = Daemon::coturn(&file);
    let path = format!("/v1/sessions/{}/tickets", playing.session);
    let ticket = playing.owner.post_json(&path, &json!({})).await;
    let [username, credential] =
        ["username", "credential"].map(|of| ticket.at(&format!("/ice_servers/0/{of}")));
    eventually("it to relay", || relays(at.port(), &username, &credential)).await;
    let later = format!("9{username}");
    assert!(
        !relays(at.port(), &later, &credential).await,
        "not for another time"
    );
}

/// A node whose stream has ended attaches again, as edges do, through the balancer.
async fn back(region: &Region, playing: Playing) -> Playing {
    let Playing {
        edge,
        started,
        owner,
        session,
    } = playing;
    let running = vec![started.running(false)];
    let edge = edge.node.attach(&region.pki(), region.nodes, running).await;
    Playing {
        owner,
        session,
        edge,
        started,
    }
}

#[tokio::test]
async fn the_worked_region_plays_in_each_metro_and_outlives_a_broker() {
    let Some((region, [first, second])) = Region::start().await else {
        return;
    };
    let state = region
        .postgres
        .ask("select sync_state from pg_stat_replication");
    assert_eq!(state, "sync", "an answer of 201 is on two disks");
    let edges = region.fleet().await;
    let playing = fill(&region, edges).await;
    let metros: BTreeSet<&str> = playing
        .iter()
        .map(|p| p.edge.node.region.as_str())
        .collect();
    assert_eq!(metros, BTreeSet::from(METROS));
    relayed(&region, &playing[0]).await;

    // Those that hung on it come back by the balancer, which has only the other one left.
    let gone = first.node_listen;
    let metrics = Client::nobody(second.metrics_listen.unwrap());
    let held = metrics.get("/metrics").await.body;
    assert!(
        held.contains("broker_control_streams_total{outcome=\"attached\"} 3"),
        "leastconn: {held}"
    );
    first.kill().await;
    let mut after = Vec::new();
    for mut player in playing {
        after.push(match player.edge.is_open().await {
            true => player,
            false => Box::pin(back(&region, player)).await,
        });
    }
    assert!(std::net::TcpStream::connect(gone).is_err());
    for Playing { owner, session, .. } in &after {
        eventually("its owner to find it", || async {
            phase_of(owner, session).await == "ready"
        })
        .await;
    }
    // One leaves, and whoever waited is next on that node.
    let newcomer = region.guest().await;
    let waits = id(&newcomer.create("demo").await);
    let mut one = after.swap_remove(0);
    let path = format!("/v1/sessions/{}", one.session);
    assert_eq!(one.owner.delete(&path).await.status, 202);
    one.edge.stop_next(&one.started).await;
    let next = one.edge.start_next().await;
    assert_eq!(next.start.session.to_string(), waits);
    eventually("it to be ready", || async {
        phase_of(&newcomer, &waits).await == "ready"
    })
    .await;
}
