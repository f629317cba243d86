//! The admin listener, on loopback only and without authentication: `/metrics`, `/healthz`,
//! `/sessions`.

use crate::agent::{Message, SessionView};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use nearlight_kit::shutdown::Shutdown;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// The agent waits for no peer, so it answers at once or is broken.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// Binds, and serves until the shutdown. Returns the address in use.
pub(crate) async fn serve(
    address: SocketAddr,
    agent: mpsc::Sender<Message>,
    shutdown: &Shutdown,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let prometheus = nearlight_kit::telemetry::prometheus();
    let router = Router::new()
        .route(
            "/metrics",
            get(move || {
                crate::meters::tasks(Handle::current().metrics().num_alive_tasks());
                ready(prometheus.render())
            }),
        )
        .route("/healthz", get(|| ready("ok\n")))
        .route("/sessions", get(sessions))
        .with_state(agent);
    let token = shutdown.token();
    shutdown.spawn(async move {
        // Not `with_graceful_shutdown`: an idle keep-alive connection must not hold up the drain.
        tokio::select! {
            served = axum::serve(listener, router).into_future() => {
                if let Err(error) = served {
                    tracing::error!(%error, "the admin listener failed");
                }
            }
            () = token.cancelled() => {}
        }
    });
    Ok(bound)
}

async fn sessions(State(agent): State<mpsc::Sender<Message>>) -> Response {
    match tokio::time::timeout(ANSWER_DEADLINE, ask(&agent)).await {
        Ok(Some(sessions)) => Json(sessions).into_response(),
        Ok(None) | Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent does not answer\n",
        )
            .into_response(),
    }
}

async fn ask(agent: &mpsc::Sender<Message>) -> Option<Vec<SessionView>> {
    let (reply, answer) = oneshot::channel();
    agent.send(Message::ListSessions(reply)).await.ok()?;
    answer.await.ok()
}
