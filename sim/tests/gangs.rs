//! Clusters among small jobs on a virtual clock: all of a cluster or nothing of it, and none is overtaken for ever.
//!
//! A machine of eight slots, more small jobs than it has room for, and clusters of six that come now and then. The
//! decisions are the broker's own: the queue, placement, and the room that is held.

use nearlight_placement::{
    Busy, Hold, JobNeed, Need, NodeState, NodeView, Policy, Running, SessionRequest, Trust, check,
    hold, together,
};
use nearlight_protocol::app::GpuClass;
use nearlight_protocol::control::JobHost;
use nearlight_protocol::id::{NodeId, SessionId, UserId};
use nearlight_protocol::job::ContainerRuntime;
use nearlight_protocol::unit::MonoTime;
use nearlight_session::Queue;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

const SLOTS: u32 = 8;
const GANG: u32 = 6;
const HOLD_AFTER_S: u64 = 300;
const DAY_S: u64 = 24 * 3600;

struct Job {
    replicas: u32,
    came_s: u64,
    /// As long as it may, and as long as it does.
    most_s: u64,
    lasts_s: u64,
}

/// One machine's day.
struct Day {
    holds: bool,
    now_s: u64,
    queue: Queue,
    jobs: BTreeMap<SessionId, Job>,
    /// When each is over; and at the latest.
    running: Vec<(u64, u64, SessionId)>,
    held: Option<(SessionId, Hold)>,
    waits_of_gangs_s: Vec<u64>,
    small_started: u64,
}

fn request() -> SessionRequest {
    SessionRequest {
        cpu_milli: 1000,
        mem_mib: 100,
        job: Some(JobNeed::default()),
        ..SessionRequest::default()
    }
}

impl Day {
    fn new(holds: bool) -> Self {
        Self {
            holds,
            now_s: 0,
            queue: Queue::default(),
            jobs: BTreeMap::new(),
            running: Vec::new(),
            held: None,
            waits_of_gangs_s: Vec::new(),
            small_started: 0,
        }
    }

    fn taken(&self) -> u32 {
        let replicas = self.running.iter().map(|(_, _, id)| self.jobs[id].replicas);
        replicas.sum()
    }

    fn machine(&self) -> Busy {
        let free = SLOTS - self.taken();
        let claims = self.running.iter().flat_map(|(_, most, id)| {
            let one = Running {
                ends_in_ms: most.saturating_sub(self.now_s) * 1000,
                cpu_milli: 1000,
                mem_mib: 100,
                ..Running::default()
            };
            std::iter::repeat_n(one, self.jobs[id].replicas as usize)
        });
        Busy {
            running: claims.collect(),
            node: NodeView {
                id: NodeId::from_parts(1, [0; 10]),
                region: "fra".to_owned(),
                operator: String::new(),
                trust: Trust::Known,
                runtime: "docker".to_owned(),
                gpu: GpuClass::None,
                vram_mib: 0,
                vram_mib_proved: None,
                encodes: false,
                slots_total: SLOTS,
                cpu_milli_total: SLOTS * 1000,
                encode_cpu_milli: 0,
                mem_mib_total: 8000,
                uplink_kbps_total: None,
                price_permille: 1000,
                images: BTreeSet::new(),
                jobs: Some(JobHost {
                    runtimes: vec![ContainerRuntime::Runc],
                    ..JobHost::default()
                }),
                desktops: BTreeSet::new(),
                state: NodeState {
                    attached: true,
                    sessions: self.taken(),
                    slots_free: free,
                    cpu_milli_free: free * 1000,
                    mem_mib_free: 8000 - 100 * self.taken(),
                    ..NodeState::default()
                },
            },
        }
    }

    fn comes(&mut self, n: u64, replicas: u32, (most_s, lasts_s): (u64, u64)) {
        let id = SessionId::from_parts(n, [0; 10]);
        let job = Job {
            replicas,
            came_s: self.now_s,
            most_s,
            lasts_s,
        };
        self.jobs.insert(id.clone(), job);
        let at = MonoTime(self.now_s * 1_000_000);
        self.queue.push(id, UserId::from_parts(n, [0; 10]), at);
    }

    /// Ends what is over, then tries everybody, next first.
    fn turn(&mut self) {
        self.running.retain(|(ends, _, _)| *ends > self.now_s);
        self.hold_room();
        for id in self.queue.order() {
            self.try_one(&id);
        }
        assert!(self.taken() <= SLOTS);
    }

    fn hold_room(&mut self) {
        let before = self.held.take();
        let long = self
            .queue
            .iter()
            .find(|id| self.now_s - self.jobs[*id].came_s >= HOLD_AFTER_S);
        let Some(id) = long.filter(|_| self.holds).cloned() else {
            return;
        };
        let need = Need {
            request: &request(),
            replicas: self.jobs[&id].replicas,
            policy: &Policy::default(),
        };
        let before = before.filter(|(of, _)| *of == id).map(|(_, hold)| hold);
        let found = hold(&[self.machine()], need, before.as_ref());
        let found = found.expect("it fits, once nothing else runs");
        if let Some(before) = before {
            assert!(
                found.room_in_ms() <= before.room_in_ms(),
                "nobody puts it off"
            );
        }
        self.held = Some((id, found));
    }

    fn try_one(&mut self, id: &SessionId) {
        let (policy, request, node) = (Policy::default(), request(), self.machine().node);
        let job = &self.jobs[id];
        let most_ms = job.most_s * 1000;
        let held_off = self.held.as_ref().is_some_and(|(of, hold)| {
            let behind = of != id && !self.queue.is_before(id, of);
            let fits = hold.lets(&node.id, (&request, most_ms), &policy);
            behind && !(fits && (job.replicas == 1 || most_ms <= hold.room_in_ms()))
        });
        let has_room = match job.replicas {
            1 => check(&node, &request, &policy).is_ok(),
            replicas => together([node.clone()].iter(), &request, &policy, replicas).is_ok(),
        };
        // With one slot too few nothing of it starts.
        assert_eq!(has_room, SLOTS - self.taken() >= job.replicas);
        if held_off || !has_room {
            return;
        }
        let (ends, most) = (self.now_s + job.lasts_s, self.now_s + job.most_s);
        let waited_s = self.now_s - job.came_s;
        match job.replicas {
            1 => self.small_started += 1,
            _ => self.waits_of_gangs_s.push(waited_s),
        }
        if let Some((_, hold)) = &mut self.held {
            hold.let_in(&node.id, (&request, most_ms));
        }
        self.queue.remove(id);
        self.running.push((ends, most, id.clone()));
    }
}

/// A day with a small job every 40 s, of half an hour and at most an hour: more than the slots take. Six clusters.
fn a_day(seed: u64, holds: bool) -> Day {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut day = Day::new(holds);
    let mut next_small_s = 0;
    let mut n = 1;
    while day.now_s < DAY_S + 4 * 3600 {
        let small = day
            .queue
            .iter()
            .filter(|id| day.jobs[*id].replicas == 1)
            .count();
        if day.now_s >= next_small_s && small < 6 {
            let lasts_s = rng.random_range(600..3000);
            day.comes(n, 1, (3600, lasts_s));
            next_small_s = day.now_s + rng.random_range(20..60);
            n += 1;
        }
        if day.now_s < DAY_S && day.now_s % 14_400 == 7200 {
            day.comes(n, GANG, (3600, 1800));
            n += 1;
        }
        day.turn();
        day.now_s += 10;
    }
    day
}

#[test]
fn a_cluster_behind_small_jobs_starts_as_soon_as_they_may_last_and_whole() {
    for seed in 1..=5 {
        let day = a_day(seed, true);
        assert_eq!(day.waits_of_gangs_s.len(), 6, "seed {seed}");
        for waited_s in &day.waits_of_gangs_s {
            // Who was there when its room began to be held has an hour, and whoever stood before it another.
            assert!(
                *waited_s <= HOLD_AFTER_S + 2 * 3600,
                "seed {seed}: {waited_s}"
            );
        }
        assert!(
            day.small_started > 150,
            "seed {seed}: {}",
            day.small_started
        );
    }
}

#[test]
fn without_room_held_it_is_overtaken_for_as_long_as_small_ones_come() {
    for seed in 1..=5 {
        let day = a_day(seed, false);
        assert_eq!(day.waits_of_gangs_s, [0; 0], "seed {seed}");
    }
}
