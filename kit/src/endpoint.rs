//! What everybody has in common who serves jobs to callers: a broker, and a node with an address of its own.
//!
//! - [`listen`]: where callers are taken, as an operator says it.
//! - [`site`]: which host is which session's, and the other way round.
//! - [`right`]: what a request shows, and whether that opens the port.
//! - [`head`]: what of a head goes on, and of an answer's back.
//!
//! **Invariants.** Each session is an origin of its own: its cookie is of no use to another, and what a page of another
//! origin sends with a visitor's cookie is refused. Tickets, keys and cookies of ours never reach a container, and no
//! container learns a caller's address.
//!
//! **What it does not know:** who signs tickets, what was spent or revoked, where a session is.

pub mod head;
pub mod listen;
pub mod right;
pub mod site;
