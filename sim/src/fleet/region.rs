//! One region: its broker's memory, its nodes, its players, and the clock that moves them.

use super::Config;
use super::clock::{Agenda, Happens, NodeNo, NodeStep, SessionNo, SessionStep};
use super::demand::{Demand, TENANTS, Wants};
use super::machines;
use super::node::Node;
use super::session::Session;
use super::tally::Tally;
use super::world::World;
use super::{Broken, Report};
use nearlight_placement::{FleetIndex, Policy};
use nearlight_protocol::id::{NodeId, SessionId};
use nearlight_protocol::unit::MonoTime;
use nearlight_session::queue::Lines;
use nearlight_session::queue::forecast::Forecast;
use nearlight_session::{Epoch, Queue};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

pub(crate) const SECOND_US: u64 = 1_000_000;
pub(crate) const MINUTE_US: u64 = 60 * SECOND_US;
pub(crate) const HOUR_US: u64 = 60 * MINUTE_US;
/// After the last visit, until everything must have ended: the longest session, and its ends.
const AFTER_US: u64 = 6 * HOUR_US;

/// What a step finds broken.
pub(crate) type Sound = Result<(), String>;

/// A region.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) config: Config,
    pub(crate) policy: Policy,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now: MonoTime,
    pub(crate) agenda: Agenda,
    pub(crate) world: World,
    pub(crate) demand: Demand,
    pub(crate) nodes: Vec<Node>,
    pub(crate) by_id: HashMap<NodeId, usize>,
    /// Nodes by metro, for the oracle.
    pub(crate) by_metro: Vec<Vec<usize>>,
    pub(crate) sessions: HashMap<SessionNo, Session>,
    pub(crate) came: SessionNo,
    pub(crate) visits_until_us: u64,
    /// The broker's memory: gone when it dies.
    pub(crate) broker: Option<Broker>,
    pub(crate) tally: Tally,
}

/// What a broker keeps in memory.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    pub(crate) index: FleetIndex,
    pub(crate) queue: Queue,
    pub(crate) waiting: HashMap<SessionId, SessionNo>,
    /// A turn is on the agenda for then.
    pub(crate) turn_at: Option<u64>,
    /// Nodes that have improved while somebody waits.
    pub(crate) openings: BTreeSet<usize>,
    /// Those who wait for the same in the same metro.
    pub(crate) lines: Lines<(usize, Wants)>,
    /// How long sessions of late have lasted, milliseconds.
    pub(crate) durations: VecDeque<u64>,
    /// What is told where the pace of a line is not known, and when it was computed.
    pub(crate) forecast: Option<(MonoTime, Forecast)>,
    /// Sessions that each operator has of a tenant's: the larger ones, and all others as one.
    pub(crate) held: Vec<BTreeMap<String, u32>>,
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self {
            held: vec![BTreeMap::new(); TENANTS],
            ..Self::default()
        }
    }
}

impl Region {
    pub(crate) fn new(config: Config) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        let world = World::new(config.metros, &mut rng);
        let machines = machines::make(&world, config.nodes, &mut rng);
        let sessions = config.sessions_a_node_day * config.nodes as f64;
        let demand = Demand::new(&world, sessions, &mut rng);
        let mut by_metro = vec![Vec::new(); config.metros];
        let mut nodes = Vec::with_capacity(machines.len());
        for (at, machine) in machines.into_iter().enumerate() {
            by_metro[machine.metro].push(at);
            let rank = if rng.random_bool(0.08) {
                0
            } else {
                (16.0 * 1_000_f64.powf(rng.random())).min(1_000.0) as u32
            };
            nodes.push(Node::new(at as NodeNo, machine, rank));
        }
        let ids = nodes.iter().map(|node| node.view().id.clone());
        let hours = config.hours;
        Self {
            policy: config.policy.clone(),
            config,
            now: MonoTime(0),
            agenda: Agenda::default(),
            by_id: ids.zip(0..).collect(),
            world,
            demand,
            nodes,
            by_metro,
            sessions: HashMap::new(),
            came: 0,
            visits_until_us: (hours * HOUR_US as f64) as u64,
            broker: Some(Broker::new()),
            tally: Tally::default(),
            rng,
        }
    }

    /// Everything from the first visit until the last session has ended.
    pub(crate) fn run(mut self) -> Result<Report, Broken> {
        let sound = self.set_out().and_then(|()| self.go());
        match sound {
            Ok(()) => {
                self.count_uptime();
                Ok(super::report::render(&self))
            }
            Err(what) => Err(Broken {
                seed: self.config.seed,
                at_us: self.now.0,
                what,
            }),
        }
    }

    fn set_out(&mut self) -> Sound {
        for at in 0..self.nodes.len() {
            self.first_day(at)?;
        }
        for metro in 0..self.config.metros {
            self.next_visit(metro);
        }
        self.agenda.at(MINUTE_US, Happens::Housekeeping);
        self.agenda.at(HOUR_US, Happens::Audit);
        for at in self.config.restarts_h.clone() {
            let at_us = (at * HOUR_US as f64) as u64;
            self.agenda.at(at_us, Happens::BrokerDies);
        }
        Ok(())
    }

    fn go(&mut self) -> Sound {
        let end = self.visits_until_us + AFTER_US;
        while let Some((at_us, what)) = self.agenda.next() {
            if at_us > end || (at_us > self.visits_until_us && self.sessions.is_empty()) {
                break;
            }
            self.now = MonoTime(at_us);
            self.tally.events += 1;
            match what {
                Happens::Visit { metro } => self.visit(metro as usize)?,
                Happens::Session {
                    session,
                    epoch,
                    step,
                } => self.session_step(session, epoch, step)?,
                Happens::Node { node, life, step } => self.node_step(node as usize, life, step)?,
                Happens::Turn => self.turn()?,
                Happens::Housekeeping => {
                    self.keep_house();
                    self.agenda.at(at_us + MINUTE_US, what);
                }
                Happens::Audit => {
                    self.audit()?;
                    self.agenda.at(at_us + HOUR_US, what);
                }
                Happens::BrokerDies => self.broker_dies(),
                Happens::BrokerStarts => self.broker_starts()?,
            }
        }
        self.audit()?;
        self.all_over()
    }

    pub(crate) fn in_us(&mut self, us: u64, what: Happens) {
        self.agenda.at(self.now.0 + us, what);
    }

    pub(crate) fn session_in(
        &mut self,
        us: u64,
        session: SessionNo,
        epoch: Epoch,
        step: SessionStep,
    ) {
        let what = Happens::Session {
            session,
            epoch,
            step,
        };
        self.in_us(us, what);
    }

    pub(crate) fn node_in(&mut self, us: u64, at: usize, step: NodeStep) {
        let life = self.nodes[at].life;
        let node = at as NodeNo;
        self.in_us(us, Happens::Node { node, life, step });
    }

    /// Between two numbers of seconds, in microseconds.
    pub(crate) fn between_s(&mut self, least: f64, most: f64) -> u64 {
        (self.rng.random_range(least..most) * 1e6) as u64
    }

    /// Exponential with this mean, in microseconds.
    pub(crate) fn about_s(&mut self, mean: f64) -> u64 {
        (-(1.0 - self.rng.random::<f64>()).ln() * mean * 1e6) as u64 + 1
    }
}
