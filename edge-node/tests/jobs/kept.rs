//! What stays on a node between jobs: volumes and assets.

use super::*;
use nearlight_protocol::control::{FromEdge, ToEdge};
use nearlight_protocol::id::{SessionId, VolumeId};
use nearlight_protocol::job::{Asset, JobSpec, Volume};
use nearlight_protocol::volume::{JobStorage, VolumeGrant, VolumesKnown, asset_name};
use std::path::PathBuf;
use support::broker::Attached;
use support::node::Site;

const MIB: u32 = 32;

/// A volume of a tenant.
struct Kept {
    owner: String,
    volume: VolumeId,
    is_new: bool,
}

impl Kept {
    fn new() -> Self {
        Self {
            owner: nearlight_kit::ids::tenant().to_string(),
            volume: nearlight_kit::ids::volume(),
            is_new: true,
        }
    }

    fn spec() -> JobSpec {
        let mut spec = served();
        spec.volumes = vec![Volume {
            name: "cache".to_owned(),
            path: "/cache".to_owned(),
            size_mib: MIB,
        }];
        spec
    }

    /// Starts a job that has it.
    async fn started(
        &self,
        site: &Site,
        edge: &mut Attached,
        slot: usize,
        epoch: u64,
    ) -> SessionId {
        let session = nearlight_kit::ids::session();
        let mut order =
            support::jobs::start(&site.broker, &session, (edge, slot, epoch), Self::spec());
        if let Order::Start(start) = &mut order {
            start.storage = Some(JobStorage {
                owner: self.owner.clone(),
                volumes: vec![VolumeGrant {
                    name: "cache".to_owned(),
                    volume: self.volume.clone(),
                    size_mib: MIB,
                    is_new: self.is_new,
                }],
            });
        }
        assert_eq!(edge.done(order).await, AckOutcome::Done);
        session
    }

    async fn ready(&self, site: &Site, edge: &mut Attached, slot: usize, epoch: u64) -> SessionId {
        let session = self.started(site, edge, slot, epoch).await;
        edge.wait_ready(&session).await;
        session
    }

    fn file(&self, site: &Site) -> PathBuf {
        site.data().join(format!("volumes/{}.img", self.volume))
    }
}

/// Waits until the node says that it has these.
async fn listed(edge: &mut Attached, volumes: &[&VolumeId]) {
    loop {
        if let FromEdge::Inventory(inventory) = edge.next().await {
            let held = inventory.jobs.unwrap().volumes.unwrap();
            let held: Vec<_> = held.iter().map(|held| &held.volume).collect();
            if held == volumes {
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_volume_outlives_its_jobs_is_held_to_its_size_and_meets_no_other() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let (mut ours, theirs) = (Kept::new(), Kept::new());
    let first = ours.ready(&site, &mut edge, 0, 1).await;
    let other = theirs.ready(&site, &mut edge, 1, 1).await;
    assert_eq!(get(&first, "/touch/cache/x").await, "wrote");
    assert!(
        !get(&other, "/read/cache/x").await.starts_with('x'),
        "another one's"
    );
    let filled: u64 = get(&first, "/fill/cache/big").await.parse().unwrap();
    assert!(filled < u64::from(MIB) << 20, "{filled}");
    for session in [&first, &other] {
        stopped(&mut edge, session).await;
    }
    assert_eq!(traces(&site), NOTHING);

    ours.is_new = false;
    let second = ours.ready(&site, &mut edge, 0, 2).await;
    assert_eq!(get(&second, "/read/cache/x").await, "x");
    stopped(&mut edge, &second).await;
    assert_eq!(traces(&site), NOTHING);

    // Its owner deletes it: its bytes go, and nobody gets an empty one in its place.
    edge.say(&ToEdge::Volumes(VolumesKnown {
        keep: vec![theirs.volume.clone()],
        wipe: vec![ours.volume.clone()],
    }))
    .await;
    listed(&mut edge, &[&theirs.volume]).await;
    assert!(!ours.file(&site).exists() && theirs.file(&site).exists());
    let third = ours.started(&site, &mut edge, 0, 3).await;
    let (reason, detail) = end_of(&mut edge, &third).await;
    assert_eq!(reason, EndReason::VolumeLost, "{detail}");
    assert!(
        detail.contains("`cache` is not on this node any more"),
        "{detail}"
    );
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn an_agent_that_is_killed_leaves_a_volume_whole() {
    let Some(site) = site().await else { return };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut kept = Kept::new();
    let session = kept.ready(&site, &mut edge, 0, 1).await;
    assert_eq!(get(&session, "/touch/cache/x").await, "wrote");
    agent.kill().await;
    drop(edge);

    // Adopted with its volume.
    let agent = site.agent();
    let edge = site.broker.attach().await;
    assert_eq!(edge.running.len(), 1);
    assert_eq!(get(&session, "/read/cache/x").await, "x");
    assert_eq!(get(&session, "/touch/cache/y").await, "wrote");

    // Killed again, and its container with it: what is mounted goes, what is written stays.
    agent.kill().await;
    drop(edge);
    docker(&["rm", "-f", &container(&session)]).unwrap();
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.end_of(&session).await, EndReason::JobFailed);
    assert_eq!(traces(&site), NOTHING);
    kept.is_new = false;
    let next = kept.ready(&site, &mut edge, 0, 2).await;
    for file in ["x", "y"] {
        assert_eq!(get(&next, &format!("/read/cache/{file}")).await, "x");
    }
    stopped(&mut edge, &next).await;
    assert_eq!(traces(&site), NOTHING);
}

#[tokio::test]
async fn an_asset_is_read_by_who_has_a_right_to_it_and_by_nobody_else() {
    use sha2::{Digest, Sha256};
    let Some(site) = site().await else { return };
    let owner = nearlight_kit::ids::tenant().to_string();
    let hex = format!("{:x}", Sha256::digest("weights"));
    let digest = format!("sha256:{hex}");
    // As an earlier agent left it.
    let dir = site.data().join("assets");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(&hex), "weights").unwrap();
    let shelf = serde_json::json!({ &digest: { "bytes": 7, "used_ms": 1, "owners": [owner] } });
    std::fs::write(dir.join("shelf.json"), shelf.to_string()).unwrap();
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let offer = edge.inventory.jobs.clone().unwrap();
    assert_eq!(offer.assets, [asset_name(&owner, &digest)]);

    let mut spec = served();
    spec.assets = vec![Asset {
        url: "https://127.0.0.1:1/w".to_owned(),
        digest: digest.clone(),
        size_mib: 1,
        path: "/models/w".to_owned(),
    }];
    let asked = async |edge: &mut Attached, epoch, owner: String| {
        let session = nearlight_kit::ids::session();
        let at = (&*edge, 0, epoch);
        let mut order = support::jobs::start(&site.broker, &session, at, spec.clone());
        if let Order::Start(start) = &mut order {
            let volumes = Vec::new();
            start.storage = Some(JobStorage { owner, volumes });
        }
        assert_eq!(edge.done(order).await, AckOutcome::Done);
        session
    };
    let session = asked(&mut edge, 1, owner.clone()).await;
    edge.wait_ready(&session).await;
    assert_eq!(get(&session, "/read/models/w").await, "weights");
    let refused = get(&session, "/touch/models/w").await;
    assert!(
        refused.contains("Read-only") || refused.contains("denied"),
        "{refused}"
    );
    stopped(&mut edge, &session).await;
    assert_eq!(traces(&site), NOTHING);
    assert_eq!(std::fs::read_to_string(dir.join(&hex)).unwrap(), "weights");

    let other = nearlight_kit::ids::tenant().to_string();
    let session = asked(&mut edge, 2, other).await;
    let (reason, detail) = end_of(&mut edge, &session).await;
    assert_eq!(reason, EndReason::AssetMissing, "{detail}");
    assert!(detail.contains("not public"), "{detail}");
    assert_eq!(traces(&site), NOTHING);
}
