//! Whether the engine that runs apps and jobs answers: a node whose engine is away starts nothing, and says so, in
//! place of taking sessions that end in moments.
//!
//! ```text
//!   well --a look is not answered in time--> away --one is--> well
//! ```
//!
//! **What it does not know:** what follows ([`crate::agent`] carries it out), and what the engine runs.

use crate::agent::Message;
use crate::runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Looks at an engine.
pub(crate) struct Watch {
    pub(crate) runtime: Arc<dyn Runtime>,
    /// Between two looks.
    pub(crate) every: Duration,
    pub(crate) agent: mpsc::Sender<Message>,
}

impl Watch {
    /// Tells the agent whenever that changes, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(self.every);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut told: Option<String> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let now = self.runtime.answers().await.err();
            let now = now.map(|error| error.to_string());
            // Why it is away may be said in other words each time.
            if now.is_some() == told.is_some() {
                continue;
            }
            told.clone_from(&now);
            if self.agent.send(Message::Engine(now)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::runtime::scripted::Scripted;

    #[tokio::test]
    async fn the_agent_hears_that_an_engine_is_away_and_that_it_is_back() {
        // Away at its second and third look.
        let engine = Arc::new(Scripted::new(|n| n != 1 && n != 2));
        let (agent, mut told) = mpsc::channel(8);
        let watch = Watch {
            runtime: engine.clone(),
            every: Duration::from_millis(1),
            agent,
        };
        let stop = CancellationToken::new();
        let hearing = async {
            let mut heard = async || match told.recv().await {
                Some(Message::Engine(fault)) => fault,
                other => panic!("{other:?}"),
            };
            let fault = heard().await.expect("it is away");
            assert!(fault.contains("did not answer in time"), "{fault}");
            assert_eq!(heard().await, None, "it is back");
            assert!(engine.asked() >= 4, "and it was not said twice");
            stop.cancel();
        };
        tokio::join!(watch.run(stop.clone()), hearing);
    }
}
