//! The transport as its users see it: the agent's handle on one side, a worker's socket on another,
//! and a native WebRTC viewer (the crate `webrtc`) on the third, all over loopback.

#[cfg(test)]
mod codecs;
#[cfg(test)]
mod congestion;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod line_check;
#[cfg(test)]
mod network;
#[cfg(test)]
mod playing;
#[cfg(test)]
mod stages;
#[cfg(test)]
mod support;
#[cfg(test)]
mod watchers;
