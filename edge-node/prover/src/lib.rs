//! The legs of a proof of capacity on a GPU: WGSL through wgpu, equal to core/proof bit for bit (docs/proof.md).
//!
//! - [`gpu`]: a device, its buffers, one shader at a time.
//! - [`legs`]: a probe from its seed to its opening; [`serve`]: the same for an agent, over two pipes; [`program`]: what
//!   runs it.
//! - [`check`]: a device against the oracle, and its figures; [`class`]: its times, as a class of the table.
//! - [`matrix`], [`fill`], [`reads`], [`render`]: a leg each, with a shader each in `wgsl/`.
//!
//! Shaders have 32-bit integers alone: products of 62 bits are put together from halves of 16. Nothing depends on
//! the order of threads. Leaves are hashed on the host.
//!
//! **Invariants.** A binding is never larger than the device takes: what is larger lies in several buffers. No dispatch
//! runs long: a lane reads a segment, a block is made some steps at a time. Two are submitted at the most.
//!
//! **What it does not know:** who asks, time, what is opened.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod check;
pub mod class;
pub mod fill;
pub mod gpu;
pub mod legs;
pub mod matrix;
pub mod program;
pub mod reads;
pub mod render;
pub mod serve;
