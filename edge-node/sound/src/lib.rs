//! An in-process PulseAudio server: a session's sound, mixed and encoded with Opus.

mod server;

pub use server::{Counters, Options, PacketSink, SoundServer, StartError, start};
