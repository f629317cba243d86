//! What is done to a region, and when: a function of the seed alone.
//!
//! Times count from the moment at which all brokers serve and all nodes are attached. What the
//! processes make of it varies from run to run; what is done to them does not.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Between two faults, milliseconds.
const FAULT_EVERY_MS: (u64, u64) = (300, 2500);
/// Between two requests of one client, milliseconds.
const ASK_EVERY_MS: (u64, u64) = (20, 600);
/// How long a process is stopped, or a line cut: about as long as a broker is given, and longer than a
/// node's lease.
const AWAY_MS: (u64, u64) = (300, 8000);
/// How long a broker is cut off from everybody: longer than it is given, with its nodes' grace time, so that what
/// may run elsewhere does.
const CUT_OFF_MS: (u64, u64) = (20_000, 26_000);
/// How long a killed process is down.
const DOWN_MS: (u64, u64) = (0, 3000);

/// How large everything is.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Size {
    /// For how long faults and requests come, milliseconds.
    pub(super) ms: u64,
    /// Brokers.
    pub(super) brokers: usize,
    /// Nodes that behave.
    pub(super) edges: usize,
    /// Clients.
    pub(super) clients: usize,
    /// What becomes of the database in the middle of the run.
    pub(super) failover: Failover,
    /// What breaks.
    pub(super) faults: Faults,
    /// Of a hundred sessions that are asked for, gangs.
    pub(super) gangs: u8,
}

/// A gang of jobs, which begin together and share one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gang {
    /// How many.
    pub(super) replicas: u8,
    /// Whether all run again, once, when one fails.
    pub(super) again: bool,
}

/// What becomes of the database in the middle of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Failover {
    /// Nothing but crashes.
    None,
    /// A synchronous standby takes over: nothing may be lost.
    Synchronous,
    /// A standby that lags takes over: what was acked meanwhile may be lost, and only that.
    Lagging,
}

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Faults {
    /// Everything; lines are proxies that hold back what passes.
    All,
    /// Lines between brokers, and to the database, whose packets are dropped. In a network of the run's own.
    Partitions,
}

impl Faults {
    /// How long a node may be away and keep what it runs, seconds: whoever hears nothing needs longer to find out
    /// that it is cut off than who hears that it is.
    pub(super) const fn node_grace_s(self) -> u64 {
        match self {
            Self::All => 4,
            Self::Partitions => 12,
        }
    }

    /// From the first picture to an end by itself, milliseconds: what is cut off has to run for longer than that.
    pub(super) const fn hold_ms(self) -> (u64, u64) {
        match self {
            Self::All => (500, 8000),
            Self::Partitions => (500, 45_000),
        }
    }
}

/// The schedule.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Plan {
    /// Of everything.
    pub(super) seed: u64,
    /// How large everything is.
    pub(super) size: Size,
    /// What each client asks, in order.
    pub(super) clients: Vec<Vec<Step>>,
    /// What breaks, in order.
    pub(super) faults: Vec<(u64, Fault)>,
}

/// One request of a client.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Step {
    /// When, milliseconds; later if the one before takes longer.
    pub(super) at_ms: u64,
    /// Which broker is asked.
    pub(super) broker: usize,
    /// For what.
    pub(super) act: Act,
}

/// What a client asks for. A number chooses among the sessions that it has created, modulo.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Act {
    /// A new session.
    Create,
    /// A new gang.
    CreateGang(Gang),
    /// A session that it has asked for before, under the same key.
    Again(u16),
    /// How a session is.
    Look(u16),
    /// That a session ends.
    End(u16),
    /// All sessions.
    List,
}

/// Which way of a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Way {
    /// From who connected.
    Asking,
    /// To who connected.
    Answering,
    /// Both.
    Both,
}

/// What breaks.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub(super) enum Fault {
    /// kill -9 of a broker; it is started again.
    KillBroker {
        /// Which.
        broker: usize,
        /// Until it is started again.
        down_ms: u64,
    },
    /// SIGTERM to a broker; it is started again.
    TerminateBroker {
        /// Which.
        broker: usize,
        /// Until it is started again.
        down_ms: u64,
    },
    /// SIGSTOP to a broker, and SIGCONT.
    StopBroker {
        /// Which.
        broker: usize,
        /// Until it goes on.
        for_ms: u64,
    },
    /// kill -9 of PostgreSQL; it is started again.
    CrashLedger {
        /// Until it is started again.
        down_ms: u64,
    },
    /// Nothing gets from a broker to PostgreSQL, or back, or both.
    CutLedger {
        /// Which broker.
        broker: usize,
        /// What is cut.
        way: Way,
        /// Until it goes on.
        for_ms: u64,
        /// Whether the connections break then.
        breaks: bool,
    },
    /// The same between a broker and those of its peers that ask it.
    CutPeers {
        /// Which broker is asked.
        broker: usize,
        /// What is cut.
        way: Way,
        /// Until it goes on.
        for_ms: u64,
        /// Whether the connections break then.
        breaks: bool,
    },
    /// Nothing gets from a broker to PostgreSQL and to its peers, nor back; its nodes are there.
    CutOff {
        /// Which broker.
        broker: usize,
        /// Until it goes on.
        for_ms: u64,
    },
    /// kill -9 of an edge, with or without the machine that its sessions run on.
    KillEdge {
        /// Which.
        edge: usize,
        /// Whether its sessions live on.
        keeps: bool,
        /// Until it is started again; `None` for never.
        down_ms: Option<u64>,
    },
    /// An edge's control stream breaks.
    DropStream {
        /// Which edge's.
        edge: usize,
    },
    /// The standby hears no more of the primary.
    Lag,
    /// The primary is killed, and the standby promoted.
    FailOver,
}

impl Plan {
    /// The schedule of a seed.
    pub(super) fn new(seed: u64, size: Size) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let clients = (0..size.clients).map(|_| steps(&mut rng, size)).collect();
        Self {
            seed,
            size,
            clients,
            faults: faults(&mut rng, size),
        }
    }
}

impl Gang {
    /// What a number chooses, which has chosen nothing yet: so that seeds with gangs and without are alike in
    /// everything else.
    fn of(pick: u16, of_hundred: u8) -> Option<Self> {
        let (is_gang, rest) = (pick % 100 < of_hundred.into(), pick / 100);
        is_gang.then_some(Self {
            replicas: if rest % 2 == 0 { 2 } else { 3 },
            again: rest / 2 % 2 == 0,
        })
    }
}

fn within(rng: &mut StdRng, (from, to): (u64, u64)) -> u64 {
    rng.random_range(from..=to)
}

fn steps(rng: &mut StdRng, size: Size) -> Vec<Step> {
    let (mut at_ms, mut steps) = (0, Vec::new());
    loop {
        at_ms += within(rng, ASK_EVERY_MS);
        if at_ms >= size.ms {
            return steps;
        }
        let pick = rng.random();
        let act = match rng.random_range(0..100) {
            0..35 => Gang::of(pick, size.gangs).map_or(Act::Create, Act::CreateGang),
            35..42 => Act::Again(pick),
            42..70 => Act::Look(pick),
            70..95 => Act::End(pick),
            _ => Act::List,
        };
        let broker = rng.random_range(0..size.brokers);
        steps.push(Step { at_ms, broker, act });
    }
}

fn faults(rng: &mut StdRng, size: Size) -> Vec<(u64, Fault)> {
    if size.faults == Faults::Partitions {
        return partitions(rng, size);
    }
    let (mut at_ms, mut faults) = (0, Vec::new());
    // The last edge is always there, or nothing would be placed.
    let mut losable = size.edges.saturating_sub(1);
    loop {
        at_ms += within(rng, FAULT_EVERY_MS);
        if at_ms >= size.ms {
            break;
        }
        let fault = fault(rng, size, &mut losable);
        faults.push((at_ms, fault));
    }
    if size.failover != Failover::None {
        let middle = size.ms / 2;
        if size.failover == Failover::Lagging {
            faults.push((middle.saturating_sub(within(rng, (200, 3000))), Fault::Lag));
        }
        faults.push((middle, Fault::FailOver));
        // A crash of the one while it replaces the other would be a third fault of its own.
        faults.retain(|(at, fault)| {
            !matches!(fault, Fault::CrashLedger { .. })
                || *at + 5000 < middle
                || *at > middle + 5000
        });
        faults.sort_by_key(|(at, _)| *at);
    }
    faults
}

/// A broker that is cut off first, then lines at random, most of them one way; brokers that are alone have no peers
/// to be cut from.
fn partitions(rng: &mut StdRng, size: Size) -> Vec<(u64, Fault)> {
    let mut at_ms = within(rng, FAULT_EVERY_MS);
    let (broker, for_ms) = (rng.random_range(0..size.brokers), within(rng, CUT_OFF_MS));
    let mut faults = vec![(at_ms, Fault::CutOff { broker, for_ms })];
    loop {
        at_ms += within(rng, FAULT_EVERY_MS);
        if at_ms >= size.ms {
            return faults;
        }
        let broker = rng.random_range(0..size.brokers);
        let for_ms = within(rng, AWAY_MS);
        let way = match rng.random_range(0..5) {
            0 | 1 => Way::Asking,
            2 | 3 => Way::Answering,
            _ => Way::Both,
        };
        let breaks = false;
        let fault = match rng.random() {
            true => Fault::CutLedger {
                broker,
                way,
                for_ms,
                breaks,
            },
            false => Fault::CutPeers {
                broker,
                way,
                for_ms,
                breaks,
            },
        };
        faults.push((at_ms, fault));
    }
}

fn fault(rng: &mut StdRng, size: Size, losable: &mut usize) -> Fault {
    let broker = rng.random_range(0..size.brokers);
    let edge = rng.random_range(0..size.edges);
    let (down_ms, for_ms) = (within(rng, DOWN_MS), within(rng, AWAY_MS));
    let breaks = rng.random();
    let way = match rng.random_range(0..3) {
        0 => Way::Asking,
        1 => Way::Answering,
        _ => Way::Both,
    };
    match rng.random_range(0..100) {
        0..15 => Fault::KillBroker { broker, down_ms },
        15..25 => Fault::TerminateBroker { broker, down_ms },
        25..37 => Fault::StopBroker { broker, for_ms },
        37..45 => Fault::CrashLedger { down_ms },
        45..57 => Fault::CutLedger {
            broker,
            way,
            for_ms,
            breaks,
        },
        57..67 => Fault::CutPeers {
            broker,
            way,
            for_ms,
            breaks,
        },
        67..70 if *losable > 0 => {
            *losable -= 1;
            Fault::KillEdge {
                edge: *losable,
                keeps: false,
                down_ms: None,
            }
        }
        67..85 => Fault::KillEdge {
            edge,
            keeps: rng.random(),
            down_ms: Some(for_ms),
        },
        _ => Fault::DropStream { edge },
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const SIZE: Size = Size {
        ms: 20_000,
        brokers: 2,
        edges: 4,
        clients: 8,
        failover: Failover::Lagging,
        faults: Faults::All,
        gangs: 30,
    };

    #[test]
    fn a_seed_is_a_schedule() {
        let plan = |seed| serde_json::to_string(&Plan::new(seed, SIZE)).unwrap();
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn some_ask_for_gangs_and_the_rest_of_a_seed_stays_as_it_was() {
        let without = Plan::new(7, Size { gangs: 0, ..SIZE });
        let with = Plan::new(7, SIZE);
        let (mut gangs, mut kinds) = (0, std::collections::BTreeSet::new());
        for (one, two) in without.clients.iter().zip(&with.clients) {
            for (one, two) in one.iter().zip(two) {
                let is_same = format!("{one:?}") == format!("{two:?}");
                if let (Act::Create, Act::CreateGang(gang)) = (one.act, two.act) {
                    gangs += 1;
                    kinds.insert((gang.replicas, gang.again));
                } else {
                    assert!(is_same, "{one:?} and {two:?}");
                }
            }
        }
        assert!(gangs > 20 && kinds.len() == 4, "{gangs} {kinds:?}");
        let faults = |plan: &Plan| serde_json::to_string(&plan.faults).unwrap();
        assert_eq!(faults(&without), faults(&with));
    }

    #[test]
    fn of_partitions_nothing_else_breaks_and_somebody_is_cut_off_for_as_long_as_matters() {
        let size = Size {
            failover: Failover::None,
            faults: Faults::Partitions,
            ..SIZE
        };
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let faults = Plan::new(seed, size).faults;
            let cut_off = |fault: &Fault| matches!(fault, Fault::CutOff { for_ms, .. } if *for_ms >= CUT_OFF_MS.0);
            assert!(faults.iter().any(|(_, fault)| cut_off(fault)));
            for (_, fault) in faults {
                let json = serde_json::to_value(fault).unwrap();
                kinds.insert(json["fault"].as_str().unwrap().to_owned());
            }
        }
        assert!(kinds.iter().eq(["cut-ledger", "cut-off", "cut-peers"]));
    }

    #[test]
    fn everything_breaks_in_some_seed_and_nothing_that_is_not_there() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            for (at, fault) in Plan::new(seed, SIZE).faults {
                assert!(at < SIZE.ms);
                let json = serde_json::to_value(fault).unwrap();
                kinds.insert(json["fault"].as_str().unwrap().to_owned());
                assert!(json["broker"].as_u64().is_none_or(|n| n < 2));
                assert!(json["edge"].as_u64().is_none_or(|n| n < 4));
            }
        }
        assert_eq!(kinds.len(), 10, "{kinds:?}");
    }
}
