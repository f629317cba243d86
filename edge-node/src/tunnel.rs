//! The way of requests from the broker to what runs here.
//!
//! - [`endpoints`]: where the ports of jobs are.

pub(crate) mod endpoints;
