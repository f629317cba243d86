//! Usage, what it costs, and what happens when that is too much: over the API, with a scripted edge.

use crate::edge::{Edge, Node, Started};
use crate::http::{Answer, Client, PATIENCE};
use crate::isolation::{bearer, tenant};
use crate::program::Program;
use crate::rig::{Rig, admin, eventually, id};
use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{RunningSession, SessionReport};
use nearlight_protocol::unit::rfc3339;
use nearlight_protocol::usage::{UsageEntry, UsageReport};
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::process::Command;

mod day;

/// Micro-units a second: of a slot before and after the price rises, of a core, of a GiB.
const SLOT: [u64; 2] = [40, 50];
const CORE: u64 = 11;
const GIB: u64 = 3;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// Writes two rate cards, the second from `rises_ms` on.
fn write_rates(dir: &Path, rises_ms: u64) -> std::path::PathBuf {
    let file = dir.join("rates.toml");
    let [before, after] = SLOT;
    let card = |from: &str, slot| {
        format!(
            "[[card]]\nvalid_from = {from}\nslot = {slot}\ncpu_core = {CORE}\nmem_gib = {GIB}\n"
        )
    };
    let cards = card("2026-01-01T00:00:00Z", before) + &card(&rfc3339(rises_ms), after);
    std::fs::write(&file, format!("currency = \"EUR\"\n{cards}")).unwrap();
    file
}

/// A slot costs this much a second, and nothing else costs anything.
fn dear(config: &mut session_broker::config::Parsed) {
    let file = config.data.with_file_name("rates.toml");
    let card = "[[card]]\nvalid_from = 2026-01-01T00:00:00Z\nslot = 1000000\n";
    std::fs::write(&file, format!("currency = \"EUR\"\n{card}")).unwrap();
    config.rates.file = file;
}

async fn usage(client: &Client, query: &str) -> UsageReport {
    let answer = client.get(&format!("/v1/usage?{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

fn session_of(entry: &UsageEntry) -> String {
    let session = entry.session.as_ref();
    session.expect("no volume was made").to_string()
}

/// Second by second: what holds when it begins.
fn by_hand(entry: &UsageEntry, rises_ms: u64) -> (u64, u64) {
    let ended = entry.ended_unix_ms.expect("it is over");
    let seconds = (ended - entry.began_unix_ms) / 1000;
    let slots: u64 = (0..seconds)
        .map(|second| {
            let has_risen = entry.began_unix_ms + second * 1000 >= rises_ms;
            SLOT[usize::from(has_risen)]
        })
        .sum();
    let parts = u64::from(entry.cpu_milli) * CORE * 1024 + u64::from(entry.mem_mib) * GIB * 1000;
    (seconds, slots + seconds * parts / 1_024_000)
}

async fn reach(client: &Client, session: &str, phase: &str) {
    let path = format!("/v1/sessions/{session}");
    eventually(phase, || async {
        client.get(&path).await.at("/state/phase") == phase
    })
    .await;
}

/// A broker that is killed and started again on what it left, and the node that it has.
struct Killed<'a> {
    dir: &'a Path,
    config: String,
    node: Node,
    /// When the price rises.
    rises_ms: u64,
}

/// A session that ran, and between which instants it began and ended.
struct Ran {
    session: String,
    began_ms: RangeInclusive<u64>,
    ended_ms: RangeInclusive<u64>,
}

impl Killed<'_> {
    async fn start(&self) -> (Program, Client) {
        let program = Program::start_with(self.dir, &["--config", &self.config]).await;
        let client = admin(self.dir, program.listen);
        (program, client)
    }

    async fn attach(&self, to: &Program, running: Vec<RunningSession>) -> Edge {
        let pki = self.dir.join("pki");
        self.node.attach(&pki, to.node_listen, running).await
    }

    fn since(&self) -> String {
        format!("from={}", self.rises_ms - 3_600_000)
    }

    /// Over the rise, over a kill; every ack and every end is said again and again.
    async fn play_and_stop(&self) -> Ran {
        let (broker, client) = self.start().await;
        let mut edge = self.attach(&broker, Vec::new()).await;
        let session = id(&client.create("demo").await);
        let started = edge.expect_start().await;
        // The broker's clock may be a part of a millisecond behind.
        let acked_ms = now_ms() - 1;
        for _ in 0..3 {
            edge.ack(started.command).await;
            edge.report(&started, SessionReport::Ready).await;
        }
        reach(&client, &session, "ready").await;
        let begun_ms = now_ms();
        broker.kill().await;

        let (broker, client) = self.start().await;
        let mut edge = self.attach(&broker, vec![started.running(false)]).await;
        edge.ack(started.command).await;
        eventually("a second after the price has risen", || async {
            let entries = usage(&client, &self.since()).await.entries;
            let [entry] = entries.as_slice() else {
                panic!("one claim, one line: {entries:?}")
            };
            entry.began_unix_ms + entry.seconds * 1000 > self.rises_ms + 1_000
        })
        .await;
        client.delete(&format!("/v1/sessions/{session}")).await;
        let (stop, reason) = edge.expect_stop(&started.start.session).await;
        let stopped_ms = now_ms() - 1;
        edge.ack(stop).await;
        let detail = String::new();
        edge.report(&started, SessionReport::Ended { reason, detail })
            .await;
        edge.ack(stop).await;
        reach(&client, &session, "ended").await;
        let over_ms = now_ms();
        broker.kill().await;
        Ran {
            session,
            began_ms: acked_ms..=begun_ms,
            ended_ms: stopped_ms..=over_ms,
        }
    }

    /// Its node goes with the broker, and stays away.
    async fn play_and_lose(&self) -> Ran {
        let (broker, client) = self.start().await;
        let mut edge = self.attach(&broker, Vec::new()).await;
        let session = id(&client.create("demo").await);
        let started = edge.expect_start().await;
        let acked_ms = now_ms() - 1;
        edge.ack(started.command).await;
        edge.ack(started.command).await;
        edge.report(&started, SessionReport::Ready).await;
        reach(&client, &session, "ready").await;
        let begun_ms = now_ms();
        eventually("a second of it", || async {
            usage(&client, &self.since()).await.entries[1].seconds > 0
        })
        .await;
        drop(edge);
        let gone_ms = now_ms();
        broker.kill().await;
        Ran {
            session,
            began_ms: acked_ms..=begun_ms,
            ended_ms: acked_ms..=gone_ms,
        }
    }
}

/// The configuration, with so long a grace for nodes.
fn configure(file: &Path, rates: &Path, node_grace_s: u32) {
    let sessions = format!("[sessions]\nnode_grace_s = {node_grace_s}\nskew_s = 0\n");
    let text = format!("[rates]\nfile = {rates:?}\n{sessions}");
    std::fs::write(file, text).unwrap();
}

#[tokio::test]
async fn i5_a_bill_is_what_ran_however_often_the_broker_is_killed_and_orders_are_acked() {
    let dir = tempfile::tempdir().unwrap();
    let rises_ms = now_ms() + 4_000;
    let rates = write_rates(dir.path(), rises_ms);
    let config = dir.path().join("broker.toml");
    configure(&config, &rates, 600);
    let killed = Killed {
        dir: dir.path(),
        config: config.to_str().unwrap().to_owned(),
        node: Node::new(&dir.path().join("pki"), 1),
        rises_ms,
    };
    let ran = [
        Box::pin(killed.play_and_stop()).await,
        Box::pin(killed.play_and_lose()).await,
    ];
    configure(&config, &rates, 1);
    let (_broker, client) = killed.start().await;
    reach(&client, &ran[1].session, "ended").await;

    let report = usage(&client, &killed.since()).await;
    assert_eq!(report.entries.len(), 2, "{report:?}");
    for (entry, ran) in report.entries.iter().zip(&ran) {
        assert_eq!(session_of(entry), ran.session);
        assert!(ran.began_ms.contains(&entry.began_unix_ms), "{entry:?}");
        let ended_ms = entry.ended_unix_ms.unwrap();
        assert!(ran.ended_ms.contains(&ended_ms), "{entry:?}");
        let billed = (entry.seconds, entry.amount_micro);
        assert_eq!(billed, by_hand(entry, rises_ms), "{entry:?}");
    }
    let whole = &report.entries[0];
    assert!(whole.seconds > 0);
    let mut sum = (0, 0);
    let before = format!("{}&to={rises_ms}", killed.since());
    for part in [before, format!("from={rises_ms}")] {
        let entries = usage(&client, &part).await.entries;
        for entry in entries.iter().filter(|e| e.session == whole.session) {
            sum = (sum.0 + entry.seconds, sum.1 + entry.amount_micro);
        }
    }
    assert_eq!(
        sum,
        (whole.seconds, whole.amount_micro),
        "to the micro-unit"
    );
}

#[tokio::test]
async fn a_price_that_holds_is_not_changed_behind_a_bill() {
    let dir = tempfile::tempdir().unwrap();
    let rates = write_rates(dir.path(), now_ms() + 3_600_000);
    let config = dir.path().join("broker.toml");
    std::fs::write(&config, format!("[rates]\nfile = {rates:?}\n")).unwrap();
    let config = config.to_str().unwrap();
    Program::start_with(dir.path(), &["--config", config])
        .await
        .kill()
        .await;
    let text = std::fs::read_to_string(&rates).unwrap();
    std::fs::write(&rates, text.replacen("slot = 40", "slot = 4", 1)).unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut again = Command::new(env!("CARGO_BIN_EXE_session-broker"));
    again.args([
        "--config",
        config,
        "--listen",
        "127.0.0.1:0",
        "--node-listen",
        "127.0.0.1:0",
    ]);
    again
        .arg("--data")
        .arg(path("data"))
        .arg("--pki")
        .arg(path("pki"));
    let done = again.kill_on_drop(true).output();
    let done = tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success() && said.contains("2026-01-01T00:00:00Z"),
        "{said}"
    );
    assert!(
        said.contains("later valid_from"),
        "it says what to do: {said}"
    );
}

/// A session of `client` that was ready, and is over.
async fn played(client: &Client, edge: &mut Edge) -> String {
    let session = id(&client.create("demo").await);
    let started = edge.start_next().await;
    reach(client, &session, "ready").await;
    client.delete(&format!("/v1/sessions/{session}")).await;
    edge.stop_next(&started).await;
    reach(client, &session, "ended").await;
    session
}

#[tokio::test]
async fn a_tenant_sees_its_own_usage_and_operators_see_all() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    let (_, _, first) = tenant(&rig, "a").await;
    let (_, _, second) = tenant(&rig, "b").await;
    let of_first = [
        played(&first, &mut edge).await,
        played(&first, &mut edge).await,
    ];
    let of_second = [played(&second, &mut edge).await];
    let key = async |role: &str, scopes: Value| {
        let body = json!({ "name": role, "role": role, "scopes": scopes });
        let key = rig.admin().post_json("/v1/keys", &body).await;
        bearer(&rig, &key.at("/secret"))
    };
    let operator = key("operator", json!([])).await;
    let accountant = key("operator", json!(["usage:read"])).await;
    let sessions = async |client: &Client| {
        let report = usage(client, "").await;
        let shown = report.entries.iter().map(session_of);
        shown.collect::<Vec<_>>()
    };
    assert_eq!(sessions(&first).await, of_first);
    assert_eq!(sessions(&second).await, of_second);
    assert_eq!(sessions(&operator).await.len(), 3);
    assert_eq!(sessions(&accountant).await.len(), 3);
    assert_eq!(sessions(&rig.admin()).await.len(), 3);
    let limited = key("operator", json!(["nodes:read"])).await;
    limited.get("/v1/usage").await.refused(403, "forbidden");
    rig.guest()
        .await
        .get("/v1/usage")
        .await
        .refused(403, "forbidden");

    let page = usage(&operator, "limit=2").await;
    assert_eq!(page.entries.len(), 2);
    let next = page.next.unwrap();
    let rest = usage(&operator, &format!("limit=2&after={next}")).await;
    assert_eq!((rest.entries.len(), rest.next), (1, None));
    assert_eq!(session_of(&rest.entries[0]), of_second[0]);
    assert_eq!(rest.entries[0].region, "here");
    assert_eq!(usage(&operator, "label.customer=acme").await.entries, []);
    for (query, word) in [
        ("from=yesterday", "`from`"),
        ("from=2026-01-02&to=2026-01-01", "`to`"),
        ("from=2020-01-01&to=2026-01-01", "400"),
        ("group=node", "`group`"),
        ("after=1.2", "`after`"),
        ("limit=0", "`limit`"),
        ("colour=red", "`colour`"),
    ] {
        let refused = operator.get(&format!("/v1/usage?{query}")).await;
        refused.refused(400, "bad-request");
        assert!(refused.at("/detail").contains(word), "{query}: {refused:?}");
    }
}

#[tokio::test]
async fn usage_comes_as_csv_in_pages_and_in_groups() {
    let rig = Rig::start().await;
    let mut edge = rig.edge(1).await;
    for _ in 0..2 {
        played(&rig.admin(), &mut edge).await;
    }
    let csv = rig.admin().with("accept", "text/csv");
    let day = &rfc3339(now_ms() - 24 * 3_600_000)[..10];
    let first = csv.get(&format!("/v1/usage?limit=1&from={day}")).await;
    assert!(
        first
            .header("content-type")
            .unwrap()
            .starts_with("text/csv")
    );
    let lines = |answer: &Answer| answer.body.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(lines(&first)[0].starts_with("session,tenant,app,"));
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split('>').next().unwrap();
    assert!(next.contains(day), "{next}");
    let second = csv.get(next).await;
    assert_eq!((lines(&second).len(), second.header("link")), (2, None));
    assert_ne!(lines(&first)[1], lines(&second)[1]);
    let groups = csv.get("/v1/usage?group=app").await;
    assert_eq!(
        lines(&groups)[0],
        "group,claims,seconds,amount_micro,currency,volume_mib_seconds"
    );
}

async fn ended_as(client: &Client, session: &str, reason: &str) {
    reach(client, session, "ended").await;
    let shown = client.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(shown.at("/state/reason"), reason);
}

/// The order to stop `started` for its budget, carried out.
async fn stop_for_budget(edge: &mut Edge, started: &Started) {
    assert_eq!(edge.stop_next(started).await, EndReason::BudgetReached);
}

#[tokio::test]
async fn a_session_ends_when_its_budget_is_spent_and_no_earlier() {
    let rig = Rig::start_with(dear).await;
    let mut edge = rig.edge(1).await;
    let client = rig.admin().with("idempotency-key", "dear");
    let create = json!({ "app": "demo", "budget_micro": 2_000_000 });
    let session = id(&client.post_json("/v1/sessions", &create).await);
    let started = edge.start_next().await;
    stop_for_budget(&mut edge, &started).await;
    ended_as(&client, &session, "budget-reached").await;
    let report = usage(&client, "").await;
    assert!(report.entries[0].amount_micro >= 2_000_000, "{report:?}");
    assert_eq!(
        report.entries[0].amount_micro,
        report.entries[0].seconds * 1_000_000
    );
    let too_much = json!({ "app": "demo", "budget_micro": 1_u64 << 53 });
    let refused = rig.admin().with("idempotency-key", "k");
    let refused = refused.post_json("/v1/sessions", &too_much).await;
    refused.refused(400, "bad-request");
}

#[tokio::test]
async fn a_tenant_that_has_spent_its_month_is_stopped_until_it_may_spend_more() {
    let rig = Rig::start_with(dear).await;
    let mut edge = rig.edge(1).await;
    let (tenant_id, _, client) = tenant(&rig, "a").await;
    let (_, _, other) = tenant(&rig, "b").await;
    let set = async |budget: u64| {
        let body = json!({ "name": "a", "budget_micro_per_month": budget });
        let path = format!("/v1/tenants/{tenant_id}");
        let headers = [("content-type", "application/json")];
        let admin = rig.admin();
        let set = admin
            .request("PATCH", &path, &headers, &body.to_string())
            .await;
        assert_eq!(
            set.at("/budget_micro_per_month"),
            budget.to_string(),
            "{set:?}"
        );
    };
    set(1_000_000).await;
    let keyed = client.with("idempotency-key", "first");
    let asked = async || {
        let body = json!({ "app": "demo" });
        keyed.post_json("/v1/sessions", &body).await
    };
    let session = id(&asked().await);
    let waiting = id(&client.create("demo").await);
    let started = edge.start_next().await;
    stop_for_budget(&mut edge, &started).await;
    ended_as(&client, &session, "budget-reached").await;
    ended_as(&client, &waiting, "budget-reached").await;
    client.create("demo").await.refused(402, "budget-reached");
    assert_eq!(id(&asked().await), session, "its key is known");
    let others = id(&other.create("demo").await);
    let started = edge.start_next().await;
    reach(&other, &others, "ready").await;
    other.delete(&format!("/v1/sessions/{others}")).await;
    edge.stop_next(&started).await;

    set(1_000_000_000).await;
    eventually("that it may spend more", || async {
        client.create("demo").await.status == 201
    })
    .await;
    edge.start_next().await;
}
