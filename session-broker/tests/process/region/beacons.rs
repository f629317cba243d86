//! The metros' beacons, and a browser's way of timing them (client-web/src/probe/beacons.ts).

use super::{METROS, text};
use crate::http::{Client, PATIENCE};
use nearlight_kit::beacon::{Beacon, PATH};
use nearlight_kit::shutdown::Shutdown;
use serde_json::{Value, json};
use session_broker::config::RegionFile;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Samples that count, of each beacon.
const SAMPLES: usize = 3;

/// One beacon a metro, as its edge's file has it; for as long as the test.
pub(super) struct Beacons {
    at: BTreeMap<String, SocketAddr>,
    shutdown: Shutdown,
}

impl Beacons {
    pub(super) async fn start() -> Self {
        let shutdown = Shutdown::new();
        let mut at = BTreeMap::new();
        for metro in METROS {
            let file: toml::Table = text(&format!("edge-{metro}.toml")).parse().unwrap();
            let mut listen: SocketAddr =
                file["beacon"]["listen"].as_str().unwrap().parse().unwrap();
            assert_eq!(listen.port(), 443, "where the brokers' files have it");
            listen = SocketAddr::from(([127, 0, 0, 1], 0));
            // Browsers' TLS has a test of its own.
            let beacon = Beacon::bind(listen, None).await.unwrap();
            at.insert(metro.to_owned(), beacon.local_addr().unwrap());
            shutdown.spawn(beacon.run(shutdown.clone()));
        }
        Self { at, shutdown }
    }

    /// Puts this machine's addresses into what a broker's file says.
    pub(super) fn stand_in(&self, regions: &mut [RegionFile]) {
        for region in regions {
            let at = self.at[&region.name];
            let public = format!("https://{}.beacons.eu-west.example.org", region.name);
            assert_eq!(region.beacon, format!("{public}{PATH}"));
            region.beacon = region.beacon.replace(&public, &format!("http://{at}"));
        }
    }

    /// What `player` measures to what `/v1/regions` names: `rtt` of a create.
    pub(super) async fn times(&self, player: &Client) -> Value {
        let listed = player.get("/v1/regions").await.json();
        let regions = listed["regions"].as_array().unwrap();
        assert_eq!(regions.len(), METROS.len(), "{listed}");
        let mut measured = Vec::new();
        for region in regions {
            let name = region["name"].as_str().unwrap();
            let at = self.at[name];
            assert_eq!(region["beacon"], format!("http://{at}{PATH}"), "{listed}");
            assert_ne!(region["state"], "offline", "{listed}");
            let timed = tokio::time::timeout(PATIENCE, time(at)).await;
            measured.push(json!({ "region": name, "ms": timed.unwrap() }));
        }
        Value::from(measured)
    }
}

impl Drop for Beacons {
    fn drop(&mut self) {
        self.shutdown.token().cancel();
    }
}

/// The least of some round trips on a connection that is warm, milliseconds.
async fn time(at: SocketAddr) -> u64 {
    let mut tcp = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {PATH} HTTP/1.1\r\nhost: {at}\r\n\r\n");
    let mut least = u64::MAX;
    for sample in 0..=SAMPLES {
        let sent = Instant::now();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(tcp.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 204 "), "{answer:?}");
        if sample > 0 {
            least = least.min(u64::try_from(sent.elapsed().as_millis()).unwrap());
        }
    }
    least
}
