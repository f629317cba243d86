//! A broker behind a certificate that no public authority has given: the network has one of its own.

use crate::scripted::{Asked, PROGRAM, Running, Scripted};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// The authority's certificate, PEM, and what a server at 127.0.0.1 shows that it certified.
fn authority() -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = config.with_single_cert(vec![certificate.der().clone()], key);
    (pem, config.unwrap())
}

/// Ends TLS before a broker of the test; its address.
fn before(broker: &Scripted, config: ServerConfig) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (to, config) = (broker.url.replace("http://", ""), Arc::new(config));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (to, config) = (to.clone(), config.clone());
            std::thread::spawn(move || {
                let tls = ServerConnection::new(config).unwrap();
                let mut inside = StreamOwned::new(tls, stream.unwrap());
                // Whoever does not believe the certificate hangs up.
                let _ = carried(&mut inside, &to);
            });
        }
    });
    url
}

/// One request, and its answer.
fn carried(from: &mut StreamOwned<ServerConnection, TcpStream>, to: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length = length.map_or(0, |length| length.trim().parse().unwrap());
            body.len() >= length
        })
    };
    while !is_whole(&request) {
        let mut some = [0; 4096];
        match from.read(&mut some)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&some[..read]),
        }
    }
    let mut broker = TcpStream::connect(to)?;
    broker.write_all(&request)?;
    let mut answer = Vec::new();
    broker.read_to_end(&mut answer)?;
    from.write_all(&answer)?;
    from.conn.send_close_notify();
    from.flush()?;
    from.sock.shutdown(Shutdown::Write)
}

fn checker(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("--data").arg(data).args(args);
    command.output().unwrap()
}

/// The way was plain HTTP, or a certificate of a public authority.
#[test]
fn a_checker_comes_in_and_works_where_the_broker_has_a_private_authority() {
    let (pem, config) = authority();
    let broker = Scripted::start();
    let began = nearlight_kit::clock::unix_ms() - 600_000;
    broker.change(|script| script.genesis_ms = Some(began));
    let url = before(&broker, config);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, other) = (file("ca.pem", &pem), file("other.pem", &authority().0));
    let data = dir.path().join("data");
    assert!(checker(&data, &["init"]).status.success());
    let join = ["join", &url, "--token", "nlc_token"];

    let believed = [&[][..], &["--ca", &other]];
    for flags in believed {
        let refused = checker(&data, &[&join[..], flags].concat());
        assert_eq!(refused.status.code(), Some(4), "{refused:?}");
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains("invalid peer certificate"),
            "{refused:?}"
        );
    }
    let nothing = file("nothing.pem", "");
    let refused = checker(&data, &[&join[..], &["--ca", &nothing]].concat());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("no certificates"),
        "{refused:?}"
    );
    assert!(
        broker.until("nothing", |_| true).is_empty(),
        "nobody was told the token"
    );

    let joined = checker(&data, &[&join[..], &["--ca", &ca]].concat());
    assert!(joined.status.success(), "{joined:?}");
    // Each command holds to it by itself, without the file.
    std::fs::remove_file(&ca).unwrap();
    let looked = checker(&data, &["doctor"]);
    assert!(looked.status.success(), "{looked:?}");

    let public = String::from_utf8(checker(&data, &["key"]).stdout).unwrap();
    let public = public.lines().find_map(|line| line.strip_prefix("public "));
    let classes = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/gpu-classes.json");
    let table = dir.path().join("table");
    let table = table.to_str().unwrap();
    let made = [
        "table",
        "--classes",
        classes,
        "--serial",
        "1",
        "--out",
        table,
    ];
    assert!(checker(&data, &made).status.success());
    let mut run = Command::new(PROGRAM);
    run.arg("--data").arg(&data).args(["run", "--table", table]);
    run.args(["--table-key", public.unwrap()])
        .stdout(Stdio::null());
    let running = Running::started(&mut run);
    broker.until("it to ask what is due", |asked| {
        asked.iter().any(Asked::is_for_assignments)
    });
    running.signal("-TERM");
    assert!(running.ended().status.success());
}
