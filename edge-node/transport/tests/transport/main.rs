//! The transport as its users see it: the agent's handle on one side, a worker's socket on another,
//! and a native WebRTC viewer (the crate `webrtc`) on the third, all over loopback.

mod hostile;
mod lifecycle;
mod network;
mod playing;
mod support;
