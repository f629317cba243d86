//! What is taken for ours, and what opens.

use super::*;
use axum::http::Request;
use nearlight_protocol::endpoint::scope::TicketScope;
use nearlight_protocol::grant::{GRANT_TYP, ISSUER};
use nearlight_protocol::id::{SessionId, UserId};

/// What looks like a token of this kind; who signed it is looked at elsewhere.
fn token(typ: &str) -> String {
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}"}}"#);
    format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
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
        by: String::new(),
        node: None,
        scope: TicketScope::default(),
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
    let ticket = token(ENDPOINT_TYP);
    assert!(is_ticket(&token(ENDPOINT_SCOPED_TYP)));
    for other in [&token(GRANT_TYP), "", "a.b.c", "its-own"] {
        assert!(!is_ticket(other), "{other}");
    }
    let check = |lines: &[(&'static str, &str)], uri: &str, expected: Shown| {
        assert_eq!(
            shown(&headers(lines), &uri.parse().unwrap(), Jar::Broker),
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
    let name = Jar::Broker.name();
    let planted = format!("a=b; {name}=planted");
    let cookie = format!("{name}={ticket}");
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
    let cookies = format!("a=b;{}=t; c=d", Jar::Secure.name());
    let ours = format!("{}=t", Jar::Broker.name());
    check(
        &[auth, ("cookie", &cookies), ("cookie", &ours)],
        &Shown::Cookies(Vec::new()),
        &[auth, ("cookie", "a=b; c=d")],
    );
    check(&[("cookie", &ours)], &Shown::Nothing, &[]);
}

/// Whether `claims` open the port of this name.
fn check_opens(
    claims: &EndpointClaims,
    (name, request): (&str, Request<()>),
    now_ms: u64,
    expected: Result<(), Closed>,
) {
    let target = Target {
        session: self::claims().aud,
        port: name.to_owned(),
    };
    let changes = request.headers().contains_key("upgrade");
    let head = request.into_parts().0;
    let opened = opens(claims, (&target, "api"), (&head, changes), now_ms);
    assert_eq!(opened, expected, "{claims:?} {name} {now_ms} {head:?}");
}

#[test]
fn a_ticket_opens_one_port_of_one_session_for_a_time() {
    let check = |claims: &EndpointClaims, name: &str, now_ms: u64, expected| {
        check_opens(claims, (name, Request::new(())), now_ms, expected);
    };
    check(&claims(), "", 999, Ok(()));
    check(&claims(), "api", 999, Ok(()));
    check(&claims(), "ui", 999, Err(Closed::Elsewhere));
    check(&claims(), "", 1000, Err(Closed::Expired));
    let of_ui = EndpointClaims {
        port: "ui".to_owned(),
        ..claims()
    };
    check(&of_ui, "ui", 0, Ok(()));
    check(&of_ui, "", 0, Err(Closed::Elsewhere));
    let of_other = EndpointClaims {
        aud: SessionId::from_parts(9, [0; 10]),
        ..claims()
    };
    check(&of_other, "", 0, Err(Closed::Elsewhere));
    let once = EndpointClaims {
        cookie_until_ms: Some(2000),
        ..claims()
    };
    check(&once, "", 0, Err(Closed::Once));
}

#[test]
fn a_ticket_with_a_scope_opens_nothing_beside_it() {
    let methods = Some(vec!["GET".to_owned()]);
    let reads = EndpointClaims {
        scope: TicketScope::asked(methods, Some("/v1".to_owned())).unwrap(),
        ..claims()
    };
    let check = |method: &str, uri: &str, line: Option<&str>, expected| {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(name) = line {
            request = request.header(name, "websocket");
        }
        let request = request.body(()).unwrap();
        check_opens(&reads, ("", request), 0, expected);
    };
    check("GET", "/v1/models?page=../2", None, Ok(()));
    check("POST", "/v1/models", None, Err(Closed::Scope));
    check("GET", "/admin", None, Err(Closed::Scope));
    check("GET", "/v1/%2e%2e/admin", None, Err(Closed::Scope));
    check("GET", "/v1/live", Some("upgrade"), Err(Closed::Scope));
    for name in OVERRIDES {
        check("GET", "/v1/models", Some(name), Err(Closed::Scope));
        let spelled = name.replace('-', "_");
        check("GET", "/v1/models", Some(&spelled), Err(Closed::Scope));
    }
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
    let secure = cookie("t", 60, Jar::Secure);
    assert_eq!(
        secure,
        "__Host-nearlight-endpoint=t; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
    );
    assert!(!cookie("t", 60, Jar::Broker).contains("Secure"));
}

/// A broker and a node on one machine have one host, and a browser one cookie of a name for both.
#[test]
fn on_loopback_a_broker_and_a_node_have_a_cookie_each_and_a_job_sees_neither() {
    let [broker, node] = [Jar::of_broker(false), Jar::of_node(false)];
    let both = [(broker, "of-broker"), (node, "of-node")];
    let sent = both.map(|(jar, value)| {
        let cookie = cookie(value, 60, jar);
        cookie.split(';').next().unwrap().to_owned()
    });
    let sent = format!("own=1; {}", sent.join("; "));
    let mut headers = headers(&[("cookie", &sent)]);
    for (jar, value) in both {
        let found = shown(&headers, &"/".parse().unwrap(), jar);
        assert_eq!(found, Shown::Cookies(vec![value.to_owned()]), "{jar:?}");
    }
    strip(&mut headers, &Shown::Nothing);
    assert_eq!(headers["cookie"], "own=1");
    assert_eq!(
        Jar::of_broker(true),
        Jar::of_node(true),
        "their hosts differ"
    );
}

#[test]
fn a_ticket_for_a_node_is_for_no_broker_and_no_other_node() {
    let [one, other] = [1, 2].map(|n| NodeId::from_parts(n, [0; 10]));
    let of_node = EndpointClaims {
        node: Some(one.clone()),
        ..claims()
    };
    assert!(is_here(&of_node, Some(&one)));
    assert!(!is_here(&of_node, Some(&other)) && !is_here(&of_node, None));
    // Those of before name none.
    let plain = claims();
    assert!(is_here(&plain, None) && is_here(&plain, Some(&one)));
}
