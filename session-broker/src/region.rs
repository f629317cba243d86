//! Putting a broker together with those that share its ledger.

use crate::config::{Config, Peers as PeersConfig};
use crate::http::{Api, Region, peer_service};
use crate::ledger::{BrokerId, Ledger};
use crate::peers::{
    Courier, Hub, Lease, Offer, Passages, PeerClient, PeerEvent, PeerListener, Peers, Watch,
    peer_events,
};
use crate::sessions::SharingParts;
use crate::tokens::Signer;
use anyhow::Context;
use axum::Router;
use nearlight_kit::pki::ServerIdentity;
use nearlight_kit::shutdown::Shutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// What a broker has that is not alone, before it serves.
#[derive(Debug)]
pub(crate) struct Joining {
    listener: PeerListener,
    /// The listener's own address.
    pub(crate) listen: SocketAddr,
    /// Where peers reach this broker.
    pub(crate) address: String,
    peers: Arc<Peers>,
    hub: Arc<Hub>,
    dead_after: Duration,
    /// Whether nodes are sent away.
    away: watch::Sender<bool>,
    events: mpsc::Sender<PeerEvent>,
    offers: mpsc::Receiver<(BrokerId, Offer)>,
    /// The owner's part, until it is taken.
    sharing: Option<SharingParts>,
}

impl Joining {
    /// Binds the listener; nothing is served yet.
    pub(crate) async fn bind(
        config: &Config,
        peers: &PeersConfig,
        identity: &Arc<ServerIdentity>,
    ) -> anyhow::Result<Self> {
        let server = identity.server_config()?;
        let client = identity.client_config()?;
        let passages = Passages::of(&config.limits);
        let listener = PeerListener::bind(peers.listen, server, passages)
            .await
            .with_context(|| format!("cannot listen on {}", peers.listen))?;
        let listen = listener.local_addr()?;
        let (events, for_owner) = peer_events();
        let (courier, offers) = Courier::new();
        let hub = Arc::new(Hub::default());
        let sharing = SharingParts {
            me: config.name.clone(),
            events: for_owner,
            hub: hub.clone(),
            courier,
        };
        Ok(Self {
            listener,
            listen,
            address: peers.address.clone().unwrap_or(listen.to_string()),
            peers: Arc::new(Peers::new(
                config.name.clone(),
                PeerClient::new(client),
                passages,
            )),
            hub,
            dead_after: peers.dead_after,
            away: watch::Sender::new(false),
            events,
            offers,
            sharing: Some(sharing),
        })
    }

    /// The owner's part; once.
    pub(crate) fn take_sharing(&mut self) -> Option<SharingParts> {
        self.sharing.take()
    }

    /// Whether nodes are sent away, for the node listener. A broker that is alone has nowhere to send them.
    pub(crate) fn away(joining: Option<&Self>) -> watch::Receiver<bool> {
        joining.map_or_else(|| watch::channel(false).1, |own| own.away.subscribe())
    }

    /// What HTTP has of it.
    pub(crate) fn region(&self) -> Region {
        Region {
            peers: self.peers.clone(),
            events: self.events.clone(),
            hub: self.hub.clone(),
        }
    }

    /// Serves peers, and looks who is there.
    pub(crate) fn serve(
        self,
        (api, public, jobs): (Arc<Api>, Router, Option<Router>),
        ledger: Arc<dyn Ledger>,
        signer: Signer,
        shutdown: &Shutdown,
    ) {
        let lease = Lease {
            ledger: ledger.clone(),
            peers: self.peers.clone(),
            lapses_after: self.dead_after,
            node_grace: Duration::from_secs(api.times.node_grace_s.into()),
            away: self.away,
        };
        shutdown.spawn(lease.run(shutdown.token()));
        let watch = Watch::new(
            self.peers.clone(),
            ledger,
            signer,
            self.dead_after,
            self.events,
        );
        shutdown.spawn(watch.run(shutdown.clone()));
        shutdown.spawn(Courier::run(self.peers, self.offers));
        let service = peer_service(api, public, jobs);
        shutdown.spawn(self.listener.run(service, shutdown.clone()));
    }
}
