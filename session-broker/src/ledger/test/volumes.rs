//! Volumes: taken with a claim, let go with it, and one of a name.

use super::readmit::{lost, readmit};
use super::usage::{all, at};
use super::*;
use nearlight_protocol::grant::GrantWork;
use nearlight_protocol::id::VolumeId;
use nearlight_protocol::job::{JobSpec, Volume};
use nearlight_session::bill::{Charge, Line, Range, RateBook, RateCard, Rates, spent};

fn take(id: &VolumeId, name: &str, is_new: bool) -> TakeVolume {
    TakeVolume {
        id: id.clone(),
        owner: "a".to_owned(),
        name: name.to_owned(),
        size_mib: 100,
        is_new,
        owner_mib_max: 250,
    }
}

async fn taken(
    store: &Store,
    node: &NodeRow,
    slot: usize,
    takes: &[TakeVolume],
) -> (Reserve, Applied) {
    let session = store.session().await;
    let node = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    let asked = Reserve {
        volumes: takes.to_vec(),
        ..reserve(&node, slot, &session)
    };
    let applied = store.write(op(&asked)).await;
    (asked, applied)
}

async fn volumes(store: &Store) -> Vec<VolumeRow> {
    store.ledger.volumes(None).await.unwrap()
}

fn release(asked: &Reserve) -> Op {
    Op::Release {
        session: asked.session.clone(),
        claim: asked.claim.clone(),
        billed_until: MonoTime(3_000),
        at: MonoTime(3_000),
    }
}

pub(super) async fn a_volume_is_taken_with_a_claim_and_let_go_with_it(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(3, 9_000).await;
    let id = nearlight_kit::ids::volume();
    let (first, applied) = taken(&store, &node, 0, &[take(&id, "cache", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let row = &volumes(&store).await[0];
    assert_eq!((&row.id, &row.node, row.size_mib), (&id, &node.id, 100));
    assert_eq!(
        (&row.used_by, row.made),
        (&Some(first.session.clone()), false)
    );
    let loaded = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(loaded.volumes_mib, 100);

    // Nobody else gets it, nor its slot, and the rest of the group is none the worse.
    let larger = TakeVolume {
        size_mib: 150,
        ..take(&id, "cache", false)
    };
    let (second, applied) = taken(&store, &node, 1, std::slice::from_ref(&larger)).await;
    assert_eq!(applied, Applied::RaceLost);
    let node_now = store.ledger.node(node.id.clone()).await.unwrap().unwrap();
    assert_eq!(node_now.slots[&second.claim.slot].held_by, None);
    let delete = || Op::DeleteVolume {
        volume: id.clone(),
        at: MonoTime(5_000),
    };
    assert_eq!(store.write(delete()).await, Applied::RaceLost);
    store.write(release(&first)).await;
    assert_eq!(volumes(&store).await[0].used_by, None);
    let (second, applied) = taken(&store, &node, 1, &[larger]).await;
    assert!(ordered(&applied), "{applied:?}");
    let row = &volumes(&store).await[0];
    assert_eq!(
        (row.size_mib, &row.used_by),
        (150, &Some(second.session.clone()))
    );
    store.write(release(&second)).await;
    // It never shrinks.
    let (third, applied) = taken(&store, &node, 2, &[take(&id, "cache", false)]).await;
    assert!(ordered(&applied), "{applied:?}");
    assert_eq!(volumes(&store).await[0].size_mib, 150);
    store.write(release(&third)).await;
    let store = store.reopen().await;
    assert_eq!(store.write(delete()).await, Applied::Done);
    assert_eq!(store.write(delete()).await, Applied::RaceLost, "once");
    let (_, applied) = taken(&store, &node, 0, &[take(&id, "cache", false)]).await;
    assert_eq!(applied, Applied::RaceLost);
}

pub(super) async fn a_job_that_is_back_holds_its_volume_and_not_one_that_another_has(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(3, 9_000).await;
    let mut back = lost(&node, 2, 7);
    let cache = Volume {
        name: "cache".to_owned(),
        path: "/cache".to_owned(),
        size_mib: 100,
    };
    let spec = JobSpec {
        volumes: vec![cache],
        ..JobSpec::of_image("registry.example/a/server@sha256:00")
    };
    let job = Box::new(spec);
    back.row.work = GrantWork::Job { job };
    let id = nearlight_kit::ids::volume();
    let own = TakeVolume {
        owner: back.user.to_string(),
        ..take(&id, "cache", true)
    };
    let (other, applied) = taken(&store, &node, 0, &[own]).await;
    assert!(ordered(&applied), "{applied:?}");
    let stopped = store.write(readmit(&back)).await;
    assert!(ordered(&stopped), "another job has it: {stopped:?}");
    assert_eq!(
        volumes(&store).await[0].used_by,
        Some(other.session.clone())
    );
    store.write(release(&other)).await;
    assert_eq!(store.write(readmit(&back)).await, Applied::Done);
    assert_eq!(volumes(&store).await[0].used_by, Some(back.session));
}

pub(super) async fn what_is_deleted_of_a_node_that_is_shut_out_is_gone(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(2, 9_000).await;
    let [one, two] = [(); 2].map(|()| nearlight_kit::ids::volume());
    let takes = [take(&one, "cache", true), take(&two, "more", true)];
    let (held, applied) = taken(&store, &node, 0, &takes).await;
    assert!(ordered(&applied), "{applied:?}");
    store.write(release(&held)).await;
    let delete = Op::DeleteVolume {
        volume: one,
        at: MonoTime(5_000),
    };
    assert_eq!(store.write(delete).await, Applied::Done);
    let revoke = Op::RevokeNode {
        node: node.id.clone(),
        at: MonoTime(6_000),
    };
    assert_eq!(store.write(revoke).await, Applied::Done);
    let left = volumes(&store).await;
    let left: Vec<_> = left.into_iter().map(|v| (v.id, v.lost)).collect();
    assert_eq!(
        left,
        [(two.clone(), true)],
        "nobody has deleted the other one"
    );
    let still = VolumesSeen {
        there: vec![two],
        ..VolumesSeen::default()
    };
    let note = Op::NoteVolumes {
        node: node.id.clone(),
        seen: still,
        at: MonoTime(7_000),
    };
    assert_eq!(store.write(note).await, Applied::Done);
    assert!(volumes(&store).await[0].lost, "whatever it still says");
    let lines = store.ledger.usage_lines(all()).await.unwrap();
    let ended = |line: &UsageLine| match line {
        UsageLine::Volume(line) => line.ended_ms,
        UsageLine::Claim(line) => panic!("it was never acked: {line:?}"),
    };
    let mut ended: Vec<_> = lines.iter().map(ended).collect();
    ended.sort_unstable();
    assert_eq!(ended, [Some(5), Some(6)], "until their end, and no longer");
}

pub(super) async fn a_name_is_one_volumes_and_an_owner_has_so_much(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(4, 9_000).await;
    let [one, two, three] = [(); 3].map(|()| nearlight_kit::ids::volume());
    let (first, applied) = taken(&store, &node, 0, &[take(&one, "cache", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let other_node = store.node(1, 9_000).await;
    // Made elsewhere at the same time by somebody who did not know.
    let (_, applied) = taken(&store, &other_node, 0, &[take(&two, "cache", true)]).await;
    assert_eq!(applied, Applied::RaceLost);
    // All of a claim's volumes, or none.
    let takes = [take(&two, "more", true), take(&one, "cache", false)];
    let (_, applied) = taken(&store, &node, 1, &takes).await;
    assert_eq!(applied, Applied::RaceLost);
    assert_eq!(volumes(&store).await.len(), 1);
    let (_, applied) = taken(&store, &node, 1, &[take(&two, "more", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let (_, applied) = taken(&store, &node, 2, &[take(&three, "most", true)]).await;
    assert_eq!(
        applied,
        Applied::RaceLost,
        "250 MiB are all that the owner may have"
    );
    // Once one is deleted its name is free, and once it is wiped its room is.
    store.write(release(&first)).await;
    let delete = Op::DeleteVolume {
        volume: one.clone(),
        at: MonoTime(5_000),
    };
    assert_eq!(store.write(delete).await, Applied::Done);
    let (_, applied) = taken(&store, &node, 2, &[take(&three, "cache", true)]).await;
    assert_eq!(applied, Applied::RaceLost);
    let seen = VolumesSeen {
        there: vec![two.clone()],
        lost: Vec::new(),
        wiped: vec![one.clone(), two.clone()],
    };
    let note = |seen| Op::NoteVolumes {
        node: node.id.clone(),
        seen,
        at: MonoTime(6_000),
    };
    store.write(note(seen)).await;
    let left = volumes(&store).await;
    assert_eq!(left.len(), 1, "what nobody deleted is not forgotten");
    assert_eq!(
        (&left[0].id, left[0].made, left[0].lost),
        (&two, true, false)
    );
    let (_, applied) = taken(&store, &node, 2, &[take(&three, "cache", true)]).await;
    assert!(ordered(&applied), "{applied:?}");
    let lost = VolumesSeen {
        lost: vec![two.clone()],
        ..VolumesSeen::default()
    };
    store.write(note(lost)).await;
    let of =
        |rows: Vec<VolumeRow>, id: &VolumeId| rows.into_iter().find(|row| row.id == *id).unwrap();
    assert!(of(volumes(&store).await, &two).lost);
    let back = VolumesSeen {
        there: vec![two.clone()],
        ..VolumesSeen::default()
    };
    store.write(note(back)).await;
    assert!(!of(volumes(&store).await, &two).lost);
    assert!(
        store
            .ledger
            .volumes(Some("b".to_owned()))
            .await
            .unwrap()
            .is_empty()
    );
}

const HOUR_MS: u64 = 3_600_000;

/// A day of one volume, every change said twice and the broker started again after each.
struct VolumeDay {
    store: Store,
    node: NodeRow,
    id: VolumeId,
    owner: String,
}

impl VolumeDay {
    async fn write(self, op: Op) -> Self {
        for _ in 0..2 {
            self.store.write(op.clone()).await;
        }
        let store = self.store.reopen().await;
        Self { store, ..self }
    }

    /// A job has it, of this size, and ends a minute later.
    async fn used(self, size_mib: u32, is_new: bool, ms: u64) -> Self {
        let session = self.store.session().await;
        let node = self.store.ledger.node(self.node.id.clone()).await;
        let take = TakeVolume {
            owner: self.owner.clone(),
            size_mib,
            owner_mib_max: 100_000,
            ..take(&self.id, "cache", is_new)
        };
        let asked = Reserve {
            volumes: vec![take],
            at: at(ms),
            ..reserve(&node.unwrap().unwrap(), 0, &session)
        };
        let applied = self.store.write(op(&asked)).await;
        assert!(ordered(&applied), "{applied:?}");
        self.write(Op::Release {
            session: asked.session.clone(),
            claim: asked.claim.clone(),
            billed_until: at(ms + 60_000),
            at: at(ms + 60_000),
        })
        .await
    }

    async fn seen(self, seen: VolumesSeen, ms: u64) -> Self {
        let node = self.node.id.clone();
        let at = at(ms);
        self.write(Op::NoteVolumes { node, seen, at }).await
    }

    fn alone(&self) -> Vec<VolumeId> {
        vec![self.id.clone()]
    }
}

/// What the lines of that day come to, by themselves and for a budget.
fn comes_to_the_sum(lines: Vec<UsageLine>) {
    // The price doubles at four.
    let card = |from_ms, volume_gib_hour| RateCard {
        from_ms,
        rates: Rates {
            slot: 1_000_000,
            volume_gib_hour,
            ..Rates::default()
        },
    };
    let book = RateBook::new([card(0, 137), card(4 * HOUR_MS, 274)]);
    let of = |line: &UsageLine| book.charge(&line.held(), line.interval(u64::MAX), Range::ALL);
    let charges: Vec<Charge> = lines.iter().map(of).collect();
    let charge = |hours: u64, micro| Charge {
        seconds: hours * 3600,
        micro,
    };
    let by_hand = [
        charge(3, 3 * 137),
        charge(2, 4 * 137 + 4 * 274),
        charge(1, 4 * 274),
    ];
    assert_eq!(
        charges, by_hand,
        "no slot, and a second that was not completed is free"
    );
    let lines: Vec<Line> = lines.into_iter().map(UsageLine::for_budget).collect();
    let sum = spent(&book, &lines, Range::ALL, 24 * HOUR_MS);
    assert_eq!(sum, charge(6, 23 * 137), "as a budget sees it");
}

pub(super) async fn i5_a_scripted_day_of_a_volume_comes_to_what_is_computed_by_hand(place: Place) {
    let store = Store::open(place).await;
    let node = store.node(1, 64_000).await;
    let tenant = nearlight_kit::ids::tenant();
    let day = VolumeDay {
        store,
        node,
        id: nearlight_kit::ids::volume(),
        owner: tenant.to_string(),
    };
    let day = day.used(1024, true, 0).await;
    let there = VolumesSeen {
        there: day.alone(),
        ..VolumesSeen::default()
    };
    let lost = VolumesSeen {
        lost: day.alone(),
        ..VolumesSeen::default()
    };
    let wiped = VolumesSeen {
        wiped: day.alone(),
        ..VolumesSeen::default()
    };
    let day = day.seen(there.clone(), 1_000).await;
    // A smaller wish changes nothing, a larger one does; then its node has it no more, and again.
    let day = day.used(100, false, HOUR_MS).await;
    let day = day.used(4096, false, 3 * HOUR_MS).await;
    let day = day.seen(lost.clone(), 5 * HOUR_MS).await;
    let day = day.seen(lost, 6 * HOUR_MS).await;
    let day = day.seen(there, 7 * HOUR_MS).await;
    let delete = |at| Op::DeleteVolume {
        volume: day.id.clone(),
        at,
    };
    let (first, again) = (delete(at(8 * HOUR_MS + 999)), delete(at(20 * HOUR_MS)));
    let day = day.write(first).await.write(again).await;
    let day = day.seen(wiped, 21 * HOUR_MS).await;

    let own = UsageQuery {
        tenant: Some(tenant.clone()),
        ..all()
    };
    let lines = day.store.ledger.usage_lines(own).await.unwrap();
    let had: Vec<_> = lines
        .iter()
        .map(|line| match line {
            UsageLine::Volume(line) => (line.kept.mib, line.began_ms, line.ended_ms),
            UsageLine::Claim(line) => panic!("it was never acked: {line:?}"),
        })
        .collect();
    let by_hand = [
        (1024, 0, Some(3 * HOUR_MS)),
        (4096, 3 * HOUR_MS, Some(5 * HOUR_MS)),
        (4096, 7 * HOUR_MS, Some(8 * HOUR_MS + 999)),
    ];
    assert_eq!(had, by_hand);
    comes_to_the_sum(lines);
    let prune = prune(Remains::VolumeUsage, at(402 * 24 * HOUR_MS));
    let day = day.write(prune).await;
    assert_eq!(day.store.ledger.usage_lines(all()).await.unwrap(), []);
}
