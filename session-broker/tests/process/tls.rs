//! The public listener over TLS.

use crate::http::Answer;
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

    let trusting = pki::client_config(keys.path(), "public").unwrap();
    let whoami = async |cookies: &str| {
        let tcp = TcpStream::connect(rig.broker.listen).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(trusting.clone());
        let tls = connector.connect(name, tcp).await.unwrap();
        let client = rig.nobody().with("cookie", cookies);
        let answer = client.over(tls, "/v1/whoami").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    let kept = |answer: &Answer| -> Vec<String> {
        let set = answer.headers.iter();
        let set = set.filter(|(name, _)| name == "set-cookie");
        let pairs = set.map(|(_, value)| {
            assert!(value.contains("; Secure"), "{value}");
            value.split(';').next().unwrap().to_owned()
        });
        pairs.collect()
    };
    let one = whoami("").await;
    let [own, plain] = &kept(&one)[..] else {
        panic!("{one:?}");
    };
    assert!(own.starts_with("__Host-nearlight_guest="), "{own}");
    assert_eq!(
        own,
        &format!("__Host-{plain}"),
        "brokers of before know it, too"
    );
    // What another host could have set is nobody beside it.
    let other = kept(&whoami("").await)[1].clone();
    for planted in [other.clone(), other.replace("guest", "player")] {
        let who = whoami(&format!("{planted}; {own}")).await;
        assert_eq!(who.at("/user"), one.at("/user"), "{planted}");
    }
    // Who was known before goes on, and no plain cookie becomes one that another host could not have set.
    let known = whoami(plain).await;
    assert_eq!(known.at("/user"), one.at("/user"));
    for shown in [plain.clone(), other.replace("guest", "player"), own.clone()] {
        let answer = whoami(&shown).await;
        assert_eq!(kept(&answer), Vec::<String>::new(), "{shown}");
    }

    // One that is none of ours is passed over, whatever its length.
    let long = format!("nearlight_player={}", "x".repeat(300));
    let who = whoami(&format!("{long}; {own}")).await;
    assert_eq!(who.at("/user"), one.at("/user"));
    let new = whoami(&long).await;
    assert!(
        kept(&new)[0].starts_with("__Host-nearlight_guest="),
        "{new:?}"
    );

    let plain = rig.nobody().get("/healthz").await;
    assert_eq!(plain.status, 0, "no plain http beside it");
}
