//! Accepting edges.

use super::connection::{self, EdgeEvent};
use crate::rate::RateLimit;
use crate::time::Clock;
use crate::tokens::Signer;
use nearlight_kit::shutdown::Shutdown;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

/// How long to wait after an accept that failed: out of file descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What every edge is told and held to.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) control: crate::config::Control,
    pub(crate) node_grace_s: u32,
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
    accepts: RateLimit<()>,
}

impl Terms {
    pub(crate) fn new(
        control: crate::config::Control,
        node_grace_s: u32,
        signer: Signer,
        clock: Clock,
    ) -> Self {
        Self {
            accepts: RateLimit::per_second(control.accepts_per_s, control.accepts_burst),
            control,
            node_grace_s,
            signer,
            clock,
        }
    }

    /// Whether another edge may attach now, or after how many seconds.
    pub(super) fn admit(&self) -> Result<(), u32> {
        self.accepts.take((), self.clock.now())
    }
}

/// The node listener, bound and not yet accepting.
pub(crate) struct NodeListener {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl std::fmt::Debug for NodeListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeListener").finish_non_exhaustive()
    }
}

impl NodeListener {
    pub(crate) async fn bind(at: SocketAddr, tls: Arc<ServerConfig>) -> std::io::Result<Self> {
        Ok(Self {
            listener: TcpListener::bind(at).await?,
            tls: TlsAcceptor::from(tls),
        })
    }

    pub(crate) fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until the shutdown; one task a connection.
    pub(crate) async fn run(
        self,
        terms: Arc<Terms>,
        events: mpsc::Sender<EdgeEvent>,
        shutdown: Shutdown,
    ) {
        let stop = shutdown.token();
        let streams = Arc::new(Semaphore::new(terms.control.streams_max));
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return,
                permit = streams.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an edge");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (tls, terms, events) = (self.tls.clone(), terms.clone(), events.clone());
            let stop = stop.clone();
            shutdown.spawn(async move {
                if let Err(error) = connection::serve(tcp, tls, &terms, events, stop).await {
                    crate::metrics::control_stream(error.label());
                    tracing::info!(%peer, error = &error as &dyn std::error::Error,
                        "control stream ended");
                }
                drop(permit);
            });
        }
    }
}
