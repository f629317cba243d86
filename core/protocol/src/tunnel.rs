//! Tunnels: HTTP/2 connections on which a broker sends requests to a session's container.
//!
//! ```text
//! edge                                          broker
//!  | <---------- OpenTunnel{tunnel, session} ---- |   on the control stream
//!  | -- TCP, mTLS, ALPN `nearlight-tunnel/1` ---> |   to the node listener
//!  | -- the tunnel's id, 30 bytes --------------> |
//!  | <-------------------------- one byte ------- |   [`TAKEN`], or [`UNKNOWN`] and closed
//!  | <===== HTTP/2, the broker is the client ==== |
//! ```
//!
//! From then on the roles are turned round: the broker opens streams, one a request, and the edge
//! answers. The first request is `GET` [`GREETING`], answered with 204: from then on the broker knows the
//! edge's settings. A request that changes the protocol (WebSocket) is an extended CONNECT (RFC 8441) of the protocol
//! [`UPGRADE`], its method and its `Upgrade` in headers of ours; 200 stands for 101.
//!
//! **Invariants.** An id is used once, by the node that it was made for, at the broker that made it. A
//! tunnel carries requests of one session alone. Headers of ours never reach a container or a caller.

/// What both ends say in ALPN (RFC 7301). Not `h2`, whose client is the one that dials.
pub const ALPN: &[u8] = b"nearlight-tunnel/1";
/// Bytes of an id on the wire.
pub const ID_BYTES: usize = 30;
/// The broker takes the tunnel.
pub const TAKEN: u8 = 1;
/// The broker has not asked for it, or another node does. Behind a load balancer: dial again.
pub const UNKNOWN: u8 = 0;

/// The path of the first request.
pub const GREETING: &str = "/nearlight-greeting";
/// The `:protocol` of requests that change the protocol.
pub const UPGRADE: &str = "nearlight-upgrade";

/// What headers of ours begin with. Callers' are removed.
pub const HEADER_PREFIX: &str = "x-nearlight-";
/// The session that a request is for.
pub const SESSION: &str = "x-nearlight-session";
/// The epoch that it runs under, decimal.
pub const EPOCH: &str = "x-nearlight-epoch";
/// The port, by name; empty for the first.
pub const PORT: &str = "x-nearlight-port";
/// What is asked of the node itself in place of a port, about the inside of the container ([`crate::inside`]):
/// [`INSIDE_LOGS`], [`INSIDE_EXEC`] or [`INSIDE_FILES`]; on the tunnel of a probe [`INSIDE_PROVE`].
pub const INSIDE: &str = "x-nearlight-inside";
/// See [`INSIDE`]. `GET`, answered with server-sent events.
pub const INSIDE_LOGS: &str = "logs";
/// See [`INSIDE`]. An extended CONNECT of [`UPGRADE`].
pub const INSIDE_EXEC: &str = "exec";
/// See [`INSIDE`]. `GET` and `PUT`, a tar archive.
pub const INSIDE_FILES: &str = "files";
/// See [`INSIDE`]. `GET` of what the node can prove, `POST` of a step of a probe ([`crate::prove`]).
pub const INSIDE_PROVE: &str = "prove";
/// The method of a request that changes the protocol.
pub const METHOD: &str = "x-nearlight-method";
/// What it changes to: the value of its `Upgrade`.
pub const UPGRADE_TO: &str = "x-nearlight-upgrade";
/// The status of a container that does not change the protocol; the stream's own is [`REFUSED_STATUS`].
pub const STATUS: &str = "x-nearlight-status";
/// See [`STATUS`].
pub const REFUSED_STATUS: u16 = 501;
/// The answer is the edge's own, not the container's.
pub const OWN: &str = "x-nearlight-own";

/// Window of one stream, bytes: 1 Gbit/s over 20 ms, and some for the turns of the loop.
pub const STREAM_WINDOW_BYTES: u32 = 3 * 1024 * 1024;
/// Window of one tunnel, bytes: what either end holds at most of it. Eight streams may stand still
/// before the others feel it.
pub const TUNNEL_WINDOW_BYTES: u32 = 8 * STREAM_WINDOW_BYTES;
/// Largest DATA frame, bytes: with its head of nine, four records of TLS that are full.
pub const FRAME_BYTES_MAX: u32 = 4 * 16 * 1024 - 9;
/// What either end reads of a tunnel at once, bytes: a frame in its records, and the next one's head.
pub const READ_BYTES: usize = 72 * 1024;
/// Streams of one tunnel at a time.
pub const STREAMS_MAX: u32 = 128;
