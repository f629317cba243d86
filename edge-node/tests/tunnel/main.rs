//! Requests to jobs, end to end: a real broker with its endpoint, the node's real tunnels, and real servers in
//! place of containers. Only the control stream is played, for no job driver is needed to answer a request; but in
//! [`killed`], where agents and containers are real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the broker's own tests"
)]
#[path = "../../../session-broker/tests/process/edge.rs"]
mod edge;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the broker's own tests"
)]
#[path = "../../../session-broker/tests/process/http.rs"]
mod http;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the broker's own tests"
)]
#[path = "../../../session-broker/tests/process/rig.rs"]
mod rig;

#[path = "../support/mod.rs"]
mod support;

mod balancer;
mod brokers;
mod direct;
mod ended;
mod ends;
mod heads;
mod killed;
mod rights;
mod scopes;
mod streams;
mod tls;
mod upstream;
mod world;
