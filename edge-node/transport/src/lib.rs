//! WebRTC for all sessions of a node on one UDP port: sans-IO core, one thread, no async runtime.
