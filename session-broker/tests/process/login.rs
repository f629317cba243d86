//! Logging in, as far as it needs no provider; e2e has a real one.

use crate::http::Client;
use crate::rig::Rig;

async fn rig(issuer: &str) -> Rig {
    let issuer = issuer.to_owned();
    Rig::start_with(|config| {
        config.oidc.issuer = issuer;
        config.oidc.client_id = "nearlight".to_owned();
    })
    .await
}

/// An address at which nobody answers.
async fn nobodys() -> String {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", taken.local_addr().unwrap())
}

fn no_cookie_of_a_player(answer: &crate::http::Answer) {
    let set = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    let player = set.filter(|(_, value)| value.starts_with("nearlight_player="));
    let given = player.filter(|(_, value)| !value.contains("Max-Age=0"));
    assert_eq!(given.count(), 0, "{answer:?}");
}

#[tokio::test]
async fn without_a_provider_there_is_no_login() {
    let rig = Rig::start().await;
    let nobody = rig.nobody();
    for path in ["/v1/login", "/v1/login/callback?code=a&state=b"] {
        nobody.get(path).await.refused(404, "not-found");
    }
    let polled = serde_json::json!({ "device_code": "guessed" });
    for path in ["/v1/login/device", "/v1/login/device/poll"] {
        nobody
            .post_json(path, &polled)
            .await
            .refused(404, "not-found");
    }
    let options = nobody.get("/v1/login/options").await;
    assert_eq!(
        (options.at("/login_path"), options.at("/guests")),
        ("null".into(), "true".into())
    );
    assert_eq!(
        rig.guest().await.get("/v1/whoami").await.at("/login_path"),
        "null"
    );
}

#[tokio::test]
async fn a_provider_that_is_away_keeps_nobody_from_playing_as_a_guest() {
    let rig = rig(&nobodys().await).await;
    let guest = rig.guest().await;
    assert_eq!(guest.get("/v1/whoami").await.at("/login_path"), "/v1/login");
    let refused = guest.get("/v1/login").await;
    refused.refused(503, "provider-unreachable");
    assert!(refused.header("retry-after").is_some());
    no_cookie_of_a_player(&refused);
    let polled = serde_json::json!({ "device_code": "guessed" });
    let refused = guest.post_json("/v1/login/device", &polled).await;
    refused.refused(503, "provider-unreachable");
    // What was made up is nothing that the provider is asked about.
    let over = guest.post_json("/v1/login/device/poll", &polled).await;
    assert_eq!(over.at("/state"), "expired", "{over:?}");
    let long = serde_json::json!({ "device_code": "x".repeat(4097) });
    let refused = guest.post_json("/v1/login/device/poll", &long).await;
    refused.refused(400, "bad-request");
    for odd in ["//evil.example", "https://evil.example", "/%5cevil.example"] {
        let odd = guest.get(&format!("/v1/login?back={odd}")).await;
        odd.refused(400, "bad-request");
    }
}

#[tokio::test]
async fn who_comes_back_without_having_left_is_nobody() {
    let rig = rig(&nobodys().await).await;
    let forged: Client = rig.nobody().with("cookie", "nearlight_login=e30.e30.e30");
    let guest = rig.guest().await;
    for client in [rig.nobody(), forged, guest] {
        for query in [
            "code=a&state=b",
            "code=a",
            "state=b",
            "error=access_denied&state=b",
            "",
        ] {
            let answer = client.get(&format!("/v1/login/callback?{query}")).await;
            assert_eq!(answer.status, 303, "{answer:?}");
            assert_eq!(answer.header("location"), Some("/?login=failed"));
            no_cookie_of_a_player(&answer);
        }
    }
}

#[tokio::test]
async fn where_no_guests_are_taken_nobody_becomes_one_and_those_there_are_turned_away() {
    let rig = Rig::start_with(|config| config.guests = false).await;
    let minted = rig.nobody().get("/v1/whoami").await;
    minted.refused(401, "unauthenticated");
    assert_eq!(minted.header("set-cookie"), None);
    assert_eq!(
        rig.nobody().get("/v1/login/options").await.at("/guests"),
        "false"
    );
    assert_eq!(rig.admin().get("/v1/whoami").await.at("/role"), "admin");
    let out = rig.nobody().request("POST", "/v1/logout", &[], "").await;
    assert_eq!(out.status, 204, "{out:?}");
}
