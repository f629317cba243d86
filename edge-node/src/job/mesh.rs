//! The private network of a cluster's replicas on this host, and how they find each other.
//!
//! Each replica has a network of its own, like every job: its egress and its endpoint are there. Beside it the
//! replicas of one run share this one, which leads nowhere else: not to the host, not to any other address. It
//! is made by whichever comes first, on whichever node of the engine, and removed by the last. Replica `n` has
//! the address after the host's with that number, and the name `r<n>` in each other's /etc/hosts.
//!
//! **The barrier.** A replica's program starts once the containers of all are made. The engine that they share
//! is asked: so no agent needs another, and an agent that was killed holds nobody up but its own.
//!
//! **What it does not know:** the broker, why a cluster ends.

use super::engine::Engine;
use super::launch::LaunchError;
use super::network::{Pool, tail_of};
use crate::limits::{BARRIER_LOOK_EVERY, SUBNET_TRIES};
use crate::runtime::RuntimeError;
use nearlight_protocol::job::{Cluster, JobSpec};
use nearlight_protocol::work::Replica;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::net::Ipv4Addr;
use std::time::Duration;

/// Addresses of a network that no replica gets: its own, the host's, and the one for all.
const ADDRESSES_BESIDE: u32 = 3;

/// The network of one run of a cluster, by its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mesh {
    first: Ipv4Addr,
    bits: u32,
}

impl Mesh {
    /// From the engine's text of a network that is there.
    pub(crate) fn parse(subnet: &str) -> Option<Self> {
        let (first, bits) = subnet.split_once('/')?;
        Some(Self {
            first: first.parse().ok()?,
            bits: bits.parse().ok().filter(|bits| *bits <= 30)?,
        })
    }

    /// The network to try at an attempt; `None` if the range has none so large.
    fn of(pool: Pool, replica: &Replica, attempt: u32) -> Option<Self> {
        let needs = replica.of + ADDRESSES_BESIDE;
        let bits = 32 - needs.next_power_of_two().trailing_zeros();
        let first = pool.range(&network(replica), bits, attempt)?;
        Some(Self { first, bits })
    }

    /// The host's address.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + 1)
    }

    /// A replica's address.
    pub(crate) fn address(self, rank: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + 2 + rank)
    }

    /// The lines of /etc/hosts that name all replicas.
    pub(crate) fn hosts(self, replica: &Replica) -> String {
        let mut text = String::new();
        for rank in 0..replica.of {
            // A String takes whatever is written to it.
            let _ = writeln!(text, "{}\t{}", self.address(rank), name(rank));
        }
        text
    }
}

impl fmt::Display for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// A replica's name to the others, and its container's own.
pub(crate) fn name(rank: u32) -> String {
    format!("r{rank}")
}

/// The network's name at the engine: of one run of one cluster.
pub(crate) fn network(replica: &Replica) -> String {
    format!("nearlight-{}-{}", replica.cluster, replica.run)
}

/// The name of its bridge: all that the kernel allows, 15 bytes. Two runs in a row differ.
pub(crate) fn bridge(replica: &Replica) -> String {
    let tail = tail_of(&replica.cluster).to_ascii_lowercase();
    format!("nc{tail}{}", replica.run % 10)
}

/// What a replica's program is told of the others. Most of what starts training reads these.
pub(crate) fn environment(replica: &Replica, spec: &JobSpec) -> Vec<String> {
    let port = spec.cluster.as_ref().map_or(0, |of| of.rendezvous_port);
    let first = name(0);
    let mut env = vec![
        format!("NNODES={}", replica.of),
        format!("NODE_RANK={}", replica.rank),
        format!("MASTER_ADDR={first}"),
        format!("MASTER_PORT={port}"),
    ];
    let has_head = |of: &Cluster| !of.head_command.is_empty();
    if replica.rank > 0 && spec.cluster.as_ref().is_some_and(has_head) {
        env.push(format!("RAY_ADDRESS={first}:{port}"));
    }
    env
}

/// Makes the network, or finds the one that another replica has made.
pub(crate) async fn make(
    engine: &Engine,
    pool: Pool,
    replica: &Replica,
) -> Result<Mesh, LaunchError> {
    for attempt in 0..SUBNET_TRIES {
        if let Some(mesh) = engine.mesh(replica).await? {
            return Ok(mesh);
        }
        let Some(mesh) = Mesh::of(pool, replica, attempt) else {
            break;
        };
        if engine.create_mesh(replica, mesh).await? {
            return Ok(mesh);
        }
    }
    Err(LaunchError::NoNetwork(pool.into()))
}

/// Waits until the containers of all replicas are made, then starts this one's.
pub(crate) async fn start_with_all(
    engine: &Engine,
    container: &str,
    replica: &Replica,
    within: Duration,
) -> Result<(), LaunchError> {
    let all = async {
        let mut look = tokio::time::interval(BARRIER_LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if engine.made_of(replica).await? >= replica.of {
                return Ok::<(), RuntimeError>(());
            }
        }
    };
    match tokio::time::timeout(within, all).await {
        Ok(all) => all?,
        Err(_elapsed) => return Err(LaunchError::Alone(replica.of)),
    }
    Ok(engine.start(container).await?)
}

#[cfg(test)]
mod test {
    use super::*;

    fn replica(rank: u32, of: u32) -> Replica {
        Replica {
            cluster: nearlight_kit::ids::session(),
            run: 12,
            rank,
            of,
        }
    }

    #[test]
    fn each_replica_has_an_address_within_the_network_and_a_name() {
        let pool: Pool = "10.231.0.0/16".parse().unwrap();
        for of in [2, 13, 14, 64] {
            let replica = replica(0, of);
            let mesh = Mesh::of(pool, &replica, 0).unwrap();
            let last = u32::from(mesh.first) + (1 << (32 - mesh.bits)) - 1;
            assert!(u32::from(mesh.address(of - 1)) < last, "{mesh} for {of}");
            assert_eq!(Mesh::parse(&mesh.to_string()), Some(mesh));
            assert_ne!(Mesh::of(pool, &replica, 1), Some(mesh));
        }
        let mesh = Mesh::parse("10.231.4.0/29").unwrap();
        let hosts = mesh.hosts(&replica(1, 3));
        assert_eq!(hosts, "10.231.4.2\tr0\n10.231.4.3\tr1\n10.231.4.4\tr2\n");
        assert_eq!(mesh.gateway(), Ipv4Addr::new(10, 231, 4, 1));
        let small: Pool = "10.231.0.0/26".parse().unwrap();
        assert_eq!(Mesh::of(small, &replica(0, 64), 0), None);
        assert_eq!(Mesh::parse("10.0.0.0/99"), None);
    }

    #[test]
    fn names_fit_and_tell_runs_apart() {
        let one = replica(0, 3);
        let mut two = one.clone();
        assert_eq!(bridge(&one).len(), 15);
        two.run += 1;
        assert_ne!(bridge(&one), bridge(&two));
        assert_ne!(network(&one), network(&two));
        two.rank = 2;
        two.run -= 1;
        assert_eq!(network(&one), network(&two), "all of a run meet");
    }

    #[test]
    fn all_are_told_where_to_meet_and_all_but_a_head_where_it_is() {
        let cluster = |head: &[&str]| {
            let mut spec = JobSpec::of_image("registry.example/x:1");
            spec.cluster = Some(Cluster {
                replicas: 3,
                rendezvous_port: 6379,
                head_command: head.iter().map(|word| (*word).to_owned()).collect(),
                on_failure: nearlight_protocol::job::OnFailure::End,
            });
            spec
        };
        let told = |rank, spec: &JobSpec| environment(&replica(rank, 3), spec);
        let all = [
            "NNODES=3",
            "NODE_RANK=1",
            "MASTER_ADDR=r0",
            "MASTER_PORT=6379",
        ];
        assert_eq!(told(1, &cluster(&[])), all);
        let with_head = cluster(&["ray"]);
        assert!(!told(0, &with_head).iter().any(|v| v.starts_with("RAY")));
        assert_eq!(told(1, &with_head)[4], "RAY_ADDRESS=r0:6379");
    }
}
