//! Two ends in one process, over real TLS: who has room, and what ends.

use super::super::{AT_HAND, BrokerId, LEDGER_PATH, PeerListener, Peers};
use super::*;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::{FutureExt, StreamExt, stream};
use nearlight_kit::clock::WallClock;
use nearlight_kit::pki::{Ca, Identity, ServerIdentity};
use nearlight_kit::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::convert::Infallible;
use tempfile::TempDir;

/// Of which a peer says a word, and then nothing.
const HELD: &str = "/held";
/// To which it does not answer.
const NEVER: &str = "/never";

struct Ends {
    peers: Peers,
    peer: BrokerId,
    address: String,
    shutdown: Shutdown,
    _dir: TempDir,
}

async fn held() -> Body {
    let word = stream::once(async { Ok::<_, Infallible>("word") });
    Body::from_stream(word.chain(stream::pending()))
}

impl Ends {
    async fn new(own: usize, for_callers: usize, passages: Passages) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::ensure(dir.path(), WallClock::default()).unwrap();
        let identity = Identity {
            spiffe: "spiffe://nearlight/broker".to_owned(),
            dns: vec!["nearlight-broker".to_owned()],
            ips: Vec::new(),
        };
        let identity = Arc::new(ServerIdentity::new(Arc::new(ca), identity));
        let tls = identity.server_config().unwrap();
        let listener = PeerListener::small(tls, own, for_callers).await;
        let address = listener.local_addr().unwrap().to_string();
        let shutdown = Shutdown::new();
        let service = Router::new()
            .route(HELD, get(held))
            .route(NEVER, get(std::future::pending::<StatusCode>))
            .route(LEDGER_PATH, get(async || StatusCode::NO_CONTENT));
        shutdown.spawn(listener.run(service, shutdown.clone()));
        let client = PeerClient::new(identity.client_config().unwrap());
        let peers = Peers::new("a".parse().unwrap(), client, passages);
        let peer: BrokerId = "b".parse().unwrap();
        peers.set_addresses(BTreeMap::from([(peer.clone(), address.clone())]));
        Self {
            peers,
            peer,
            address,
            shutdown,
            _dir: dir,
        }
    }

    /// What somebody at 192.0.2.`host` is answered.
    async fn asks(&self, host: u8, path: &str) -> Result<Body, PeerError> {
        let way = self.peers.way(&self.peer).expect("it is there");
        let from = IpAddr::from([192, 0, 2, host]);
        let request = (path, Request::new(Body::empty()));
        let answer = way.hand_on(&self.peers.client, request, from, AT_HAND);
        let (answer, passage) = answer.await?;
        Ok(passage.body(answer.into_body(), None))
    }

    /// What the broker is answered for itself.
    async fn says(&self) -> Result<StatusCode, PeerError> {
        let request = Request::new(Body::empty());
        let client = &self.peers.client;
        let answer = client.ask(&self.address, LEDGER_PATH, request, AT_HAND);
        answer.await.map(|answer| answer.status())
    }
}

const MANY: Passages = Passages {
    most: 100,
    per_address: 0,
};

#[tokio::test]
async fn what_callers_hold_takes_none_of_the_brokers_own_room() {
    let ends = Ends::new(1, 2, MANY).await;
    let mut holding = Vec::new();
    for host in 0..2 {
        holding.push(ends.asks(host, HELD).await.unwrap());
    }
    let refused = ends.asks(2, HELD).await;
    assert!(matches!(refused, Err(PeerError::Http(_))), "{refused:?}");
    assert_eq!(ends.says().await.unwrap(), StatusCode::NO_CONTENT);
    ends.shutdown.token().cancel();
}

#[tokio::test]
async fn callers_have_their_number_of_each_peer_and_an_address_its_part() {
    let few = Passages {
        most: 2,
        per_address: 1,
    };
    let ends = Ends::new(1, 100, few).await;
    let first = ends.asks(1, HELD).await.unwrap();
    let again = ends.asks(1, HELD).await;
    assert!(matches!(again, Err(PeerError::Full)), "{again:?}");
    let _second = ends.asks(2, HELD).await.unwrap();
    let third = ends.asks(3, HELD).await;
    assert!(matches!(third, Err(PeerError::Full)), "{third:?}");
    assert_eq!(ends.says().await.unwrap(), StatusCode::NO_CONTENT);
    drop(first);
    drop(ends.asks(3, HELD).await.unwrap());
    ends.shutdown.token().cancel();
}

#[tokio::test]
async fn what_is_under_way_ends_with_its_peer() {
    let ends = Ends::new(1, 100, MANY).await;
    let mut body = ends.asks(1, HELD).await.unwrap().into_data_stream();
    assert_eq!(body.next().await.unwrap().unwrap(), "word");
    let waits = ends.asks(2, NEVER);
    let gone = async {
        // It stays where it is: nothing ends.
        let here = BTreeMap::from([(ends.peer.clone(), ends.address.clone())]);
        ends.peers.set_addresses(here);
        assert!(body.next().now_or_never().is_none());
        ends.peers.set_addresses(BTreeMap::new());
        body.next().await.unwrap().unwrap_err()
    };
    let way = ends.peers.way(&ends.peer).unwrap();
    let (answer, error) = tokio::join!(waits, gone);
    assert!(matches!(answer, Err(PeerError::Gone)), "{answer:?}");
    let error = error.into_inner();
    assert!(matches!(error.downcast_ref(), Some(PeerError::Gone)));
    assert_eq!(way.all.available_permits(), MANY.most - 1, "the body's");
    ends.shutdown.token().cancel();
}

#[tokio::test]
async fn a_stream_in_which_something_always_comes_ends_when_nothing_does() {
    let ends = Ends::new(1, 100, MANY).await;
    let way = ends.peers.way(&ends.peer).unwrap();
    let (from, request) = (IpAddr::from([192, 0, 2, 1]), Request::new(Body::empty()));
    let answer = way.hand_on(&ends.peers.client, (HELD, request), from, AT_HAND);
    let (answer, passage) = answer.await.unwrap();
    let silence_max = Some(Duration::from_millis(10));
    let body = passage.body(answer.into_body(), silence_max);
    let chunks: Vec<_> = body.into_data_stream().take(2).collect().await;
    let last = chunks.into_iter().find_map(Result::err).unwrap();
    let last = last.into_inner();
    assert!(matches!(last.downcast_ref(), Some(PeerError::Late(_))));
    ends.shutdown.token().cancel();
}
