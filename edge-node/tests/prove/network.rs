//! A network of checkers: three that came in by themselves are assigned a new node by the broker's rounds, probe it and
//! write what they found; a stranger verifies it, and works out that it was theirs to do.

use super::{Parsed, Site, table};
use checker::keys;
use checker::member::{self, Network};
use checker::run::{Runner, Settings};
use checker::witness::Kept;
use nearlight_proof::beacon::anchor::Anchor;
use nearlight_proof::beacon::chain;
use nearlight_proof::encoding::array_from_hex;
use nearlight_proof::key::{KeyId, PublicKey};
use nearlight_proof::log::policy::Policy;
use nearlight_proof::log::proof::LogProof;
use nearlight_proof::porc::committee::{self, Candidate, set_root};
use nearlight_proof::porc::rerun::{Leg, Rerun};
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Finding, Porc, Predicate};
use nearlight_proof::receipt::report::Outcome;
use nearlight_proof::receipt::statement::Statement;
use nearlight_proof::receipt::verify::{Given, PolicySource, verify};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A checker that came in, and works.
pub(super) struct Working {
    runner: Arc<Runner>,
    pub(super) settings: Settings,
}

impl Site {
    /// Lets a checker in as its operator would come in, and starts it.
    async fn checker(&self, n: u8) -> Working {
        self.checker_at(n, None).await
    }

    /// The same, which finds the broker's listener elsewhere than the broker says.
    pub(super) async fn checker_at(&self, n: u8, at: Option<String>) -> Working {
        let wanted = json!({ "operator": format!("operator-{n}") }).to_string();
        let made = self.call("POST", "/v1/checker-tokens", &wanted).await;
        let token = made["token"].as_str().unwrap().to_owned();
        let settings = Settings {
            data: self.dir.path().join(format!("checker-{n}")),
            gb_max: Some(10),
            url: None,
            at,
            plays: false,
            bind: std::net::Ipv4Addr::LOCALHOST.into(),
            beacon: None,
        };
        let (url, of) = (format!("http://{}", self.broker.listen), settings.clone());
        let start = move || {
            keys::init(&of.data).unwrap();
            member::join(&of.data, &url, &token, None).unwrap();
            let runner = Runner::new(&of, table(), CancellationToken::new()).unwrap();
            let (runner, (tell, told)) = (Arc::new(runner), std::sync::mpsc::channel());
            let working = runner.clone();
            std::thread::spawn(move || working.work(move || tell.send(()).unwrap()));
            told.recv().unwrap();
            runner
        };
        let runner = tokio::task::spawn_blocking(start).await.unwrap();
        Working { runner, settings }
    }

    /// The receipts about the node that were issued, with their proofs.
    async fn receipts(&self, node_key: &str) -> Vec<Value> {
        let list = self
            .call("GET", &format!("/v1/receipts?node={node_key}"), "")
            .await;
        let mut all = Vec::new();
        for of in list["receipts"].as_array().unwrap() {
            let path = format!("/v1/receipts/{}", of["index"]);
            let shown = self.call("GET", &path, "").await;
            // The log shows an entry a moment after it took it.
            if shown["envelope"].is_string() {
                all.push(shown);
            }
        }
        all
    }

    async fn node_key(&self) -> (String, String) {
        let nodes = self.call("GET", "/v1/nodes", "").await;
        let text = |name: &str| {
            nodes["nodes"][0][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        (text("receipt_key_id"), text("receipt_key"))
    }
}

fn porc_of(receipt: &Value) -> (KeyId, Porc) {
    let envelope = receipt["envelope"].as_str().unwrap();
    let envelope = Envelope::parse(envelope.as_bytes()).unwrap();
    let statement = Statement::parse(&envelope).unwrap();
    let Predicate::Porc(porc) = statement.predicate else {
        panic!("a receipt of another kind");
    };
    (statement.head.issuer, *porc)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_checkers_are_assigned_a_new_node_and_a_stranger_verifies_what_they_found() {
    let changed = |parsed: &mut Parsed| {
        parsed.checks.round_s = 2;
        parsed.checks.class = "slow".to_owned();
        parsed.checks.capacity_s = 300;
        let dir = parsed.data.parent().unwrap();
        let witness = |n| Kept::open(&dir.join(format!("checker-{n}"))).unwrap().key();
        parsed.log.witnesses = (1..=3).map(|n| witness(n).to_string()).collect();
        parsed.log.quorum = 2;
    };
    let site = Site::start_with(changed, "").await;
    let checkers = [
        site.checker(1).await,
        site.checker(2).await,
        site.checker(3).await,
    ];
    let (mut key_id, mut key) = site.node_key().await;
    while key.is_empty() {
        tokio::time::sleep(super::LOOK_EVERY).await;
        (key_id, key) = site.node_key().await;
    }
    let node = PublicKey::from_hex(&key).unwrap();
    let mut found = site.receipts(&key_id).await;
    while found.len() < 3 {
        tokio::time::sleep(super::LOOK_EVERY).await;
        found = site.receipts(&key_id).await;
    }

    // Three checkers, one committee, one round: each passed the node, and the node signed each.
    let porcs: Vec<(KeyId, Porc)> = found.iter().map(porc_of).collect();
    let round = porcs[0].1.round;
    for (_, porc) in &porcs {
        let (found, why) = ((porc.finding, porc.round), &porc.reason);
        assert_eq!(found, (Finding::Pass, round), "{why}");
    }
    let operator = verified(&site, &found, &node).await;
    witnessed(&site, &found).await;
    let anchor = Network::load(&checkers[0].settings.data).unwrap().anchor();
    rightful(&site, &porcs, (&node, operator), &anchor.unwrap()).await;
    one_copy_alone(checkers).await;
}

/// From the round to the receipt of each GPU: the checkers are assigned them all, Mesa's CPU proves each through Vulkan or GL, and
/// a stranger verifies what was found, and computes it anew on a CPU.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn gpus_are_assigned_proved_by_shaders_and_verified_by_a_stranger() {
    let changed = |parsed: &mut Parsed| {
        parsed.checks.round_s = 4;
        parsed.checks.gpu_class = "slow".to_owned();
        parsed.checks.committee = 1;
        parsed.checks.capacity_s = 600;
    };
    let site = Site::start_with(changed, super::gpu::MESA).await;
    let _checker = site.checker(1).await;
    let (mut key_id, mut key) = site.node_key().await;
    while key.is_empty() {
        tokio::time::sleep(super::LOOK_EVERY).await;
        (key_id, key) = site.node_key().await;
    }
    let mut found = site.receipts(&key_id).await;
    while found.is_empty() {
        tokio::time::sleep(super::LOOK_EVERY).await;
        found = site.receipts(&key_id).await;
    }
    let round = porc_of(&found[0]).1.round;
    // All GPUs of the node are assigned to the checker, and each has its receipt.
    let path = format!("/v1/assignments?round={round}");
    let assigned = async || -> BTreeSet<String> {
        let shown = site.call("GET", &path, "").await;
        let rows = shown["assignments"].as_array().unwrap();
        let duties = rows.iter().filter_map(|row| row["duty"].as_str());
        let of_gpus = duties.filter_map(|duty| duty.strip_prefix("capacity/"));
        of_gpus.map(str::to_owned).collect()
    };
    let gpus = assigned().await;
    assert!(!gpus.is_empty());
    assert!(
        gpus.iter().all(|gpu| gpu.starts_with("adapter-")),
        "{gpus:?}"
    );
    while found.len() < gpus.len() {
        tokio::time::sleep(super::LOOK_EVERY).await;
        found = site.receipts(&key_id).await;
    }
    let node = PublicKey::from_hex(&key).unwrap();
    verified(&site, &found, &node).await;
    let mut proved = BTreeSet::new();
    for (_, porc) in found.iter().map(porc_of) {
        assert_eq!(porc.finding, Finding::Pass, "{}", porc.reason);
        let rerun = Rerun::of(&porc, &node.id()).unwrap();
        for leg in [Leg::Fill, Leg::Frames] {
            let root = rerun.whole(leg);
            assert_eq!(root.said, root.computed, "{leg:?} of {}", porc.gpu);
        }
        proved.insert(porc.gpu);
    }
    assert_eq!(proved, gpus);
}

/// A stranger: signatures, inclusion, and whose keys they are. Who runs the node.
async fn verified(site: &Site, found: &[Value], node: &PublicKey) -> String {
    let listed = site.call("GET", "/v1/directory", "").await;
    let text = |name: &str| listed[name].as_str().unwrap();
    let authority = PublicKey::from_hex(text("directory_key")).unwrap();
    let directory = Directory::open(text("envelope").as_bytes(), &authority).unwrap();
    let policy = Policy::parse(text("policy")).unwrap();
    let given = Given {
        policy: &policy,
        policy_source: PolicySource::LogOperator,
        directory: &directory,
        later: &[],
    };
    for receipt in found {
        let path = format!("/v1/receipts/{}", receipt["index"]);
        let mut shown = receipt.clone();
        let report = loop {
            let text = |name: &str| shown[name].as_str().unwrap().as_bytes();
            let report = verify(text("envelope"), text("proof"), &given);
            if report.outcome != Outcome::NotWitnessed {
                break report;
            }
            tokio::time::sleep(super::LOOK_EVERY).await;
            shown = site.call("GET", &path, "").await;
        };
        assert_eq!(report.outcome, Outcome::Valid, "{report:?}");
    }
    let (_, entry) = directory.find(&node.id(), Role::Node).unwrap();
    entry.operator.clone()
}

/// The checkers cosigned the log: the broker's own policy asks for two of the three, and under it each receipt was just verified.
async fn witnessed(site: &Site, found: &[Value]) {
    let listed = site.call("GET", "/v1/directory", "").await;
    let policy = Policy::parse(listed["policy"].as_str().unwrap()).unwrap();
    assert_eq!((policy.witnesses().len(), policy.asks_nobody()), (3, false));
    for receipt in found {
        let path = format!("/v1/receipts/{}", receipt["index"]);
        let shown = site.call("GET", &path, "").await;
        let proof = LogProof::parse(shown["proof"].as_str().unwrap().as_bytes()).unwrap();
        let by = policy.check(&proof.checkpoint).unwrap().witnesses;
        assert!(by.len() >= 2, "{by:?}");
    }
}

/// Whether the receipts were theirs to write who wrote them: from the round's value and the checkers of then. That
/// the node is there its signature said to one of them.
async fn rightful(
    site: &Site,
    porcs: &[(KeyId, Porc)],
    (node, operator): (&PublicKey, String),
    anchor: &Anchor,
) {
    let round = porcs[0].1.round;
    let path = format!("/v1/assignments?round={round}");
    let mut shown = site.call("GET", &path, "").await;
    let value: [u8; 32] = array_from_hex(shown["value"].as_str().unwrap()).unwrap();
    assert!(chain::verify((0, &anchor.anchor), round, &value));
    let one = |of: &Value| committee::Checker {
        key: KeyId::from_hex(of["key_id"].as_str().unwrap()).unwrap(),
        operator: of["operator"].as_str().unwrap().to_owned(),
    };
    let set: Vec<committee::Checker> = shown["checkers"]
        .as_array()
        .unwrap()
        .iter()
        .map(one)
        .collect();
    let candidate = Candidate {
        key: node.id(),
        operator,
    };
    let assigned = committee::assign(&value, &candidate, &set, 3);
    let assigned: BTreeSet<KeyId> = assigned.into_iter().map(|of| of.key).collect();
    let issuers: BTreeSet<KeyId> = porcs.iter().map(|(issuer, _)| *issuer).collect();
    assert_eq!((assigned.len(), assigned), (3, issuers));
    for (_, porc) in porcs {
        assert_eq!((porc.beacon.0, porc.checkers.0), (value, set_root(&set)));
    }
    let is_settled = |shown: &Value| {
        let rows = shown["assignments"].as_array().unwrap();
        let mut done = rows.iter().filter(|row| row["state"] == "done");
        let capacity = done.clone().filter(|row| row["duty"] == "capacity").count();
        capacity == 3 && done.any(|row| row["duty"] == "alive")
    };
    while !is_settled(&shown) {
        tokio::time::sleep(super::LOOK_EVERY).await;
        shown = site.call("GET", &path, "").await;
    }
}

/// A copy of the first one's directory is refused while it runs, and not once it has left.
async fn one_copy_alone(checkers: [Working; 3]) {
    let copy = Runner::new(&checkers[0].settings, table(), CancellationToken::new());
    let (copy, leaving) = (Arc::new(copy.unwrap()), checkers.map(|of| of.runner));
    let tried = move || {
        let refused = copy.work(|| ()).unwrap_err().to_string();
        let says = refused.contains("Another copy of this checker");
        assert!(says, "{refused}");
        leaving.iter().for_each(|of| of.leave());
        let (tell, told) = std::sync::mpsc::channel();
        let working = copy.clone();
        std::thread::spawn(move || working.work(move || tell.send(()).unwrap()));
        assert!(told.recv().is_ok(), "the key is free");
        copy.leave();
    };
    tokio::task::spawn_blocking(tried).await.unwrap();
}
