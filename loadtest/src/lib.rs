//! Load and impaired paths against the real roles.

#![forbid(unsafe_code)]
