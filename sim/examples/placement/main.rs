//! What a placement costs: a seeded fleet, a published mix of requests, claims that are taken and
//! given back, heartbeats in between. Prints one JSON object; docs/performance.md explains it.
//! `cargo run --release -p nearlight-sim --example placement -- --nodes 100000 --requests 60000 --seed 1`
#![allow(clippy::print_stdout, reason = "its report is what it is for")]

use crate::fleet::{Fleet, METROS};
use crate::requests::{Class, Mix};
use nearlight_placement::{Decision, FleetIndex, Policy, SessionRequest, decide};
use nearlight_sim::fleet::World;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hash::{DefaultHasher, Hash};
use std::time::Instant;

mod fleet;
mod report;
mod requests;
mod verify;

/// Heartbeats between two requests: 100,000 nodes, one each 15 s, at 200 requests a second.
const HEARTBEATS: usize = 32;
/// Decisions whose answer is compared with checking every node, one by one.
const VERIFIED: usize = 24;
/// Requests before anything counts: caches and branch predictors are warm in a broker, too.
const WARM_UP: usize = 2_000;

/// What was measured, nanoseconds.
#[derive(Default)]
struct Measured {
    decisions: Vec<(Class, u64)>,
    /// Each of a whole batch.
    heartbeats: Vec<u64>,
    /// Of a claim or a release.
    claims: Vec<u64>,
    placed: [u64; 3],
    /// Of every decision, in order: two programs that print the same decide alike.
    digest: DefaultHasher,
    faults: Vec<String>,
}

fn main() {
    let [nodes, requests, seed] = ["--nodes", "--requests", "--seed"].map(argument);
    let (nodes, requests) = (nodes.unwrap_or(100_000), requests.unwrap_or(60_000));
    let seed = seed.unwrap_or(1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let world = World::new(METROS, &mut rng);
    let mut fleet = Fleet::new(
        &world,
        usize::try_from(nodes).unwrap_or(usize::MAX),
        &mut rng,
    );
    let mut index = FleetIndex::default();
    let building = Instant::now();
    fleet.nodes.iter().for_each(|node| index.put(node));
    let built = building.elapsed();
    let mix = Mix::new(&world, &mut rng);
    let requests = usize::try_from(requests).unwrap_or(usize::MAX);
    let measured = measure(&mut fleet, &mut index, &mix, requests, &mut rng);
    let report = report::render(&fleet, &measured, (seed, built));
    println!("{report}");
    if !measured.faults.is_empty() {
        std::process::exit(1);
    }
}

/// The number after `name`.
fn argument(name: &str) -> Option<u64> {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next()?.parse().ok()
}

fn measure(
    fleet: &mut Fleet,
    index: &mut FleetIndex,
    mix: &Mix,
    requests: usize,
    rng: &mut ChaCha8Rng,
) -> Measured {
    let policy = Policy::default();
    let mut measured = Measured::default();
    let verified_each = (requests / VERIFIED).max(1);
    for number in 0..WARM_UP + requests {
        beat(fleet, index, &mut measured, rng);
        let (class, request) = mix.next(rng);
        let roll = rng.random_range(0..1_000_000);
        let from = Instant::now();
        let decision = decide(index, &request, &policy, &mut |n| roll % n);
        let took = nanoseconds(from);
        if number % verified_each == 0 {
            let fault = verify::compare(&fleet.nodes, &request, &policy, &decision);
            measured.faults.extend(fault);
        }
        if number == WARM_UP {
            measured.heartbeats.clear();
            measured.claims.clear();
        }
        if let Decision::Place { node, why, .. } = &decision {
            (node.as_str(), why.points()).hash(&mut measured.digest);
        }
        if number >= WARM_UP {
            measured.decisions.push((class, took));
            let placed = matches!(decision, Decision::Place { .. });
            measured.placed[class as usize] += u64::from(placed);
        }
        act(fleet, index, (class, &request, decision), &mut measured);
    }
    measured
}

/// Some nodes say how they are: each of them changes in the index.
fn beat(fleet: &mut Fleet, index: &mut FleetIndex, measured: &mut Measured, rng: &mut ChaCha8Rng) {
    // As they come off the wire: with an id of their own.
    let said: Vec<_> = (0..HEARTBEATS)
        .map(|_| {
            let at = fleet.drift(rng);
            (fleet.nodes[at].id.clone(), fleet.nodes[at].state.clone())
        })
        .collect();
    let from = Instant::now();
    for (id, state) in &said {
        index.set_state(id, state);
    }
    measured
        .heartbeats
        .push(nanoseconds(from) / HEARTBEATS as u64);
}

/// Takes the claim, and lets the oldest one go once there are many.
fn act(
    fleet: &mut Fleet,
    index: &mut FleetIndex,
    (class, request, decision): (Class, &SessionRequest, Decision),
    measured: &mut Measured,
) {
    let Decision::Place { node, .. } = decision else {
        return;
    };
    if class == Class::Unsatisfiable {
        measured
            .faults
            .push(format!("placed what nobody can run, on {node}"));
    }
    for at in fleet.claim(&node, request) {
        let node = &fleet.nodes[at];
        let from = Instant::now();
        index.set_state(&node.id, &node.state);
        measured.claims.push(nanoseconds(from));
    }
}

fn nanoseconds(from: Instant) -> u64 {
    u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
