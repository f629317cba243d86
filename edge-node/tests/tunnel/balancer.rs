//! Two brokers behind the load balancer of the worked region, with its own file: a tunnel gets to the broker that asks
//! for it, whichever has fewer connections, and large bodies get through.

use crate::brokers::Postgres;
use crate::http::PATIENCE;
use crate::upstream::Upstream;
use crate::world::{Caller, World, read, tickets};
use axum::body::Body;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const BULK_BYTES: usize = 8 * 1024 * 1024;

/// haproxy with the example's file, other addresses in it.
struct Balancer(Child);

impl Balancer {
    fn start(dir: &Path, nodes: &[(SocketAddr, SocketAddr); 2]) -> Self {
        let example = "../configs/examples/region/haproxy.cfg";
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(example);
        let mut cfg = std::fs::read_to_string(example).unwrap();
        for (n, (front, broker)) in (1..).zip(nodes) {
            cfg = cfg
                .replace(&format!("bind :845{n}"), &format!("bind {front}"))
                .replace(&format!("10.0.0.2{n}:8443"), &broker.to_string())
                .replace(&format!("10.0.0.2{n}:443"), &free_port().to_string())
                .replace(&format!("10.0.0.2{n}:8445"), &free_port().to_string());
        }
        cfg = cfg
            .replace("bind :443", &format!("bind {}", free_port()))
            .replace("bind :8443", &format!("bind {}", free_port()))
            .replace("maxconn 20000", "maxconn 200")
            // The brokers' `proxies` name it.
            .replace(
                "default-server send-proxy-v2",
                "default-server source 127.0.0.2 send-proxy-v2",
            );
        assert!(!cfg.contains("10.0.0."), "{cfg}");
        let file = dir.join("haproxy.cfg");
        std::fs::write(&file, cfg).unwrap();
        // Debian keeps it away from other users' PATH.
        let mut command = Command::new("/usr/sbin/haproxy");
        command.args(["-db", "-f"]).arg(&file);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().expect("installed by scripts/install.sh test"))
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A broker that says that nodes reach it at `front`, and its node.
async fn world(ledger: &str, name: &str, front: SocketAddr, pki: Option<PathBuf>) -> World {
    let started = World::start_with(|parsed| {
        parsed.ledger = ledger.to_owned();
        parsed.peers.name = name.to_owned();
        parsed.peers.listen = "127.0.0.1:0".to_owned();
        parsed.jobs.tunnel_address = front.to_string();
        parsed.proxies = vec!["127.0.0.2".parse().unwrap()];
        if let Some(pki) = pki {
            parsed.pki = pki;
        }
    });
    Box::pin(started).await
}

/// Sends much, and finds it in the answer.
async fn mirrors(caller: &Caller) {
    let body = vec![b'x'; BULK_BYTES];
    let sent = tokio::time::timeout(PATIENCE, caller.post("/mirror", body));
    let (status, back) = sent.await.unwrap();
    assert_eq!(status, 200, "{back}");
    assert_eq!(back.matches('x').count() / BULK_BYTES, 1, "all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_get_through_a_balancer_to_the_broker_that_asks() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let fronts = [free_port(), free_port()];
    let first = Box::pin(world(&postgres.url, "a", fronts[0], None)).await;
    let pki = first.rig.pki();
    let second = Box::pin(world(&postgres.url, "b", fronts[1], Some(pki))).await;
    let worlds = [&first, &second];
    let [a, b] = worlds.map(|world| world.rig.broker.node_listen);
    let balancer = Balancer::start(dir.path(), &[(fronts[0], a), (fronts[1], b)]);
    let upstream = Upstream::http().await;

    // Which of the best is taken is left to chance: sessions are started until each node has one.
    let has_one = |world: &World| !world.grants.lock().unwrap().is_empty();
    let mut sessions = Vec::new();
    while !worlds.into_iter().all(has_one) {
        let session = first.ready().await;
        for world in worlds {
            let ports = tickets(&[("api", upstream.at)]);
            world.table.open(session.clone(), ports);
        }
        sessions.push(session);
    }
    let mut callers = Vec::new();
    for session in &sessions {
        let caller = first.caller(session).await;
        crate::rig::eventually("the balancer to lead there", || async {
            caller.get("/").await.0 == 200
        })
        .await;
        mirrors(&caller).await;
        callers.push(caller);
    }
    // They went that way indeed.
    drop(balancer);
    let request = callers[0].request("GET", "/").body(Body::empty()).unwrap();
    let answer = read(callers[0].send(request).await).await;
    assert!(answer.0.is_server_error(), "{answer:?}");
}
