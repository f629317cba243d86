//! One session on this node: its desktop's worker, its app, and the record that outlives us.
//!
//! - [`machine`]: the life of a session as a pure state machine.
//! - [`driver`]: the one task that owns a session and carries out what the machine says.
//! - [`launch`]: the worker process, from its directory to its connected socket.
//! - [`teardown`]: how a session is taken apart, by whoever has to.
//! - [`record`]: what is on disk, so that the next agent can adopt it.
//! - [`dirs`]: where a session's files and sockets are.
//!
//! **What it does not know:** the broker. Reports go to the agent, which keeps the newest.

pub(crate) mod dirs;
pub(crate) mod driver;
pub(crate) mod host;
pub(crate) mod launch;
pub(crate) mod machine;
pub(crate) mod record;
pub(crate) mod teardown;

/// A socket's path takes 107 bytes; the longest of ours below the run directory is
/// `/ses_<26>/desk/app/wayland-0`.
pub(crate) const RUN_DIR_BYTES_MAX: usize = 107 - (1 + 30 + "/desk/app/wayland-0".len());
