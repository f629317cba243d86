//! Handshakes over loopback: what the listener takes, what it refuses, what a client believes.

use super::*;
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
    let broker = Identity {
        spiffe: "spiffe://nearlight/broker".to_owned(),
        dns: vec![BROKER_DNS.to_owned()],
        ips: vec![],
    };
    ca.issue(dir.path(), "broker", broker).unwrap();
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
    let server = server_config(dir.path(), "broker").unwrap();
    let client = client_config(dir.path(), "node").unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert_eq!(served.unwrap().as_deref(), Some(NODE_SPIFFE));
    assert_eq!(read.unwrap(), b'!');
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let dir = domain();
    let server = server_config(dir.path(), "broker").unwrap();
    let (served, read) = connect(server, anonymous(dir.path()), BROKER_DNS).await;
    assert!(served.is_err());
    assert!(read.is_err());
}

#[tokio::test]
async fn a_node_of_another_ca_is_refused_and_refuses() {
    let (ours, theirs) = (domain(), domain());
    let server = server_config(ours.path(), "broker").unwrap();
    let client = client_config(theirs.path(), "node").unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert!(served.is_err());
    assert!(read.is_err());
}

#[tokio::test]
async fn a_server_of_our_ca_with_another_name_is_not_the_broker() {
    let dir = domain();
    let server = server_config(dir.path(), "node").unwrap();
    let client = client_config(dir.path(), "node").unwrap();
    let (served, read) = connect(server, client, BROKER_DNS).await;
    assert!(served.is_err());
    assert!(read.is_err());
}

#[tokio::test]
async fn an_identity_issued_again_is_of_the_same_ca() {
    let dir = domain();
    let server = server_config(dir.path(), "broker").unwrap();
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
    for name in ["ca.key.pem", "broker.key.pem", "node.key.pem"] {
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
        let chain = certificates(&certificate_path(dir.path(), name)).unwrap();
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
    assert!(error.to_string().contains("nobody.key.pem"), "{error}");
}
