//! One attached control stream, until it ends.

use super::Event;
use super::dial::Socket;
use super::load::Load;
use crate::agent::Message;
use crate::limits::{SEND_DEADLINE, SILENT_HEARTBEATS_MAX};
use crate::runtime::Runtime;
use futures_util::{SinkExt, StreamExt};
use nearlight_protocol::control::{FromEdge, ToEdge};
use nearlight_protocol::limits::CONTROL_MESSAGE_BYTES_MAX;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite;

/// Between two looks at the images: somebody builds one now and then.
const IMAGES_EVERY: Duration = Duration::from_secs(15);

/// An attached stream.
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) outbox: mpsc::Receiver<FromEdge>,
    pub(super) heartbeat: Duration,
    pub(super) images: Vec<String>,
}

/// Why a stream ended, or never came up.
#[derive(Debug)]
pub(super) struct LinkEnd {
    pub(super) reason: String,
    /// What the broker wishes, in place of the back-off.
    pub(super) retry_after: Option<Duration>,
}

impl LinkEnd {
    pub(super) fn because(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            retry_after: None,
        }
    }
}

impl Link {
    /// Moves messages both ways until the stream ends.
    pub(super) async fn run(
        mut self,
        runtime: &dyn Runtime,
        agent: &mpsc::Sender<Message>,
    ) -> LinkEnd {
        let mut load = Load::default();
        let mut beat = tokio::time::interval(self.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(IMAGES_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = look.tick() => self.look(runtime, agent).await,
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
            }),
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
            tracing::error!(
                bytes = text.len(),
                "a control message is too large and is dropped"
            );
            return Ok(());
        }
        self.send(tungstenite::Message::text(text)).await
    }

    async fn beat(&mut self, load: &mut Load) -> Result<(), LinkEnd> {
        self.say(&FromEdge::Heartbeat(load.sample())).await?;
        // Its pong is how a broker that has nothing to say is told from one that is dead.
        let ping = tungstenite::Message::Ping(Vec::new().into());
        self.send(ping).await
    }

    async fn look(
        &mut self,
        runtime: &dyn Runtime,
        agent: &mpsc::Sender<Message>,
    ) -> Result<(), LinkEnd> {
        let images = runtime.images().await;
        if images == self.images {
            return Ok(());
        }
        self.images.clone_from(&images);
        let taken = agent.send(Message::Control(Event::Images(images))).await;
        taken.map_err(|_| LinkEnd::because("this node stops"))
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
