//! Where volumes are, who has them, and what nodes say of them.

use super::*;
use nearlight_protocol::control::JobHost;
use nearlight_protocol::volume::VolumeHeld;

fn wanted(name: &str, size_mib: u32) -> Volume {
    Volume {
        name: name.to_owned(),
        path: format!("/{name}"),
        size_mib,
    }
}

fn row(owner: &str, name: &str, node: &NodeId) -> VolumeRow {
    VolumeRow {
        id: nearlight_kit::ids::volume(),
        owner: owner.to_owned(),
        name: name.to_owned(),
        node: node.clone(),
        size_mib: 100,
        used_by: None,
        created_ms: 1,
        used_ms: 1,
        made: true,
        lost: false,
        deleted: false,
    }
}

fn asking<'a>(owner: &'a str, session: &'a SessionId) -> Asking<'a> {
    Asking {
        owner,
        session,
        owner_mib_max: 1000,
    }
}

fn holding(ids: &[&VolumeId]) -> Inventory {
    let held = ids.iter().map(|id| VolumeHeld {
        volume: (*id).clone(),
        size_mib: 100,
    });
    Inventory {
        jobs: Some(JobHost {
            volumes: Some(held.collect()),
            ..JobHost::default()
        }),
        ..crate::fleet::nothing()
    }
}

#[test]
fn a_job_runs_where_its_volume_is_and_one_at_a_time() {
    let (node, session) = (nearlight_kit::ids::node(), nearlight_kit::ids::session());
    let mut volumes = Volumes::of(vec![row("a", "cache", &node)]);
    let by = asking("a", &session);
    let plan = volumes
        .plan(by, &[wanted("cache", 50), wanted("new", 30)])
        .unwrap();
    assert_eq!(plan.on, Some((node.clone(), "cache".to_owned())));
    assert_eq!(plan.growth_mib, 30, "it never shrinks");
    let sizes: Vec<_> = plan.takes.iter().map(|t| (t.size_mib, t.is_new)).collect();
    assert_eq!(sizes, [(100, false), (30, true)]);
    volumes.take(&session, &node, &plan.takes, 7);
    let other = nearlight_kit::ids::session();
    let lack = volumes.plan(asking("a", &other), &[wanted("new", 1)]);
    let in_use = Lack::InUse {
        name: "new".to_owned(),
        by: session.clone(),
    };
    assert_eq!(lack, Err(in_use));
    let grants = volumes.grants(&session, "a", &[wanted("cache", 50), wanted("new", 30)]);
    assert_eq!(
        grants.iter().map(|g| g.is_new).collect::<Vec<_>>(),
        [false, true]
    );
    volumes.release(&session);
    assert!(
        volumes
            .plan(asking("a", &other), &[wanted("new", 1)])
            .is_ok()
    );
    assert!(
        volumes
            .grants(&session, "a", &[wanted("new", 30)])
            .is_empty()
    );
}

#[test]
fn a_name_is_its_owners_alone() {
    let (node, session) = (nearlight_kit::ids::node(), nearlight_kit::ids::session());
    let theirs = row("a", "cache", &node);
    let volumes = Volumes::of(vec![theirs.clone()]);
    let plan = volumes
        .plan(asking("b", &session), &[wanted("cache", 100)])
        .unwrap();
    assert_eq!((plan.on, plan.takes[0].is_new), (None, true));
    assert_ne!(plan.takes[0].id, theirs.id);
}

#[test]
fn what_cannot_be_had_says_why() {
    let nodes = [nearlight_kit::ids::node(), nearlight_kit::ids::node()];
    let session = nearlight_kit::ids::session();
    let lost = VolumeRow {
        lost: true,
        ..row("a", "gone", &nodes[0])
    };
    let rows = vec![row("a", "x", &nodes[0]), row("a", "y", &nodes[1]), lost];
    let volumes = Volumes::of(rows);
    let plan = |wanted: &[Volume]| volumes.plan(asking("a", &session), wanted).unwrap_err();
    assert!(matches!(
        plan(&[wanted("x", 1), wanted("y", 1)]),
        Lack::Apart { .. }
    ));
    assert!(matches!(plan(&[wanted("gone", 1)]), Lack::Lost { .. }));
    let too_much = Lack::TooMuch {
        would_mib: 1001,
        max_mib: 1000,
    };
    assert_eq!(plan(&[wanted("z", 701)]), too_much);
    assert!(!too_much.passes());
    assert!(
        volumes
            .plan(asking("a", &session), &[wanted("z", 700)])
            .is_ok()
    );
}

#[test]
fn what_is_deleted_of_a_node_that_is_shut_out_counts_no_more_and_the_rest_is_lost() {
    let (node, session) = (nearlight_kit::ids::node(), nearlight_kit::ids::session());
    let rows = [row("a", "x", &node), row("a", "y", &node)];
    let deleted = rows[0].id.clone();
    let mut volumes = Volumes::of(rows.to_vec());
    volumes.delete(&deleted);
    let fits = |volumes: &Volumes| volumes.plan(asking("a", &session), &[wanted("z", 850)]);
    assert!(matches!(fits(&volumes), Err(Lack::TooMuch { .. })));
    volumes.shut_out(&node);
    assert!(fits(&volumes).is_ok());
    let left = volumes.plan(asking("a", &session), &[wanted("y", 1)]);
    assert!(matches!(left, Err(Lack::Lost { .. })), "{left:?}");
    assert_eq!(volumes.node_of(&deleted), None);
    assert_eq!(volumes.node_of(&rows[1].id), Some(&node));
}

#[test]
fn a_nodes_word_makes_loses_finds_and_forgets() {
    let node = nearlight_kit::ids::node();
    let fresh = VolumeRow {
        made: false,
        ..row("a", "x", &node)
    };
    let (there, id) = (row("a", "y", &node), fresh.id.clone());
    let mut volumes = Volumes::of(vec![fresh, there.clone()]);
    let seen = volumes.seen(&node, &holding(&[&id]));
    assert_eq!(
        (&seen.there, &seen.lost),
        (&vec![id.clone()], &vec![there.id.clone()])
    );
    volumes.note(&seen);
    let back = volumes.seen(&node, &holding(&[&id, &there.id]));
    assert_eq!(
        (&back.there, back.lost.is_empty()),
        (&vec![there.id.clone()], true)
    );
    volumes.note(&back);
    assert!(volumes.seen(&node, &holding(&[&id, &there.id])).is_empty());
    assert!(
        volumes.seen(&node, &crate::fleet::nothing()).is_empty(),
        "it says nothing"
    );
    assert_eq!(volumes.delete(&id), Some(node.clone()));
    let known = volumes.known(&node).unwrap();
    assert_eq!(
        (known.keep, known.wipe),
        (vec![there.id.clone()], vec![id.clone()])
    );
    let wiped = volumes.seen(&node, &holding(&[&there.id]));
    assert_eq!(wiped.wiped, [id]);
    volumes.note(&wiped);
    assert!(volumes.known(&node).unwrap().wipe.is_empty());
}
