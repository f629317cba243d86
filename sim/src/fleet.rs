//! A region's day on a virtual clock: nodes, players and a broker around the real core crates.
//!
//! ```text
//!   players (demand) --visit--> broker: Queue, decide over FleetIndex, a Lifecycle a session
//!        ^                        |  claim: slot, epoch             ^
//!        | attach, leave          v                                 | reports, while linked
//!        +------------- nodes (machines): EpochJournal, what runs --+
//! ```
//!
//! Placement, queue, ETA, session lives and epochs are the broker's and the edge's own, from
//! core/placement and core/session. What is simulated is what they are told: who comes, what nodes
//! there are, when they crash, drain, lose their network and come back, and a broker that dies and
//! finds what its ledger has. `machines` and `demand` publish the mixes.
//!
//! **Checked.** No slot is held twice, and a node's claims never exceed it (I1); an edge never runs two
//! sessions in a slot (I2); everything ends (I4); nothing falls below zero; every refusal has a reason
//! and counts every node; a sample of placements is held against a check of every node. All books are
//! compared each virtual hour. What breaks comes out as [`Broken`], with the seed and the time; the same
//! configuration replays it.
//!
//! **What the model does not know.** Commits that take time, fail or are lost: a claim is durable at once.
//! Several brokers: herds of deciders on old news. Heartbeats that say nothing new: they cost the index
//! 0.6 us each and change nothing. What a game really uses of a machine, so admission here is as good as
//! its numbers. Round trips that change in a day, or estimates that are far off. Players who move, or who
//! come in groups. Prices. The broker's turns while somebody waits are 250 ms apart.

mod audit;
mod broker;
mod clock;
mod demand;
mod edges;
mod eta;
mod machines;
mod node;
mod region;
mod report;
mod session;
mod tally;
mod visits;
mod world;

use nearlight_placement::Policy;

pub use report::{EtaReport, Quantiles, Report, Troubles};
pub use world::{Metro, World};

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Makes everything that is by chance.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Metros.
    pub metros: usize,
    /// Virtual hours with visits; then everything ends.
    pub hours: f64,
    /// Sessions that are asked for in a day, a node.
    pub sessions_a_node_day: f64,
    /// When the broker dies, hours.
    pub restarts_h: Vec<f64>,
    /// How the broker places.
    pub policy: Policy,
}

impl Config {
    /// A fleet's usual day, with one death of the broker in the middle of it.
    pub fn day(nodes: usize, hours: f64, seed: u64) -> Self {
        Self {
            seed,
            nodes,
            metros: (nodes / 100).clamp(5, 200),
            hours,
            sessions_a_node_day: 20.0,
            restarts_h: vec![hours * 0.6],
            policy: Policy::default(),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`Broken`] where an invariant does not hold.
    pub fn run(self) -> Result<Report, Broken> {
        region::Region::new(self).run()
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}, {} s after the start: {what}; run it again with the same configuration", at_us / 1_000_000)]
pub struct Broken {
    /// The seed that replays it.
    pub seed: u64,
    /// The virtual time, microseconds.
    pub at_us: u64,
    /// What is wrong.
    pub what: String,
}
