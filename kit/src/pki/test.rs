//! Handshakes over loopback: what the listener takes, what it refuses, what a client believes.

use super::*;
use crate::clock::WallClock;
use rustls::ServerConfig;
use rustls_pki_types::ServerName;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const BROKER_DNS: &str = "nearlight-broker";
const NODE_SPIFFE: &str = "spiffe://nearlight/node/nod_01kb3x9ktv7q2m5d8r4w6y0zab";

fn domain() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let ca = ensure_ca(dir.path()).unwrap();
    let node = Identity {
        spiffe: NODE_SPIFFE.to_owned(),
        ..Identity::default()
    };
    ca.issue(dir.path(), "node", node).unwrap();
    dir
}

/// One connection: what the server learned of its client, and what the client read.
async fn connect(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    dns: &'static str,
) -> (io::Result<Option<String>>, io::Result<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (tcp, _) = listener.accept().await?;
        let mut tls = TlsAcceptor::from(server).accept(tcp).await?;
        let peer = tls
            .get_ref()
            .1
            .peer_certificates()
            .map(|chain| chain[0].clone());
        tls.write_all(b"!").await?;
        tls.shutdown().await?;
        Ok(peer.and_then(|leaf| spiffe_of(&leaf)))
    };
    let dial = async {
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from(dns).unwrap();
        let mut tls = TlsConnector::from(client).connect(name, tcp).await?;
        // In TLS 1.3 a client learns on its first read that its certificate was refused.
        tls.read_u8().await
    };
    tokio::join!(serve, dial)
}

fn broker() -> Identity {
    Identity {
        spiffe: "spiffe://nearlight/broker".to_owned(),
        dns: vec![BROKER_DNS.to_owned()],
        ips: vec![],
    }
}

fn server_as(dir: &Path, identity: Identity, clock: &WallClock) -> Arc<ServerConfig> {
    let ca = Arc::new(Ca::ensure(dir, clock.clone()).unwrap());
    Arc::new(ServerIdentity::new(ca, identity))
        .server_config()
        .unwrap()
}

fn server_of(dir: &Path) -> Arc<ServerConfig> {
    server_as(dir, broker(), &WallClock::system())
}

fn anonymous(dir: &Path) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(dir).unwrap())
        .with_no_client_auth();
    Arc::new(config)
}

#[tokio::test]
async fn a_node_of_our_ca_is_known_by_its_id() {
    let dir = domain();
    let server = server_of(dir.path());
    let client = client_config(dir.path(), "node").unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert_eq!(served.unwrap().as_deref(), Some(NODE_SPIFFE));
    assert_eq!(read.unwrap(), b'!');
}

#[tokio::test]
async fn a_client_without_a_certificate_is_nobody() {
    let dir = domain();
    let (served, read) = connect(server_of(dir.path()), anonymous(dir.path()), BROKER_DNS).await;
    assert_eq!(served.unwrap(), None);
    assert_eq!(read.unwrap(), b'!');
}

#[tokio::test]
async fn a_node_of_another_ca_is_refused_and_refuses() {
    let (ours, theirs) = (domain(), domain());
    let server = server_of(ours.path());
    let client = client_config(theirs.path(), "node").unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert!(served.is_err());
    assert!(read.is_err());
}

#[tokio::test]
async fn a_server_of_our_ca_with_another_name_is_not_the_broker() {
    let dir = domain();
    let node = Identity {
        spiffe: NODE_SPIFFE.to_owned(),
        ..Identity::default()
    };
    let server = server_as(dir.path(), node, &WallClock::system());
    let client = client_config(dir.path(), "node").unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert!(served.is_err());
    assert!(read.is_err());
}

#[tokio::test]
async fn an_identity_issued_again_is_of_the_same_ca() {
    let dir = domain();
    let server = server_of(dir.path());
    let ca = ensure_ca(dir.path()).unwrap();
    let again = Identity {
        spiffe: NODE_SPIFFE.to_owned(),
        ..Identity::default()
    };
    ca.issue(dir.path(), "node", again).unwrap();
    let client = client_config(dir.path(), "node").unwrap();
    let (served, _) = connect(server, client, BROKER_DNS).await;
    assert_eq!(served.unwrap().as_deref(), Some(NODE_SPIFFE));
}

#[test]
fn keys_are_for_their_owner_alone() {
    let dir = domain();
    for name in ["ca.key.pem", "node.key.pem"] {
        let mode = std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_foreign_uri_is_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let ca = ensure_ca(dir.path()).unwrap();
    let issue = |name: &str, spiffe: &str| {
        let identity = Identity {
            spiffe: spiffe.to_owned(),
            ..Identity::default()
        };
        ca.issue(dir.path(), name, identity).unwrap();
        let (chain, _) = load_identity(dir.path(), name).unwrap();
        spiffe_of(&chain[0])
    };
    assert_eq!(issue("ours", NODE_SPIFFE).as_deref(), Some(NODE_SPIFFE));
    assert_eq!(issue("theirs", "spiffe://example.org/node/1"), None);
    assert_eq!(spiffe_of(&CertificateDer::from(vec![0x30, 0x00])), None);
}

#[test]
fn a_missing_identity_is_named() {
    let dir = domain();
    let error = client_config(dir.path(), "nobody").unwrap_err();
    assert!(error.to_string().contains("nobody.pem"), "{error}");
}

#[tokio::test]
async fn the_brokers_own_certificate_renews_itself_while_it_runs() {
    let dir = domain();
    let clock = WallClock::system();
    let server = server_as(dir.path(), broker(), &clock);
    let trusting = || {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(dir.path().join("ca.pem")).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    };
    // A day's certificate would be over at the second stop; and clocks are set back, too.
    for hours in [0, 25, 200, 30] {
        clock.set_ahead(hours * 3600);
        let (served, read) = connect(server.clone(), trusting(), BROKER_DNS).await;
        assert!(
            served.is_ok() && read.is_ok(),
            "after {hours} h: {served:?} {read:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_over_opens_nothing() {
    let dir = domain();
    let clock = WallClock::system();
    let server = server_as(dir.path(), broker(), &clock);
    let node = Credentials::load(dir.path(), "node").unwrap();
    assert!(!node.validity.is_over(clock.now()));
    clock.set_ahead(25 * 3600);
    assert!(node.validity.is_over(clock.now()));
    let client = node.client_config(&clock).unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert!(served.is_err() && read.is_err());
}

#[test]
fn renewal_is_due_at_two_thirds_and_nodes_spread() {
    let dir = domain();
    let node = Credentials::load(dir.path(), "node").unwrap();
    let Validity {
        not_before,
        not_after,
    } = node.validity;
    let life = not_after.duration_since(not_before).unwrap();
    assert_eq!(node.renew_at(0.0), not_before + life * 2 / 3);
    assert!(node.renew_at(1.0) > node.renew_at(0.0));
    assert!(node.renew_at(1.0) < not_after - life / 5);
}
