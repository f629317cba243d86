//! Volumes: where a job with one runs, what becomes of it, and what its node is told.

use super::*;
use crate::edge::Started;
use crate::revocation::decide;
use nearlight_protocol::control::{FromEdge, SessionReport};
use nearlight_protocol::id::VolumeId;
use nearlight_protocol::usage::{UsageEntry, UsageFacts, UsageReport};
use nearlight_protocol::volume::{VolumeGrant, VolumeHeld, asset_name};

fn with_volume(name: &str, size_mib: u32) -> Value {
    job(&json!({ "volumes": [{ "name": name, "path": "/v", "size_mib": size_mib }] }))
}

fn grant(started: &Started) -> VolumeGrant {
    let storage = started.start.storage.as_ref().expect("it has a volume");
    assert_eq!(storage.volumes.len(), 1);
    storage.volumes[0].clone()
}

/// The node says that it has these.
async fn holds(edge: &mut Edge, volumes: &[&VolumeId]) {
    let held = volumes.iter().map(|volume| VolumeHeld {
        volume: (*volume).clone(),
        size_mib: 64,
    });
    let mut inventory = edge.node.inventory();
    inventory.jobs = Some(JobHost {
        volumes: Some(held.collect()),
        ..host()
    });
    edge.send(FromEdge::Inventory(inventory)).await;
}

async fn state_of(client: &Client, volume: &VolumeId) -> String {
    client
        .get(&format!("/v1/volumes/{volume}"))
        .await
        .at("/state")
}

async fn is(client: &Client, volume: &VolumeId, state: &str) {
    eventually(state, || async { state_of(client, volume).await == state }).await;
}

async fn detail(client: &Client, session: &str) -> String {
    let placement = client
        .get(&format!("/v1/sessions/{session}/placement"))
        .await;
    placement.at("/detail")
}

async fn is_offline(rig: &Rig, node: &Node) {
    eventually("it is offline", || async {
        let nodes = rig.admin().get("/v1/nodes").await.json();
        let nodes = nodes["nodes"].as_array().unwrap().clone();
        nodes
            .iter()
            .any(|n| n["id"] == node.id.to_string() && n["status"] == "offline")
    })
    .await;
}

async fn end(client: &Client, edge: &mut Edge, of: &Started) {
    let path = format!("/v1/sessions/{}", of.start.session);
    assert_eq!(client.delete(&path).await.status, 202);
    edge.stop_next(of).await;
}

#[tokio::test]
async fn a_job_runs_where_its_volume_is_and_waits_while_another_has_it() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut home = edge(&rig, 1).await;
    ask(&client, &with_volume("cache", 64)).await;
    let first = home.start_next().await;
    let made = grant(&first);
    assert!(made.is_new && made.size_mib == 64 && made.name == "cache");
    holds(&mut home, &[&made.volume]).await;
    is(&client, &made.volume, "ready").await;
    // It hears that this one stays: what a node believes to be nobody's it wipes one day.
    while !home.next_volumes().await.keep.contains(&made.volume) {}
    // Another node that is empty, and so better in every other way.
    let mut empty = edge(&rig, 4).await;

    let second = id(&ask(&client, &with_volume("cache", 10)).await);
    let words = format!("its volume `cache` is in use by {}", first.start.session);
    eventually("it waits", || async {
        detail(&client, &second).await.starts_with(&words)
    })
    .await;
    let waits = client.get(&format!("/v1/sessions/{second}")).await;
    assert_eq!(waits.at("/state/waits_for"), "volume");
    // Another tenant's volume of that name is another one, and somewhere else.
    let (_, _, stranger) = tenant(&rig, "b").await;
    ask(&stranger, &with_volume("cache", 64)).await;
    let theirs = empty.start_next().await;
    assert_ne!(grant(&theirs).volume, made.volume);
    assert!(grant(&theirs).is_new);

    let facts = UsageFacts {
        cpu_ms: Some(1_234),
        mem_mib_peak: Some(56),
        ..UsageFacts::default()
    };
    home.report(&first, SessionReport::Used { facts }).await;
    end(&client, &mut home, &first).await;
    let next = home.start_next().await;
    assert_eq!(next.start.session.to_string(), second);
    let again = grant(&next);
    assert_eq!(
        (again.volume, again.is_new, again.size_mib),
        (made.volume.clone(), false, 64)
    );
    let shown = client.get(&format!("/v1/volumes/{}", made.volume)).await;
    assert_eq!(shown.at("/session"), second);
    assert_eq!(shown.at("/node"), home.node.id.to_string());
    end(&client, &mut home, &next).await;
    // It is metered for as long as it is there, whoever has it; and for its owner alone.
    let usage = client.get("/v1/usage?limit=200").await;
    let usage: UsageReport = serde_json::from_str(&usage.body).unwrap();
    let kept: Vec<_> = usage
        .entries
        .iter()
        .filter_map(|entry| entry.volume.as_ref())
        .collect();
    let [kept] = kept.as_slice() else {
        panic!("one volume of one size: {usage:?}")
    };
    assert_eq!(
        (&kept.volume, kept.name.as_str(), kept.size_mib),
        (&made.volume, "cache", 64)
    );
    let of_first = |entry: &&UsageEntry| entry.session.as_ref() == Some(&first.start.session);
    let used = usage.entries.iter().find(of_first).unwrap().used;
    assert_eq!(used, facts, "as its node said");
    eventually("a second of it", || async {
        let groups = client.get("/v1/usage?group=app").await;
        groups.body.contains("(volumes)")
    })
    .await;
}

#[tokio::test]
async fn a_job_whose_volume_is_on_a_node_that_is_full_or_away_says_so() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut home = edge(&rig, 1).await;
    ask(&client, &with_volume("cache", 64)).await;
    let first = home.start_next().await;
    let made = grant(&first);
    holds(&mut home, &[&made.volume]).await;
    is(&client, &made.volume, "ready").await;
    end(&client, &mut home, &first).await;
    // Somebody else has its only slot.
    ask(&client, &job(&json!({}))).await;
    let busy = home.start_next().await;
    let _empty = edge(&rig, 4).await;
    let node = home.node.clone();
    let waiting = id(&ask(&client, &with_volume("cache", 64)).await);
    let on = format!("its volume `cache` is on node scripted ({})", node.id);
    let full = format!("{on}, which is full (slots taken)");
    eventually("it waits", || async {
        detail(&client, &waiting).await == full
    })
    .await;
    client.delete(&format!("/v1/sessions/{waiting}")).await;
    end(&client, &mut home, &busy).await;
    drop(home);
    is_offline(&rig, &node).await;
    let waiting = id(&ask(&client, &with_volume("cache", 64)).await);
    let away = format!("{on}, which is away");
    eventually("it waits", || async {
        detail(&client, &waiting).await == away
    })
    .await;
    let mut node = node;
    node.epoch = nearlight_protocol::unit::U64(9);
    let held = VolumeHeld {
        volume: made.volume.clone(),
        size_mib: 64,
    };
    node.jobs = Some(JobHost {
        volumes: Some(vec![held]),
        ..host()
    });
    let mut home = rig.attach(&node, Vec::new()).await;
    let started = home.start_next().await;
    assert_eq!(started.start.session.to_string(), waiting);
    assert_eq!(grant(&started).volume, made.volume);
}

#[tokio::test]
async fn a_volume_that_its_node_has_no_more_is_lost_and_replaced_by_nothing() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut home = edge(&rig, 1).await;
    ask(&client, &with_volume("cache", 64)).await;
    let first = home.start_next().await;
    let made = grant(&first);
    holds(&mut home, &[&made.volume]).await;
    is(&client, &made.volume, "ready").await;
    end(&client, &mut home, &first).await;
    holds(&mut home, &[]).await;
    is(&client, &made.volume, "lost").await;
    let refused = ask(&client, &with_volume("cache", 64)).await;
    refused.refused(400, "bad-request");
    assert!(refused.body.contains("`cache` is lost"), "{refused:?}");
    // A disk that was not mounted is mounted again.
    holds(&mut home, &[&made.volume]).await;
    is(&client, &made.volume, "ready").await;
    ask(&client, &with_volume("cache", 64)).await;
    let next = home.start_next().await;
    assert_eq!(
        (grant(&next).volume, grant(&next).is_new),
        (made.volume, false)
    );
}

#[tokio::test]
async fn a_job_whose_volume_is_on_a_node_that_never_comes_back_begins_anew_without_it() {
    let rig = Rig::start().await;
    let (_, _, client) = tenant(&rig, "a").await;
    let volumes = async |name: &str| {
        let mut home = edge(&rig, 1).await;
        ask(&client, &with_volume(name, 64)).await;
        let first = home.start_next().await;
        let made = grant(&first).volume;
        holds(&mut home, &[&made]).await;
        is(&client, &made, "ready").await;
        end(&client, &mut home, &first).await;
        let node = home.node.clone();
        drop(home);
        is_offline(&rig, &node).await;
        (node, made)
    };
    let (_, away) = Box::pin(volumes("away")).await;
    let (revoked, lost) = Box::pin(volumes("lost")).await;
    let mut other = edge(&rig, 2).await;
    let waits = async |name: &str, words: &str| {
        let waits = id(&ask(&client, &with_volume(name, 64)).await);
        eventually(words, || async {
            detail(&client, &waits).await.contains(words)
        })
        .await;
        waits
    };
    let of_away = waits("away", "which is away").await;
    let of_lost = waits("lost", "which is away").await;

    // Shut out for good: who waits is told, and so is who asks now. Nobody pays for it any more.
    assert_eq!(decide(&rig, "DELETE", &revoked, "").await, 204);
    is(&client, &lost, "lost").await;
    eventually("it is told", || async {
        detail(&client, &of_lost).await.contains("`lost` is lost")
    })
    .await;
    let refused = ask(&client, &with_volume("lost", 64)).await;
    refused.refused(400, "bad-request");
    let usage = client.get("/v1/usage?limit=200").await;
    let usage: UsageReport = serde_json::from_str(&usage.body).unwrap();
    let of = |volume: &VolumeId| {
        let is_its =
            |entry: &&UsageEntry| entry.volume.as_ref().is_some_and(|v| v.volume == *volume);
        usage.entries.iter().find(is_its).unwrap().ended_unix_ms
    };
    assert!(of(&lost).is_some() && of(&away).is_none(), "{usage:?}");

    // Either is given up by whoever had it, and the job that waits begins with an empty one.
    for (volume, session) in [(&lost, &of_lost), (&away, &of_away)] {
        let path = format!("/v1/volumes/{volume}");
        assert_eq!(client.delete(&path).await.status, 202);
        let started = other.start_next().await;
        assert_eq!(started.start.session.to_string(), *session);
        assert!(grant(&started).is_new && grant(&started).volume != *volume);
    }
    assert_eq!(state_of(&client, &away).await, "wiping", "if it comes back");
    let gone = client.get(&format!("/v1/volumes/{lost}")).await;
    gone.refused(404, "not-found");
}

#[tokio::test]
async fn a_deleted_volume_frees_its_name_and_is_wiped_whenever_its_node_is_there() {
    let rig = Rig::start().await;
    let (tenant_id, _, client) = tenant(&rig, "a").await;
    let mut home = edge(&rig, 1).await;
    ask(&client, &with_volume("cache", 64)).await;
    let first = home.start_next().await;
    let made = grant(&first).volume;
    holds(&mut home, &[&made]).await;
    is(&client, &made, "ready").await;
    let path = format!("/v1/volumes/{made}");
    let refused = client.delete(&path).await;
    refused.refused(400, "bad-request");
    assert!(
        refused.body.contains(&first.start.session.to_string()),
        "{refused:?}"
    );
    end(&client, &mut home, &first).await;
    eventually("it is free", || async {
        client.delete(&path).await.status == 202
    })
    .await;
    let known = loop {
        let known = home.next_volumes().await;
        if !known.wipe.is_empty() {
            break known;
        }
    };
    assert_eq!((known.keep.len(), known.wipe), (0, vec![made.clone()]));
    assert_eq!(state_of(&client, &made).await, "wiping");
    let noted = rig.admin().get("/v1/audit?limit=1").await;
    let of = ["/action", "/subject", "/tenant"].map(|at| noted.at(&format!("/entries/0{at}")));
    assert_eq!(of, ["volume-delete", made.as_str(), &tenant_id]);

    // The node is away before it has done it: it hears again.
    let node = home.node.clone();
    drop(home);
    let mut node = node;
    node.epoch = nearlight_protocol::unit::U64(9);
    node.jobs = Some(JobHost {
        volumes: Some(vec![VolumeHeld {
            volume: made.clone(),
            size_mib: 64,
        }]),
        ..host()
    });
    let mut home = rig.attach(&node, Vec::new()).await;
    assert_eq!(home.next_volumes().await.wipe, std::slice::from_ref(&made));
    holds(&mut home, &[]).await;
    eventually("it is gone", || async {
        client.get(&path).await.status == 404
    })
    .await;
    ask(&client, &with_volume("cache", 64)).await;
    let anew = grant(&home.start_next().await);
    assert!(anew.is_new && anew.volume != made);
}

#[tokio::test]
async fn volumes_count_against_their_owners_quota_and_their_nodes_disk() {
    let rig = Rig::start_with(|config| config.jobs.volumes_mib_max = 60_000).await;
    let (_, _, client) = tenant(&rig, "a").await;
    let mut home = edge(&rig, 4).await;
    ask(&client, &with_volume("one", 50_000)).await;
    home.start_next().await;
    let refused = ask(&client, &with_volume("two", 20_000)).await;
    refused.refused(429, "quota-exceeded");
    assert!(refused.body.contains("70000 MiB"), "{refused:?}");
    // What is set aside for it is nobody else's, whether a job has it or not.
    let (_, _, other) = tenant(&rig, "b").await;
    let large = job(&json!({ "resources": { "disk_mib": 20_000 } }));
    let waits = id(&ask(&other, &large).await);
    eventually("it waits", || async {
        let placement = other.get(&format!("/v1/sessions/{waits}/placement")).await;
        placement.at("/excluded/0/reason") == "disk-taken"
    })
    .await;
    other.delete(&format!("/v1/sessions/{waits}")).await;
    // A broker that starts again finds it as it was.
    let rig = rig.restart().await;
    let volumes = rig.admin().get("/v1/volumes").await;
    assert_eq!(volumes.at("/volumes/0/size_mib"), "50000");
}

#[tokio::test]
async fn a_job_goes_where_its_assets_are() {
    let rig = Rig::start().await;
    let (tenant_id, _, client) = tenant(&rig, "a").await;
    let _cold = edge(&rig, 4).await;
    let digest = format!("sha256:{}", "0b".repeat(32));
    let warm = Node {
        images: vec![image()],
        jobs: Some(JobHost {
            assets: vec![asset_name(&tenant_id, &digest)],
            ..host()
        }),
        ..rig.node(4)
    };
    let lukewarm = Node {
        images: vec![image()],
        jobs: Some(JobHost {
            assets: vec![asset_name("ten_00000000000000000000000000", &digest)],
            ..host()
        }),
        ..rig.node(4)
    };
    let _lukewarm = edge_of(&rig, lukewarm).await;
    let mut warm = edge_of(&rig, warm).await;
    let asset = json!({ "url": "https://models.example/w", "digest": digest, "size_mib": 10, "path": "/w" });
    for _ in 0..3 {
        ask(&client, &job(&json!({ "assets": [asset] }))).await;
        let started = warm.start_next().await;
        let storage = started.start.storage.unwrap();
        assert_eq!(
            (storage.owner.as_str(), storage.volumes.len()),
            (tenant_id.as_str(), 0)
        );
    }
}
