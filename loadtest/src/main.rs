//! `loadtest`: load and impaired paths against the real roles.

fn main() {}
