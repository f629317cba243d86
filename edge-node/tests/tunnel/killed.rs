//! The log of a job past a killed agent: a real broker, real agents one after the other, and a real container.

use crate::ended::read;
use crate::http::Client;
use crate::rig::{Rig, eventually, id};
use crate::support::engine::Way;
use crate::support::jobs::{docker, get, image, site, traces};
use crate::support::node::{Agent, Site};
use nearlight_protocol::id::SessionId;
use serde_json::json;

const NOTHING: [String; 0] = [];

/// A broker, and the place of a node whose agents dial it.
struct Killed {
    rig: Rig,
    site: Site,
    owner: Client,
}

impl Killed {
    /// `None`, and a word of it, where no test of jobs can run.
    async fn new() -> Option<Self> {
        let mut site = site().await?;
        // An image without a registry is pinned by the nodes that list it.
        image(None);
        let pki = site.dir.path().join("pki");
        let rig = Rig::start_with(|parsed| parsed.pki = pki).await;
        site.broker.address = rig.broker.node_listen;
        let owner = rig.admin();
        Some(Self { rig, site, owner })
    }

    /// An agent that its broker hears.
    async fn agent(&self) -> Agent {
        let mut agent = self.site.agent();
        // The one before may still be shown.
        tokio::task::block_in_place(|| agent.ready());
        eventually("the node to be online", || async {
            let nodes = self.rig.admin().get("/v1/nodes").await;
            nodes.at("/nodes/0/status") == "online" && nodes.json()["nodes"][0]["slots_total"] == 2
        })
        .await;
        agent
    }

    async fn phase(&self, session: &SessionId) -> String {
        let shown = self.owner.get(&format!("/v1/sessions/{session}")).await;
        shown.at("/state/phase")
    }

    async fn reaches(&self, session: &SessionId, phase: &str) {
        eventually(phase, || async { self.phase(session).await == phase }).await;
    }

    /// A job that is ready, and has said something.
    async fn job(&self) -> SessionId {
        let vet = format!("/v1/nodes/{}/vet", self.site.broker.node);
        assert_eq!(self.owner.request("POST", &vet, &[], "").await.status, 204);
        let port = json!({ "name": "api", "port": 8000, "health": { "path": "/healthz" } });
        let job = json!({
            "image": image(None),
            "ports": [port],
            "resources": { "cpu_milli": 200, "mem_mib": 64, "disk_mib": 0 },
            "time": { "stop_s": 1 },
        });
        let key = nearlight_kit::ids::request().to_string();
        let client = self.owner.with("idempotency-key", &key);
        let asked = json!({ "job": job });
        let made = client.post_json("/v1/sessions", &asked).await;
        let session = id(&made).parse().unwrap();
        self.reaches(&session, "ready").await;
        get(&session, "/say/first-words").await;
        session
    }

    /// How it ended, and what is read of its log afterwards.
    async fn ended(&self, session: &SessionId) -> (String, Vec<String>) {
        self.reaches(session, "ended").await;
        assert_eq!(traces(&self.site), NOTHING);
        let shown = self.owner.get(&format!("/v1/sessions/{session}")).await;
        let (lines, is_all) = read(&self.owner, session, "").await;
        assert!(is_all);
        (shown.at("/state/reason"), lines)
    }
}

const SAID: [&str; 3] = ["listening", "first-words", "last-words"];

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_job_that_ended_while_its_agent_was_dead_is_read_to_its_last_words() {
    let Some(killed) = Killed::new().await else {
        return;
    };
    let agent = killed.agent().await;
    let session = killed.job().await;
    agent.kill().await;
    get(&session, "/say/last-words").await;
    get(&session, "/exit/5").await;
    let format = ["inspect", "-f", "{{.State.Status}}"];
    let name = format!("nearlight-{session}");
    eventually("the container to end", || async {
        docker(&[&format[..], &[&name]].concat()).unwrap() == "exited"
    })
    .await;

    let agent = killed.agent().await;
    let (reason, lines) = killed.ended(&session).await;
    assert_eq!(
        (reason.as_str(), lines.as_slice()),
        ("job-failed", &SAID.map(str::to_owned)[..])
    );
    // It stays for the agent after that one.
    agent.kill().await;
    let _agent = killed.agent().await;
    assert_eq!(
        read(&killed.owner, &session, "tail=1").await.0,
        ["last-words"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_job_whose_agent_was_killed_before_it_kept_it_is_read_to_its_last_words() {
    let Some(mut killed) = Killed::new().await else {
        return;
    };
    let way = Way::open_in(killed.site.dir.path());
    killed.site.engine = Some(way.socket.clone());
    let agent = killed.agent().await;
    let session = killed.job().await;
    way.hang();
    let path = format!("/v1/sessions/{session}");
    assert_eq!(killed.owner.delete(&path).await.status, 202);
    let written = killed.site.data().join(format!("ended/{session}.json"));
    eventually("its end to be written down", || async { written.exists() }).await;
    agent.kill().await;
    get(&session, "/say/last-words").await;
    way.reopen();

    let _agent = killed.agent().await;
    let (reason, lines) = killed.ended(&session).await;
    assert_eq!(
        (reason.as_str(), lines.as_slice()),
        ("player-ended", &SAID.map(str::to_owned)[..])
    );
}
