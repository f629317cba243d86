//! The tunnels of this node, each HTTP/2 with the roles turned round.

use super::dial::Socket;
use super::{Endpoints, Entrance, Inside, Way, proxy};
use crate::job::ended_logs::{Bounds, EndedLogs};
use crate::limits::{DRAIN_STOP_GRACE, ENDED_TUNNEL_FOR, ENDED_TUNNELS_MAX};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nearlight_kit::room::{Counted, Each};
use nearlight_kit::shutdown::Shutdown;
use nearlight_kit::streams::ending::to_its_end;
use nearlight_protocol::control::OpenTunnel;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::limits::ENDPOINT_HEAD_BYTES_MAX;
use nearlight_protocol::tunnel::{
    FRAME_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_MAX, TUNNEL_WINDOW_BYTES,
};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Tunnels at a time, beside the first one of each session. A broker asks for a few a session that is used.
const TUNNELS_MAX: usize = 256;
/// Between two pings, and for the answer: a broker that is gone is noticed, whatever is between.
const PING_EVERY: Duration = Duration::from_secs(15);
const PONG_WITHIN: Duration = Duration::from_secs(10);
/// For requests under way, once the node stops, or their endpoint is closed by whoever says nothing else.
pub(crate) const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// What one stream holds that waits for the broker, bytes.
const SEND_BUFFER_BYTES: usize = 512 * 1024;

/// The tunnels of this node.
#[derive(Clone, Debug)]
pub struct Tunnels {
    way: Way,
    endpoints: Arc<Endpoints>,
    /// Who answers probes, if anybody does.
    prover: Option<Arc<dyn Entrance>>,
    /// Who answers about sessions that are over, if anybody does.
    ended: Option<Arc<dyn Entrance>>,
    places: Places,
    shutdown: Shutdown,
}

impl Tunnels {
    /// Tunnels to `way`, for what is in `endpoints`.
    pub fn new(way: Way, endpoints: Arc<Endpoints>, shutdown: Shutdown) -> Self {
        Self {
            way,
            endpoints,
            prover: None,
            ended: None,
            places: Places::new(TUNNELS_MAX, ENDED_TUNNELS_MAX),
            shutdown,
        }
    }

    /// The same, with tunnels of probes to `prover`.
    pub(crate) fn with_prover(self, prover: Arc<dyn Entrance>) -> Self {
        let prover = Some(prover);
        Self { prover, ..self }
    }

    /// The same, with tunnels of sessions that are over to `ended`.
    pub(crate) fn with_ended(self, ended: Arc<dyn Entrance>) -> Self {
        let ended = Some(ended);
        Self { ended, ..self }
    }

    /// The same, with tunnels of sessions that are over to the logs that are kept below `data`, for so many days.
    pub fn with_logs_in(self, data: &Path, days: u32) -> Self {
        let bounds = Bounds { days, mib: 1024 };
        self.with_ended(Arc::new(EndedLogs::new(data, bounds)))
    }

    /// What they lead to.
    pub fn endpoints(&self) -> &Arc<Endpoints> {
        &self.endpoints
    }

    /// Dials the tunnel that a broker asks for, and serves it. One for a session that is not here is
    /// not dialled: the broker's deadline tells it.
    pub fn open(&self, order: OpenTunnel) {
        let Some(place) = self.places.take(&order.session, order.ended) else {
            let max = if order.ended {
                ENDED_TUNNELS_MAX
            } else {
                TUNNELS_MAX
            };
            tracing::warn!(session_id = %order.session, "no more tunnels: {max} are open");
            return;
        };
        if order.ended {
            return self.open_ended(order, place);
        }
        // A probe is here for as long as its tunnel.
        let probed = self.prover.as_ref().filter(|_| order.probe).map(|prover| {
            let inside = prover.enter(&order.session);
            self.endpoints.enter_as((order.session.clone(), 0), inside)
        });
        let Some(here) = self.endpoints.here(&order.session) else {
            tracing::info!(session_id = %order.session, "a tunnel to a session that is not here");
            return;
        };
        let (way, shutdown) = (self.way.clone(), self.shutdown.clone());
        let endpoints = self.endpoints.clone();
        self.shutdown.spawn(async move {
            let stop = shutdown.token();
            let served = async {
                let stream = way.dial(&order).await?;
                let to = To::Session(order.session.clone(), endpoints.clone());
                serve(stream, to, here, &shutdown).await
            };
            let ended = tokio::select! {
                ended = served => ended,
                () = gone(&stop) => Ok(()),
            };
            if let Err(error) = ended {
                tracing::info!(session_id = %order.session, %error, "a tunnel ended");
            }
            if let Some(probed) = probed {
                endpoints.leave_as(&order.session, &probed);
            }
            drop(place);
        });
    }
}

/// Where the requests of a tunnel go.
#[derive(Clone)]
enum To {
    /// To a session that runs, or to a probe.
    Session(SessionId, Arc<Endpoints>),
    /// To what is kept of one that is over.
    Ended(SessionId, Arc<dyn Inside>),
}

impl Tunnels {
    /// The tunnel of a session that is over: it runs until the broker has had its answers, or its time is over.
    fn open_ended(&self, order: OpenTunnel, place: Place) {
        let Some(ended) = &self.ended else {
            tracing::info!(session_id = %order.session, "a tunnel to a session that is over, of which nothing is kept");
            return;
        };
        let to = To::Ended(order.session.clone(), ended.enter(&order.session));
        let (way, shutdown) = (self.way.clone(), self.shutdown.clone());
        self.shutdown.spawn(async move {
            let stop = shutdown.token();
            let closed = CancellationToken::new();
            let served = async {
                let stream = way.dial(&order).await?;
                serve(stream, to, closed.clone(), &shutdown).await
            };
            let late = async {
                tokio::time::sleep(ENDED_TUNNEL_FOR).await;
                closed.cancel();
                std::future::pending().await
            };
            let ended = tokio::select! {
                ended = served => ended,
                ended = late => ended,
                () = gone(&stop) => Ok(()),
            };
            if let Err(error) = ended {
                tracing::info!(session_id = %order.session, %error, "a tunnel ended");
            }
            drop(place);
        });
    }
}

/// Room for tunnels. The first one of a session has its own: no session is out of reach because others are much used.
#[derive(Clone, Debug)]
struct Places {
    firsts: Each<SessionId>,
    more: Arc<Semaphore>,
    /// Those of tunnels to sessions that are over: no number of them keeps one to a session that runs away.
    ended: Arc<Semaphore>,
}

/// One tunnel's room.
#[derive(Debug)]
enum Place {
    First(#[allow(dead_code, reason = "held")] Counted<SessionId>),
    OneMore(#[allow(dead_code, reason = "held")] OwnedSemaphorePermit),
}

impl Places {
    fn new(more: usize, ended: usize) -> Self {
        Self {
            firsts: Each::new(1),
            more: Arc::new(Semaphore::new(more)),
            ended: Arc::new(Semaphore::new(ended)),
        }
    }

    fn take(&self, session: &SessionId, ended: bool) -> Option<Place> {
        if ended {
            let taken = self.ended.clone().try_acquire_owned().ok();
            return taken.map(Place::OneMore);
        }
        let first = self.firsts.count(session.clone()).map(Place::First);
        let one_more = || self.more.clone().try_acquire_owned().ok();
        first.or_else(|| one_more().map(Place::OneMore))
    }
}

/// The node stops, and what was under way had its time.
async fn gone(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(FINISH_WITHIN).await;
}

/// Answers the broker until either side ends it.
async fn serve(
    stream: Socket,
    to: To,
    closed: CancellationToken,
    shutdown: &Shutdown,
) -> io::Result<()> {
    let stop = shutdown.token();
    let answer = service_fn({
        let tasks = shutdown.clone();
        move |request| {
            let (to, tasks) = (to.clone(), tasks.clone());
            async move {
                match to {
                    To::Session(session, endpoints) => {
                        proxy::answer(request, session, endpoints, tasks).await
                    }
                    To::Ended(session, inside) => {
                        proxy::answer_ended(request, (&session, inside), tasks).await
                    }
                }
            }
        }
    });
    let connection = http2::Builder::new(shutdown.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(TUNNEL_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(ENDPOINT_HEAD_BYTES_MAX)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), answer);
    // Bodies of a session that is gone end by themselves, the last ones after that long.
    let over = async {
        tokio::select! {
            () = gone(&stop) => {}
            () = tokio::time::sleep(DRAIN_STOP_GRACE) => {}
        }
    };
    // GoAway: the broker asks nothing more here.
    let ended = to_its_end(
        connection,
        |connection| connection.graceful_shutdown(),
        either(&closed, &stop),
        over,
    )
    .await;
    ended.map_err(io::Error::other)
}

async fn either(one: &CancellationToken, other: &CancellationToken) {
    tokio::select! {
        () = one.cancelled() => {}
        () = other.cancelled() => {}
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_session_that_is_much_used_takes_no_others_first_tunnel() {
        let places = Places::new(2, 1);
        let [one, other] = [1, 2].map(|n| SessionId::from_parts(n, [0; 10]));
        let held: Vec<Place> = (0..5).map_while(|_| places.take(&one, false)).collect();
        assert_eq!(held.len(), 3, "its first, and what there is");
        let first = places.take(&other, false).expect("its first");
        assert!(places.take(&other, false).is_none());
        drop(held);
        assert!(places.take(&other, false).is_some());
        drop(first);
        assert!(places.take(&one, false).is_some());
        // Those of sessions that are over have a room of their own.
        let over = places.take(&one, true);
        assert!(over.is_some() && places.take(&other, true).is_none());
    }
}
