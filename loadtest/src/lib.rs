//! Load and impaired paths against the real roles. docs/loadtest.md says how each is used.

#![forbid(unsafe_code)]

pub mod path;
