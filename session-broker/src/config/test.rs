//! The file and what is made of it.

use super::*;

fn defaults() -> Parsed {
    Parsed::load(None).unwrap()
}

#[test]
fn the_defaults_are_valid_and_complete() {
    let parsed = defaults();
    assert!(Config::try_from(parsed.clone()).is_ok());
    let written: toml::Table = DEFAULTS.parse().unwrap();
    let keys = toml::Table::try_from(parsed).unwrap();
    assert_eq!(written, keys, "the file has every key, and no other");
}

#[test]
fn a_beacon_is_one_that_there_is() {
    let mut parsed = defaults();
    parsed.checks.beacon = "quicknet".parse().unwrap();
    assert!(
        Config::try_from(parsed).is_ok(),
        "with the relays that ship"
    );
    let other = DEFAULTS.replace("beacon = \"chain\"", "beacon = \"drand\"");
    let error = toml::from_str::<Parsed>(&other).unwrap_err().to_string();
    assert!(error.contains("a beacon is `chain`, `quicknet`"), "{error}");
}

#[test]
fn plain_http_is_for_loopback_only() {
    let mut parsed = defaults();
    parsed.listen = "0.0.0.0:80".parse().unwrap();
    let error = Config::try_from(parsed.clone()).unwrap_err().to_string();
    assert!(error.contains("`listen`"), "{error}");
    parsed.tls = TlsFiles {
        cert: "c".into(),
        key: "k".into(),
    };
    assert!(Config::try_from(parsed).is_ok());
}

#[test]
fn values_that_do_not_go_together_are_named() {
    type Spoil = fn(&mut Parsed);
    let cases: [(&str, Spoil); 25] = [
        ("checks.beacon_relays", |p| {
            p.checks.beacon = "quicknet".parse().unwrap();
            p.checks.beacon_relays = Vec::new();
        }),
        ("checks.beacon_relays", |p| {
            p.checks.beacon = "quicknet".parse().unwrap();
            p.checks.beacon_relays = vec!["api.drand.sh".into()];
        }),
        ("checks.round_s", |p| {
            p.checks.beacon = "quicknet".parse().unwrap();
            p.checks.round_s = 11;
        }),
        ("metrics_listen", |p| p.metrics_listen = "9464".into()),
        ("turn.urls", |p| p.turn.urls = vec!["stun:a".into()]),
        ("turn.secret_file", |p| {
            p.turn.urls = vec!["turn:a:3478".into()];
        }),
        ("turn.ttl_s", |p| {
            p.turn.urls = vec!["turn:a:3478".into()];
            p.turn.ttl_s = 1;
        }),
        ("jobs.listen", |p| p.jobs.listen = "8082".into()),
        ("jobs.listen", |p| p.jobs.listen = "0.0.0.0:8082".into()),
        ("jobs.domain", |p| {
            p.jobs.listen = "0.0.0.0:443".into();
            (p.jobs.cert, p.jobs.key) = ("c".into(), "k".into());
        }),
        ("jobs.domain", |p| {
            p.jobs.listen = "127.0.0.1:0".into();
            p.jobs.domain = "*.example.org".into();
        }),
        ("jobs.cert", |p| {
            p.jobs.listen = "127.0.0.1:0".into();
            p.jobs.cert = "c".into();
        }),
        ("jobs.tunnel_address", |p| {
            p.jobs.tunnel_address = "here".into()
        }),
        ("node_addresses", |p| p.node_addresses = vec!["here".into()]),
        ("node_addresses", |p| {
            p.node_addresses = vec!["a:1".into(); 9];
        }),
        ("ledger", |p| p.ledger = "mysql://a/b".into()),
        ("tls", |p| p.tls.cert = "c".into()),
        ("hosts", |p| p.hosts = vec!["http://a".into()]),
        ("sessions.start_total_s", |p| p.sessions.start_total_s = 1),
        ("sessions.retain_days", |p| {
            p.sessions.ended_keep_s = 86_401;
            p.sessions.retain_days = 1;
        }),
        ("control.missed_max", |p| p.control.missed_max = 1),
        ("peers.name", |p| p.peers.name = "My Broker".into()),
        ("peers.listen", |p| p.peers.listen = "8444".into()),
        ("peers.listen", |p| p.peers.listen = "127.0.0.1:8444".into()),
        ("peers.address", |p| {
            p.ledger = "postgres://db/nearlight".into();
            p.peers.listen = "0.0.0.0:8444".into();
        }),
    ];
    for (key, spoil) in cases {
        let mut parsed = defaults();
        spoil(&mut parsed);
        let error = Config::try_from(parsed).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
