//! The session worker.
