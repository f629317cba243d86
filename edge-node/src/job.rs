//! Jobs on this node: a tenant's container, from its image to its end. Docker only, never the sandbox.
//!
//! In reading order:
//!
//! - [`host`]: what this host has for jobs, tried out at the start.
//! - [`machine`]: the life of a job as a pure state machine; [`driver`]: the one task that owns a job and carries
//!   out what the machine says; [`record`]: what is on disk; [`adopt`]: what the next agent does with it.
//! - [`launch`]: from an image to a container that runs. [`who`] and [`users`]: as whom; [`space`] and [`mounts`]: what it can
//!   write, and its secrets; [`request`]: every lock on it; [`engine`]: the Docker API.
//! - [`mesh`]: how the replicas of a cluster find each other, and start together.
//! - [`volumes`] and [`assets`]: what stays on the node between jobs; [`keeper`] tells the broker of it.
//! - [`network`], [`firewall`], [`egress`]: what it reaches, and what it never does.
//! - [`inside`]: what its tenant does in it: its log, commands, files. [`notice`]: what its program is told of its end.
//! - [`health`]: whether it is well. [`log`]: what it says; [`ended_logs`]: what stays of that. [`teardown`]: how it is
//!   taken apart.
//!
//! **Invariants.** A job reaches neither the host's services nor another job nor a private address. What it
//! writes is bounded in disk, memory and log. Its secrets are in memory for its user alone, and nowhere else.
//! It outlives the agent, and nothing of it outlives its session.
//!
//! **What it does not know:** the broker, who asks on a tunnel.

pub(crate) mod adopt;
pub(crate) mod ahead;
pub(crate) mod assets;
pub(crate) mod devices;
pub(crate) mod driver;
pub(crate) mod egress;
pub(crate) mod ended_logs;
pub(crate) mod engine;
pub(crate) mod firewall;
pub(crate) mod health;
pub(crate) mod host;
pub(crate) mod inside;
pub(crate) mod keeper;
pub(crate) mod launch;
pub(crate) mod log;
pub(crate) mod machine;
pub(crate) mod mesh;
mod meter;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod notice;
mod peak;
pub(crate) mod record;
pub(crate) mod request;
pub(crate) mod space;
pub(crate) mod teardown;
mod users;
pub(crate) mod volumes;
pub(crate) mod who;
