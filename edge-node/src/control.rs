//! The control stream: the node dials the broker, says what it has, and takes orders.
//!
//! ```text
//!  Dialling --welcome--> Attached --lost, GoAway, silent, behind--> Waiting --time--> Dialling
//!      `------refused, failed, no welcome in time----------------->'
//! ```
//!
//! - [`dial`]: TCP, mTLS, WebSocket, Hello, Welcome: within one deadline.
//! - [`link`]: one attached stream, until it ends.
//! - [`certificate`]: what is shown at the dial, and how it is renewed.
//! - [`backoff`]: how long to wait before the next attempt.
//! - [`load`]: what a heartbeat says of the host.
//!
//! **Invariants.** One stream at a time. Its loss touches no session. What the broker says goes to
//! the agent's inbox in order; what the agent says waits in a bounded queue, and an agent that
//! finds it full closes the stream: on the next one the newest state is said afresh. Beside the broker nothing is
//! waited for: an engine that hangs costs no heartbeat.
//!
//! **What it does not know:** what an order makes the agent do.

mod backoff;
mod certificate;
mod dial;
mod link;
mod load;

use crate::agent::Message;
use crate::gpu::board::Board;
use crate::gpu::telling::Telling;
use crate::limits::CONTROL_OUT_MAX;
use crate::streams::CounterBoard;
use backoff::Backoff;
pub(crate) use certificate::Certificate;
pub(crate) use dial::Dialler;
use link::{LinkEnd, Renewal};
use nearlight_protocol::control::{FromEdge, ToEdge, Welcome};
use nearlight_protocol::enrol::RENEW_FEATURE;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What heartbeats tell of, beside the host.
#[derive(Clone, Debug)]
pub(crate) struct Gauges {
    /// The streams to viewers.
    pub(crate) counters: CounterBoard,
    /// The GPUs for jobs, if this node takes any.
    pub(crate) gpus: Option<Arc<Board>>,
}

impl Gauges {
    /// Those of this node.
    pub(crate) const fn new(counters: CounterBoard, gpus: Option<Arc<Board>>) -> Self {
        Self { counters, gpus }
    }
}

/// What the control stream tells the agent.
#[derive(Debug)]
pub(crate) enum Event {
    /// The broker took us.
    Attached {
        /// What it said.
        welcome: Box<Welcome>,
        /// To the broker, until this stream ends.
        out: mpsc::Sender<FromEdge>,
    },
    /// It said something.
    Said(Box<ToEdge>),
    /// The stream is over.
    Detached,
    /// The broker has shut this node out for good.
    Revoked,
}

/// Keeps the stream up until the agent is gone and everything it said is sent.
pub(crate) async fn run(dialler: Dialler, gauges: Gauges, agent: mpsc::Sender<Message>) {
    let mut backoff = Backoff::new();
    loop {
        let dialled = tokio::select! {
            dialled = dialler.dial() => dialled,
            () = agent.closed() => return,
        };
        let end = match dialled {
            Ok(dialled) => {
                backoff.welcomed(&dialled.welcome);
                attached(dialled, dialler.certificate(), &gauges, &agent).await
            }
            Err(error) => error.into(),
        };
        if agent.is_closed() {
            return;
        }
        if end.revoked {
            tracing::error!(reason = %end.reason, "this node is shut out");
            // The agent is gone only when the process ends.
            let _ = agent.send(Message::Control(Event::Revoked)).await;
        }
        let wait = match end.retry_after {
            // Whole seconds: all that were told the same would come within one moment.
            Some(wait) => wait + Duration::from_secs(1).mul_f64(rand::random()),
            None => backoff.next(&mut rand::rng()),
        };
        tracing::warn!(
            broker = %dialler.address(),
            reason = %end.reason,
            wait_ms = wait.as_millis(),
            "no control stream; dialling again"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = agent.closed() => return,
        }
    }
}

async fn attached(
    dialled: dial::Dialled,
    certificate: &Arc<Certificate>,
    gauges: &Gauges,
    agent: &mpsc::Sender<Message>,
) -> LinkEnd {
    let (out, outbox) = mpsc::channel(CONTROL_OUT_MAX);
    let heartbeat = Duration::from_secs(dialled.welcome.heartbeat_s.max(1).into());
    let features = &dialled.welcome.features;
    let renews = features.iter().any(|feature| feature == RENEW_FEATURE);
    let event = Event::Attached {
        welcome: Box::new(dialled.welcome),
        out,
    };
    if agent.send(Message::Control(event)).await.is_err() {
        return LinkEnd::because("this node stops");
    }
    let link = link::Link {
        socket: dialled.socket,
        outbox,
        heartbeat,
        counters: gauges.counters.clone(),
        gpus: Telling::new(gauges.gpus.clone()),
        renewal: Renewal::new(certificate.clone(), renews),
    };
    let end = link.run(agent).await;
    // The agent is gone only when the process ends.
    let _ = agent.send(Message::Control(Event::Detached)).await;
    end
}

/// Memory of this host, MiB.
pub(crate) fn host_mem_mib() -> u32 {
    load::mem_mib("MemTotal:").unwrap_or(1024)
}
