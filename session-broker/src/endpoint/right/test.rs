//! What is taken for ours, and what opens.

use super::*;
use nearlight_protocol::grant::ISSUER;
use nearlight_protocol::id::{SessionId, UserId};

fn signer() -> Signer {
    let dir = tempfile::tempdir().unwrap();
    Signer::open(&dir.path().join("key")).unwrap()
}

fn claims() -> EndpointClaims {
    EndpointClaims {
        iss: ISSUER.to_owned(),
        aud: SessionId::from_parts(1, [0; 10]),
        port: String::new(),
        sub: UserId::from_parts(2, [0; 10]),
        jti: "j".to_owned(),
        iat_ms: 0,
        exp_ms: 1000,
        cookie_until_ms: None,
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in lines {
        all.append(*name, value.parse().unwrap());
    }
    all
}

fn port(name: &str, access: PortAccess) -> Port {
    Port {
        name: name.to_owned(),
        port: 80,
        health: None,
        access,
    }
}

#[test]
fn ours_is_told_from_what_is_the_jobs_own() {
    let ticket = signer().endpoint_ticket(&claims());
    let check = |lines: &[(&'static str, &str)], uri: &str, expected: Shown| {
        assert_eq!(
            shown(&headers(lines), &uri.parse().unwrap(), false),
            expected
        );
    };
    let bearer = format!("bearer {ticket}");
    check(
        &[("authorization", &bearer)],
        "/",
        Shown::Ticket(ticket.clone()),
    );
    check(
        &[("authorization", "Bearer nlk_x")],
        "/",
        Shown::Key("nlk_x".to_owned()),
    );
    check(&[("authorization", "Bearer its-own")], "/", Shown::Nothing);
    check(&[("authorization", "Basic abc")], "/", Shown::Nothing);
    let planted = format!("a=b; {COOKIE_PLAIN}=planted");
    let cookie = format!("{COOKIE_PLAIN}={ticket}");
    check(
        &[
            ("authorization", "Bearer its-own"),
            ("cookie", &planted),
            ("cookie", &cookie),
        ],
        "/?ticket=theirs",
        Shown::Cookies(vec!["planted".to_owned(), ticket.clone()]),
    );
    check(
        &[],
        &format!("//evil.example/a?b=c&ticket={ticket}&d"),
        Shown::Address(ticket.clone(), "/evil.example/a?b=c&d".to_owned()),
    );
}

#[test]
fn nothing_of_ours_reaches_a_container() {
    let check =
        |lines: &[(&'static str, &str)], shown: &Shown, expected: &[(&'static str, &str)]| {
            let mut left = headers(lines);
            strip(&mut left, shown);
            assert_eq!(left, headers(expected));
        };
    let auth = ("authorization", "Bearer x");
    check(&[auth], &Shown::Ticket(String::new()), &[]);
    check(&[auth], &Shown::Key(String::new()), &[]);
    check(&[auth], &Shown::Nothing, &[auth]);
    let cookies = format!("a=b;{COOKIE_SECURE}=t; c=d");
    let ours = format!("{COOKIE_PLAIN}=t");
    check(
        &[auth, ("cookie", &cookies), ("cookie", &ours)],
        &Shown::Cookies(Vec::new()),
        &[auth, ("cookie", "a=b; c=d")],
    );
    check(&[("cookie", &ours)], &Shown::Nothing, &[]);
}

#[test]
fn a_ticket_opens_one_port_of_one_session_for_a_time() {
    let signer = signer();
    let ports = [
        port("api", PortAccess::Ticket),
        port("ui", PortAccess::Ticket),
    ];
    let target = |name: &str| Target {
        session: claims().aud,
        port: name.to_owned(),
    };
    let check = |claims: &EndpointClaims, name: &str, now_ms: u64, expected: bool| {
        let token = signer.endpoint_ticket(claims);
        let opened = opens(&signer, &token, (&target(name), &ports), now_ms);
        assert_eq!(opened.is_some(), expected, "{claims:?} {name} {now_ms}");
    };
    check(&claims(), "", 999, true);
    check(&claims(), "api", 999, true);
    check(&claims(), "ui", 999, false);
    check(&claims(), "", 1000, false);
    let of_ui = EndpointClaims {
        port: "ui".to_owned(),
        ..claims()
    };
    check(&of_ui, "ui", 0, true);
    check(&of_ui, "", 0, false);
    let of_other = EndpointClaims {
        aud: SessionId::from_parts(9, [0; 10]),
        ..claims()
    };
    check(&of_other, "", 0, false);
    let foreign = self::signer().endpoint_ticket(&claims());
    assert!(opens(&signer, &foreign, (&target(""), &ports), 0).is_none());
}

#[test]
fn a_port_is_for_whom_its_spec_says() {
    let ports = [
        port("api", PortAccess::Ticket),
        port("site", PortAccess::Public),
        port("ray", PortAccess::Cluster),
    ];
    let check = |name, expected| assert_eq!(access(&ports, name), expected, "{name}");
    check("", Some(PortAccess::Ticket));
    check("api", Some(PortAccess::Ticket));
    check("site", Some(PortAccess::Public));
    check("ray", None);
    check("other", None);
    assert_eq!(access(&[], "any"), Some(PortAccess::Ticket));
}

#[test]
fn a_cookie_is_not_for_pages_of_other_origins() {
    let own = "https://ses-a.jobs.example";
    let check = |lines: &[(&'static str, &str)], changes: bool, expected: bool| {
        assert_eq!(
            is_own_doing(&headers(lines), own, changes),
            expected,
            "{lines:?}"
        );
    };
    let site = |value| ("sec-fetch-site", value);
    check(&[], false, true);
    check(&[site("none")], false, true);
    check(&[site("same-origin")], false, true);
    check(
        &[site("cross-site"), ("sec-fetch-mode", "navigate")],
        false,
        true,
    );
    check(
        &[site("same-site"), ("sec-fetch-mode", "no-cors")],
        false,
        false,
    );
    check(&[site("cross-site")], false, false);
    check(&[("origin", own)], true, true);
    check(&[("origin", own), site("same-origin")], false, true);
    check(&[("origin", "https://ses-b.jobs.example")], false, false);
    check(&[("origin", "null")], false, false);
    check(&[], true, false);
    // A form of another page navigates, too: its Origin tells.
    let form = [
        ("origin", "https://evil.example"),
        ("sec-fetch-mode", "navigate"),
    ];
    check(&form, false, false);
}

#[test]
fn the_cookie_is_for_one_host_and_no_script() {
    let secure = cookie("t", 60, true);
    assert_eq!(
        secure,
        "__Host-nearlight-endpoint=t; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
    );
    assert!(!cookie("t", 60, false).contains("Secure"));
}
