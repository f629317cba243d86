//! A day of jobs through the API, and its sum by hand: GPUs of two classes, a CPU job, a cluster of two, one
//! that moves to another node; with labels, a price that rises, a broker that is killed twice, and orders that
//! are acked three times and in any order.
//!
//! The prices are a table of this test, made by hand of the cards below. When a claim began and ended is what
//! its line says, within what this test's own clock saw of its acks.

use super::*;
use crate::isolation::tenant_by;
use crate::jobs::{ask, host, job, vet};
use crate::shared::{Postgres, online};
use nearlight_protocol::control::{FromEdge, Gpu, JobHost, Order, ToEdge};
use std::collections::BTreeMap;
use sums::{Billed, adds_up, is_spent};
use tempfile::TempDir;

mod sums;

/// The card of the morning, and the one of later.
const CARDS: [&str; 2] = [
    "slot = 40\ncpu_core = 11\nmem_gib = 3\ngpu = { H100 = 7001, L4 = 803 }\n",
    "slot = 50\ncpu_core = 13\nmem_gib = 5\ngpu = { H100 = 9011, L4 = 1009 }\n",
];

/// A job of the day.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    tenant: usize,
    customer: &'static str,
    /// What each claim of it costs a second by either card, quarters of a micro-unit.
    quarters: [u64; 2],
}

/// Two cores, 4 GiB, an H100: 40 + 22 + 12 + 7001, then 50 + 26 + 20 + 9011.
const TRAIN: Kind = Kind {
    name: "train",
    tenant: 0,
    customer: "acme",
    quarters: [28_300, 36_428],
};
/// A core, 2 GiB, an L4: 40 + 11 + 6 + 803, then 50 + 13 + 10 + 1009.
const SERVE: Kind = Kind {
    name: "serve",
    tenant: 1,
    customer: "zeta",
    quarters: [3_440, 4_328],
};
/// 9/8 cores and GiB: 40 + 12.375 + 3.375, then 50 + 14.625 + 5.625.
const BATCH: Kind = Kind {
    name: "batch",
    tenant: 1,
    customer: "zeta",
    quarters: [223, 281],
};
/// Each of two a quarter of a core and of a GiB: 40 + 2.75 + 0.75, then 50 + 3.25 + 1.25.
const RING: Kind = Kind {
    name: "ring",
    tenant: 0,
    customer: "acme",
    quarters: [174, 218],
};
/// A core, a GiB: 40 + 11 + 3, then 50 + 13 + 5.
const NOMAD: Kind = Kind {
    name: "nomad",
    tenant: 0,
    customer: "zeta",
    quarters: [216, 272],
};

impl Kind {
    fn wanted(&self) -> Value {
        let mut wanted = match self.name {
            "train" => json!({ "resources":
                { "cpu_milli": 2000, "mem_mib": 4096, "gpu": { "model": "H100" } } }),
            "serve" => json!({ "resources":
                { "cpu_milli": 1000, "mem_mib": 2048, "gpu": { "model": "L4" } } }),
            "batch" => json!({ "resources": { "cpu_milli": 1125, "mem_mib": 1152 } }),
            "ring" => json!({ "resources": { "cpu_milli": 250, "mem_mib": 256 },
                "cluster": { "replicas": 2 } }),
            "nomad" => json!({ "resources": { "cpu_milli": 1000, "mem_mib": 1024 },
                "restart": { "elsewhere": true, "max": 1 } }),
            other => panic!("no job is called {other}"),
        };
        wanted["labels"] = json!({ "customer": self.customer });
        job(&wanted)
    }
}

/// A claim, and between which instants it began and ended.
struct Line {
    kind: &'static Kind,
    started: Started,
    began_ms: RangeInclusive<u64>,
    ended_ms: Option<RangeInclusive<u64>>,
}

/// The nodes of the day: one with GPUs, a small one, a large one.
const GPUS: usize = 0;
const SMALL: usize = 1;
const LARGE: usize = 2;

struct Day {
    dir: TempDir,
    postgres: Option<Postgres>,
    nodes: [Node; 3],
    tenants: Vec<(String, Client)>,
    /// What was asked for, by the session that its tenant has.
    asked: BTreeMap<String, &'static Kind>,
    lines: Vec<Line>,
    from_ms: u64,
    rises_ms: u64,
}

/// The session that the tenant of a claim has: of a cluster's, the first one's.
fn of(started: &Started) -> String {
    let replica = started.start.replica.as_ref();
    let session = replica.map_or(&started.start.session, |replica| &replica.cluster);
    session.to_string()
}

fn gpu(uuid: &str, model: &str) -> Gpu {
    Gpu {
        uuid: uuid.to_owned(),
        model: model.to_owned(),
        vram_mib: 24_000,
        compute_capability: 89,
        ..Gpu::default()
    }
}

impl Day {
    fn new(postgres: Option<Postgres>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = dir.path().join("pki");
        let node = |slots, gpus: Vec<Gpu>| Node {
            jobs: Some(JobHost {
                gives_gpus: !gpus.is_empty(),
                gpus,
                ..host()
            }),
            ..Node::new(&pki, slots)
        };
        let gpus = vec![
            gpu("GPU-1", "NVIDIA H100 80GB HBM3"),
            gpu("GPU-2", "NVIDIA L4"),
        ];
        Self {
            nodes: [node(2, gpus), node(1, Vec::new()), node(4, Vec::new())],
            dir,
            postgres,
            tenants: Vec::new(),
            asked: BTreeMap::new(),
            lines: Vec::new(),
            from_ms: now_ms() - 3_600_000,
            rises_ms: u64::MAX,
        }
    }

    /// A broker with the first cards.
    async fn start(&self, cards: &[(&str, &str)]) -> (Program, Client) {
        let path = |name: &str| self.dir.path().join(name);
        let rates = path("rates.toml");
        let cards = cards
            .iter()
            .map(|(from, card)| format!("[[card]]\nvalid_from = {from}\n{card}"));
        let text = format!("currency = \"EUR\"\n{}", cards.collect::<String>());
        std::fs::write(&rates, text).unwrap();
        configure(&path("broker.toml"), &rates, 600);
        let config = path("broker.toml");
        let mut args = vec!["--config", config.to_str().unwrap()];
        if let Some(postgres) = &self.postgres {
            args.extend(["--ledger", postgres.url.as_str()]);
        }
        let broker = Program::start_with(self.dir.path(), &args).await;
        let client = admin(self.dir.path(), broker.listen);
        (broker, client)
    }

    /// Attaches a node with what runs there, and has what ran acked once more.
    async fn attach(&self, broker: &Program, client: &Client, which: usize) -> Edge {
        let node = &self.nodes[which];
        let here = |line: &&Line| line.ended_ms.is_none() && line.started.grant.node == node.id;
        let here: Vec<&Line> = self.lines.iter().filter(here).collect();
        let running = here.iter().map(|line| line.started.running(false));
        let pki = self.dir.path().join("pki");
        let mut edge = node
            .attach(&pki, broker.node_listen, running.collect())
            .await;
        for line in here {
            edge.ack(line.started.command).await;
        }
        online(client, node).await;
        vet(client, node).await;
        edge
    }

    fn tenant(&self, which: usize, broker: &Program) -> Client {
        Client {
            at: broker.listen,
            ..self.tenants[which].1.clone()
        }
    }

    async fn ask(&mut self, broker: &Program, kind: &'static Kind) {
        let client = self.tenant(kind.tenant, broker);
        let session = id(&ask(&client, &kind.wanted()).await);
        self.asked.insert(session, kind);
    }

    /// Starts what was ordered: each order is acked three times, every time in another order.
    async fn begin(&mut self, edge: &mut Edge, client: &Client, mut orders: Vec<Started>) {
        let acked_ms = now_ms() - 1;
        for _ in 0..2 {
            orders.reverse();
            for order in &orders {
                edge.ack(order.command).await;
            }
        }
        for order in &orders {
            edge.report(order, SessionReport::Ready).await;
        }
        for order in &orders {
            reach(client, &of(order), "ready").await;
        }
        let begun_ms = now_ms();
        orders.rotate_left(1);
        for started in orders {
            edge.ack(started.command).await;
            self.lines.push(Line {
                kind: self.asked[&of(&started)],
                started,
                began_ms: acked_ms..=begun_ms,
                ended_ms: None,
            });
        }
    }

    /// Carries out so many orders to stop, whatever they are of; each is acked three times.
    async fn end(&mut self, edge: &mut Edge, client: &Client, count: usize) {
        let mut ended = Vec::new();
        for _ in 0..count {
            let ToEdge::Command { command, order } = edge.next().await else {
                panic!("no order");
            };
            let Order::Stop { session, reason } = order else {
                panic!("no stop but {order:?}");
            };
            let running =
                |line: &Line| line.ended_ms.is_none() && line.started.start.session == session;
            let at = self.lines.iter().position(running).expect("it runs");
            let stopped_ms = now_ms() - 1;
            edge.ack(command).await;
            edge.ack(command).await;
            let detail = String::new();
            edge.report(
                &self.lines[at].started,
                SessionReport::Ended { reason, detail },
            )
            .await;
            ended.push((at, command, stopped_ms));
        }
        for (at, command, stopped_ms) in ended.into_iter().rev() {
            edge.ack(command).await;
            reach(client, &of(&self.lines[at].started), "ended").await;
            self.lines[at].ended_ms = Some(stopped_ms..=now_ms());
        }
    }

    fn session(&self, kind: &Kind) -> String {
        let mut asked = self.asked.iter();
        let found = asked.find(|(_, asked)| asked.name == kind.name);
        found.expect("it was asked for").0.clone()
    }

    async fn delete(&self, client: &Client, kind: &Kind) {
        let path = format!("/v1/sessions/{}", self.session(kind));
        assert_eq!(client.delete(&path).await.status, 202);
    }

    /// The end of its node's capacity for the nomad, which goes on at `to`.
    async fn moves(&mut self, small: &mut Edge, to: &mut Edge, client: &Client) {
        let nomad = self.lines.iter().position(|line| line.kind.name == "nomad");
        let nomad = nomad.expect("it runs");
        small.send(FromEdge::Draining).await;
        let (reason, detail) = (EndReason::NodeDrained, String::new());
        let left_ms = now_ms() - 1;
        let report = SessionReport::Ended { reason, detail };
        for _ in 0..3 {
            small
                .report(&self.lines[nomad].started, report.clone())
                .await;
        }
        let again = to.expect_start().await;
        self.lines[nomad].ended_ms = Some(left_ms..=now_ms());
        self.begin(to, client, vec![again]).await;
    }

    /// The broker goes before it hears that the nomad's order was taken.
    async fn morning(&mut self) {
        let (broker, client) = self.start(&[("2026-01-01T00:00:00Z", CARDS[0])]).await;
        for name in ["a", "b"] {
            let (tenant, _, owner) = tenant_by(&client, name).await;
            self.tenants.push((tenant, owner));
        }
        let mut gpus = self.attach(&broker, &client, GPUS).await;
        self.ask(&broker, &TRAIN).await;
        self.ask(&broker, &SERVE).await;
        let orders = vec![gpus.expect_start().await, gpus.expect_start().await];
        self.begin(&mut gpus, &client, orders).await;
        let mut small = self.attach(&broker, &client, SMALL).await;
        self.ask(&broker, &NOMAD).await;
        small.expect_start().await;
        broker.kill().await;
    }

    /// The price rises; the broker goes before it hears that one job has stopped.
    async fn noon(&mut self) {
        self.rises_ms = now_ms() + 8_000;
        let (broker, client) = self.again().await;
        let mut gpus = self.attach(&broker, &client, GPUS).await;
        let mut small = self.attach(&broker, &client, SMALL).await;
        let order = small.expect_start().await;
        self.begin(&mut small, &client, vec![order]).await;
        let mut large = self.attach(&broker, &client, LARGE).await;
        self.ask(&broker, &BATCH).await;
        self.ask(&broker, &RING).await;
        let mut orders = Vec::new();
        for _ in 0..3 {
            orders.push(large.expect_start().await);
        }
        self.begin(&mut large, &client, orders).await;
        eventually("a second after the price has risen", || async {
            let entries = self.entries(&client).await;
            let until = |entry: &UsageEntry| entry.began_unix_ms + entry.seconds * 1000;
            entries
                .iter()
                .all(|entry| until(entry) > self.rises_ms + 1_000)
        })
        .await;
        self.moves(&mut small, &mut large, &client).await;
        self.delete(&client, &SERVE).await;
        self.end(&mut gpus, &client, 1).await;
        self.delete(&client, &TRAIN).await;
        let train = self.session(&TRAIN).parse().unwrap();
        gpus.expect_stop(&train).await;
        broker.kill().await;
    }

    async fn evening(&mut self) -> (Program, Client) {
        let (broker, client) = self.again().await;
        let mut gpus = self.attach(&broker, &client, GPUS).await;
        let mut large = self.attach(&broker, &client, LARGE).await;
        self.end(&mut gpus, &client, 1).await;
        eventually("a second of each", || async {
            let entries = self.entries(&client).await;
            entries.iter().all(|entry| entry.seconds > 0)
        })
        .await;
        for kind in [&BATCH, &RING, &NOMAD] {
            self.delete(&client, kind).await;
        }
        self.end(&mut large, &client, 4).await;
        (broker, client)
    }

    /// A broker with both cards.
    async fn again(&self) -> (Program, Client) {
        let rises = rfc3339(self.rises_ms);
        let cards = [("2026-01-01T00:00:00Z", CARDS[0]), (&rises, CARDS[1])];
        self.start(&cards).await
    }

    fn since(&self) -> String {
        format!("from={}", self.from_ms)
    }

    async fn entries(&self, client: &Client) -> Vec<UsageEntry> {
        usage(client, &self.since()).await.entries
    }

    /// Each claim with its line, as they are when all is over.
    async fn billed(&self, client: &Client) -> Vec<Billed> {
        let mut entries = self.entries(client).await;
        assert_eq!(
            entries.len(),
            self.lines.len(),
            "a line a claim: {entries:?}"
        );
        let billed = self.lines.iter().map(|line| {
            let is_its = |entry: &UsageEntry| {
                let (started, session) = (&line.started, entry.session.as_ref());
                entry.node == started.grant.node && session == Some(&started.start.session)
            };
            let at = entries.iter().position(is_its).expect("it has a line");
            let entry = entries.swap_remove(at);
            assert!(line.began_ms.contains(&entry.began_unix_ms), "{entry:?}");
            let (ended, seen) = (entry.ended_unix_ms.unwrap(), line.ended_ms.clone());
            assert!(seen.expect("it is over").contains(&ended), "{entry:?}");
            Billed {
                kind: line.kind,
                rises_ms: self.rises_ms,
                entry,
            }
        });
        billed.collect()
    }
}

async fn add_up(postgres: Option<Postgres>) {
    let mut day = Day::new(postgres);
    Box::pin(day.morning()).await;
    Box::pin(day.noon()).await;
    let (broker, client) = Box::pin(day.evening()).await;
    let all = day.billed(&client).await;
    Box::pin(adds_up(&day, &client, &all)).await;
    Box::pin(is_spent(&day, &broker, &client, &all)).await;
}

#[tokio::test]
async fn i5_a_day_of_jobs_is_billed_as_it_adds_up_by_hand_over_kills_and_acks_that_repeat() {
    Box::pin(add_up(None)).await;
}

#[tokio::test]
async fn i5_a_day_of_jobs_is_billed_as_it_adds_up_by_hand_on_postgresql() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    Box::pin(add_up(Some(postgres))).await;
}
