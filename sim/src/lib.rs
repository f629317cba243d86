//! Network paths on a virtual clock: the same model drives the path relay of `loadtest`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod path;
