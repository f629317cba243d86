//! The public listener over TLS.

use crate::rig::Rig;
use nearlight_kit::pki;
use rustls_pki_types::ServerName;
use session_broker::config::TlsFiles;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn browsers_are_served_over_tls_and_their_cookie_stays_there() {
    let keys = tempfile::tempdir().unwrap();
    let identity = pki::Identity {
        spiffe: "spiffe://nearlight/public".to_owned(),
        dns: vec!["localhost".to_owned()],
        ips: Vec::new(),
    };
    let ca = pki::ensure_ca(keys.path()).unwrap();
    ca.issue(keys.path(), "public", identity).unwrap();
    let files = TlsFiles {
        cert: keys.path().join("public.pem"),
        key: keys.path().join("public.key.pem"),
    };
    let rig = Rig::start_with(|config| config.tls = files).await;

    let tcp = TcpStream::connect(rig.broker.listen).await.unwrap();
    let trusting = pki::client_config(keys.path(), "public").unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(trusting)
        .connect(name, tcp)
        .await
        .unwrap();
    let answer = rig.nobody().over(tls, "/v1/whoami").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("set-cookie").unwrap().contains("; Secure"));

    let plain = rig.nobody().get("/healthz").await;
    assert_eq!(plain.status, 0, "no plain http beside it");
}
