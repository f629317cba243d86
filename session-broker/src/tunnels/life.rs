//! One tunnel, from the order to its end.

use super::cut::Cut;
use super::pool::Pool;
use super::waiting::Expected;
use super::{Place, TUNNEL_WITHIN, Tunnels, waiting};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::limits::ENDPOINT_HEAD_BYTES_MAX;
use nearlight_protocol::tunnel::{
    FRAME_BYTES_MAX, GREETING, STREAM_WINDOW_BYTES, TUNNEL_WINDOW_BYTES,
};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Between two pings, and for the answer: a node that is gone is noticed, whatever is between.
const PING_EVERY: Duration = Duration::from_secs(15);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// Without a request for so long a tunnel goes.
const IDLE_FOR: Duration = Duration::from_secs(120);
/// The same for one to a session that is over: it is read once, and a node has few places for such.
const ENDED_IDLE_FOR: Duration = Duration::from_secs(3);
/// Between two looks at whether a tunnel may stay.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For requests under way on a tunnel that takes no more, once the broker stops.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// What one stream holds that waits for the edge, bytes.
const SEND_BUFFER_BYTES: usize = 512 * 1024;

/// How a tunnel ends that did not break.
enum End {
    /// It takes no more requests; those under way finish.
    Finish,
    /// At once.
    Cut,
}

/// Waits for a tunnel, and keeps it until its end.
pub(super) async fn live(tunnels: &Arc<Tunnels>, pool: &Arc<Pool>, mut expected: Expected) {
    let place = &pool.place;
    let came = tokio::time::timeout(TUNNEL_WITHIN, &mut expected.socket).await;
    drop(expected);
    let Ok(Ok(socket)) = came else {
        tracing::info!(session_id = %place.session, node_id = %place.node, "the node dialled no tunnel");
        pool.not_dialled();
        return;
    };
    // Whatever ends this, nothing of the tunnel is left behind in HTTP's own tasks.
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    match open(Cut::new(socket, cut), &tunnels.shutdown).await {
        Ok((sender, connection)) => keep(tunnels, pool, sender, connection).await,
        Err(error) => {
            tracing::info!(session_id = %place.session, node_id = %place.node, %error, "no tunnel");
            pool.not_dialled();
        }
    }
}

type Socket = Cut<waiting::Socket>;
type Connection = http2::Connection<TokioIo<Socket>, Body, Shutdown>;

async fn open(socket: Socket, shutdown: &Shutdown) -> io::Result<(SendRequest<Body>, Connection)> {
    let opening = http2::Builder::new(shutdown.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(TUNNEL_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(ENDPOINT_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(socket));
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let opened = tokio::time::timeout(TUNNEL_WITHIN, opening).await;
    opened.map_err(late)?.map_err(io::Error::other)
}

async fn keep(
    tunnels: &Arc<Tunnels>,
    pool: &Arc<Pool>,
    sender: SendRequest<Body>,
    connection: Connection,
) {
    let place = &pool.place;
    let mut connection = std::pin::pin!(connection);
    let greeted = tokio::select! {
        ended = connection.as_mut() => ended.map_err(io::Error::other).map(|()| false),
        greeted = greet(sender.clone()) => greeted.map(|()| true),
    };
    if !matches!(greeted, Ok(true)) {
        tracing::info!(session_id = %place.session, node_id = %place.node, ?greeted, "no tunnel");
        pool.not_dialled();
        return;
    }
    let number = pool.add(sender);
    crate::metrics::tunnels(1.0);
    let end = tokio::select! {
        ended = connection.as_mut() => {
            tracing::debug!(session_id = %place.session, ?ended, "a tunnel ended");
            End::Cut
        }
        end = watch(tunnels, pool, number) => end,
    };
    pool.remove(number);
    if matches!(end, End::Finish) {
        let stop = tunnels.shutdown.token();
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(FINISH_WITHIN).await;
        };
        let moved = left(tunnels, place);
        tokio::select! {
            _ = connection => {}
            () = stopped => {}
            () = moved => {}
        }
    }
    crate::metrics::tunnels(-1.0);
}

/// The edge serves, and its settings are known.
async fn greet(mut sender: SendRequest<Body>) -> io::Result<()> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = format!("http://tunnel{GREETING}")
        .parse()
        .map_err(io::Error::other)?;
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let answered = tokio::time::timeout(TUNNEL_WITHIN, sender.send_request(request)).await;
    let answer = answered.map_err(late)?.map_err(io::Error::other)?;
    match answer.status() {
        StatusCode::NO_CONTENT => Ok(()),
        other => Err(io::Error::other(format!("greeted with {other}"))),
    }
}

/// Looks whether a tunnel may stay, until it may not.
async fn watch(tunnels: &Tunnels, pool: &Pool, number: u64) -> End {
    let stop = tunnels.shutdown.token();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle_since = Instant::now();
    let idle_for = match pool.place.ended {
        true => ENDED_IDLE_FOR,
        false => IDLE_FOR,
    };
    loop {
        tokio::select! {
            _ = look.tick() => {}
            () = stop.cancelled() => return End::Finish,
        }
        if has_left(tunnels, &pool.place) {
            return End::Cut;
        }
        match pool.is_busy(number) {
            // It takes no more: a request found it broken.
            None => return End::Finish,
            Some(true) => idle_since = Instant::now(),
            Some(false) if idle_since.elapsed() >= idle_for && pool.retire(number) => {
                return End::Finish;
            }
            Some(false) => {}
        }
    }
}

/// Until the session is elsewhere, or its node shut out.
async fn left(tunnels: &Tunnels, place: &Place) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !has_left(tunnels, place) {
        look.tick().await;
    }
}

fn has_left(tunnels: &Tunnels, place: &Place) -> bool {
    tunnels.is_revoked(&place.node) || !tunnels.holds(place)
}
