//! One attached control stream, until it ends.

use super::Event;
use super::certificate::Certificate;
use super::dial::Socket;
use super::load::Load;
use crate::agent::Message;
use crate::gpu::telling::Telling;
use crate::limits::{SEND_DEADLINE, SILENT_HEARTBEATS_MAX};
use crate::streams::CounterBoard;
use futures_util::{SinkExt, StreamExt};
use nearlight_kit::pki::PendingKey;
use nearlight_protocol::control::{FromEdge, Heartbeat, ToEdge};
use nearlight_protocol::enrol::Renewed;
use nearlight_protocol::limits::CONTROL_MESSAGE_BYTES_MAX;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite;

/// Between two looks at whether the certificate is due. By the time of day, for a host that sleeps
/// wakes up late.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(60);
/// Between two questions for the next certificate, if the broker does not say.
const RENEW_AGAIN: Duration = Duration::from_secs(600);

/// An attached stream.
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) outbox: mpsc::Receiver<FromEdge>,
    pub(super) heartbeat: Duration,
    pub(super) counters: CounterBoard,
    pub(super) gpus: Telling,
    pub(super) renewal: Renewal,
}

/// Where the next certificate is.
#[derive(Debug)]
pub(super) struct Renewal {
    certificate: Arc<Certificate>,
    state: Asking,
}

#[derive(Debug)]
enum Asking {
    /// The broker cannot renew over the stream.
    Never,
    /// Not before then.
    From(Instant),
    /// It is asked for.
    For {
        key: Box<PendingKey>,
        since: Instant,
    },
}

impl Renewal {
    /// Over a stream to a broker that can do it, or not.
    pub(super) fn new(certificate: Arc<Certificate>, can: bool) -> Self {
        let state = if can {
            Asking::From(Instant::now())
        } else {
            Asking::Never
        };
        Self { certificate, state }
    }

    /// What to ask, if it is time.
    fn ask(&mut self) -> Option<FromEdge> {
        let may = match &self.state {
            Asking::Never => false,
            Asking::From(at) => *at <= Instant::now(),
            Asking::For { since, .. } => since.elapsed() >= RENEW_AGAIN,
        };
        if !may || !self.certificate.is_due() {
            return None;
        }
        let key = PendingKey::generate();
        match key.and_then(|key| Ok((key.request()?, key))) {
            Ok((request, key)) => {
                self.state = Asking::For {
                    key: Box::new(key),
                    since: Instant::now(),
                };
                Some(FromEdge::Renew { request })
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot ask for the next certificate"
                );
                self.wait(RENEW_AGAIN);
                None
            }
        }
    }

    fn take(&mut self, renewed: &Renewed) {
        // One that was not asked for, or twice.
        let Asking::For { key, .. } = &self.state else {
            return;
        };
        match self.certificate.take(key, renewed) {
            Ok(()) => {
                tracing::info!("the node's certificate is renewed; the next dial shows it");
                self.wait(Duration::ZERO);
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the next certificate cannot be used"
                );
                self.wait(RENEW_AGAIN);
            }
        }
    }

    fn wait(&mut self, time: Duration) {
        self.state = Asking::From(Instant::now() + time);
    }
}

/// Why a stream ended, or never came up.
#[derive(Debug)]
pub(super) struct LinkEnd {
    pub(super) reason: String,
    /// What the broker wishes, in place of the back-off.
    pub(super) retry_after: Option<Duration>,
    /// Whether this node is shut out for good.
    pub(super) revoked: bool,
}

impl LinkEnd {
    pub(super) fn because(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            retry_after: None,
            revoked: false,
        }
    }
}

impl Link {
    /// Moves messages both ways until the stream ends.
    pub(super) async fn run(mut self, agent: &mpsc::Sender<Message>) -> LinkEnd {
        let mut load = Load::default();
        let mut beat = tokio::time::interval(self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = tokio::time::interval(CERTIFICATE_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let silence_max = self.heartbeat * SILENT_HEARTBEATS_MAX;
        let mut heard = Instant::now();
        loop {
            let outcome = tokio::select! {
                said = self.socket.next() => {
                    heard = Instant::now();
                    self.hear(said, agent).await
                }
                wanted = self.outbox.recv() => match wanted {
                    Some(message) => self.say(&message).await,
                    None => {
                        self.close().await;
                        Err(LinkEnd::because("the node closed it"))
                    }
                },
                _ = beat.tick() => self.beat(&mut load).await,
                _ = due.tick() => match self.renewal.ask() {
                    Some(question) => self.say(&question).await,
                    None => Ok(()),
                },
                () = tokio::time::sleep_until(heard + silence_max) => {
                    Err(LinkEnd::because("the broker has gone silent"))
                }
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    async fn hear(
        &mut self,
        said: Option<Result<tungstenite::Message, tungstenite::Error>>,
        agent: &mpsc::Sender<Message>,
    ) -> Result<(), LinkEnd> {
        let text = match said {
            Some(Ok(tungstenite::Message::Text(text))) => text,
            Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_))) => {
                return Ok(());
            }
            Some(Ok(
                tungstenite::Message::Binary(_)
                | tungstenite::Message::Close(_)
                | tungstenite::Message::Frame(_),
            ))
            | None => return Err(LinkEnd::because("the broker closed it")),
            Some(Err(error)) => return Err(LinkEnd::because(error)),
        };
        match serde_json::from_str::<ToEdge>(text.as_str()) {
            Ok(ToEdge::GoAway { retry_after_s }) => Err(LinkEnd {
                reason: "the broker goes away".to_owned(),
                retry_after: Some(Duration::from_secs(retry_after_s.into())),
                revoked: false,
            }),
            Ok(ToEdge::Refused {
                detail,
                retry_after_s,
                revoked,
            }) => Err(LinkEnd {
                reason: format!("the broker dismissed this node: {detail}"),
                retry_after: Some(Duration::from_secs(retry_after_s.into())),
                revoked,
            }),
            Ok(ToEdge::Renewed(renewed)) => {
                self.renewal.take(&renewed);
                Ok(())
            }
            Ok(ToEdge::NotRenewed {
                detail,
                retry_after_s,
            }) => {
                tracing::warn!(detail, "the broker does not renew this node's certificate");
                self.renewal.wait(Duration::from_secs(retry_after_s.into()));
                Ok(())
            }
            Ok(message) => {
                let message = Message::Control(Event::Said(Box::new(message)));
                let taken = agent.send(message).await;
                taken.map_err(|_| LinkEnd::because("this node stops"))
            }
            Err(error) => {
                // A newer broker may say what we do not know yet; an order that we cannot read
                // stays unacked, and the broker's deadline deals with it.
                tracing::warn!(%error, "the broker said something that this build does not know");
                Ok(())
            }
        }
    }

    async fn say(&mut self, message: &FromEdge) -> Result<(), LinkEnd> {
        let text = serde_json::to_string(message).map_err(LinkEnd::because)?;
        if text.len() > CONTROL_MESSAGE_BYTES_MAX {
            // Without it the broker would go on with what it believes: a node that is not attached is seen.
            tracing::error!(
                bytes = text.len(),
                "a control message is too large; this is a bug, please report it"
            );
            return Err(LinkEnd::because("a message to the broker is too large"));
        }
        self.send(tungstenite::Message::text(text)).await
    }

    async fn beat(&mut self, load: &mut Load) -> Result<(), LinkEnd> {
        let heartbeat = Heartbeat {
            rtts: self.counters.round_trips(),
            gpus: self.gpus.due(Instant::now()),
            ..load.sample()
        };
        self.say(&FromEdge::Heartbeat(heartbeat)).await?;
        // Its pong is how a broker that has nothing to say is told from one that is dead.
        let ping = tungstenite::Message::Ping(Vec::new().into());
        self.send(ping).await
    }

    async fn send(&mut self, message: tungstenite::Message) -> Result<(), LinkEnd> {
        match tokio::time::timeout(SEND_DEADLINE, self.socket.send(message)).await {
            Ok(sent) => sent.map_err(LinkEnd::because),
            Err(_elapsed) => Err(LinkEnd::because("the broker takes nothing more")),
        }
    }

    async fn close(&mut self) {
        // A broker that does not take the close will notice the end of TCP.
        let _ = tokio::time::timeout(SEND_DEADLINE, self.socket.close(None)).await;
    }
}
