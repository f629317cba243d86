//! Callers who ask for more than their share, and what the others have of it.

use crate::isolation::bearer;
use crate::rig::{Rig, id};
use serde_json::json;
use session_broker::ledger::Fault;

/// Streams of a void key end, whatever else comes from their address.
#[tokio::test]
async fn a_flood_of_guesses_keeps_no_void_key_in_its_streams() {
    let rig = Rig::start_with(|config| {
        config.limits.requests_per_s = 1;
        config.limits.requests_burst = 30;
    })
    .await;
    let admin = rig.admin();
    let body = json!({ "name": "stolen", "role": "operator" });
    let made = admin.post_json("/v1/keys", &body).await;
    let thief = bearer(&rig, &made.at("/secret"));
    let session = id(&thief.create("demo").await);
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut events = thief.events(&session).await;
        events.next().await;
        streams.push(events);
    }
    let flood = async {
        for guess in 0.. {
            bearer(&rig, &format!("nlk_{guess}"))
                .get("/v1/whoami")
                .await;
        }
    };
    let key = format!("/v1/keys/{}", made.at("/key/id"));
    let ends = async {
        for guess in 0..60 {
            bearer(&rig, &format!("nlk_0{guess}"))
                .get("/v1/whoami")
                .await;
        }
        let guess = bearer(&rig, "nlk_x").get("/v1/whoami").await;
        guess.refused(429, "too-many-requests");
        assert_eq!(admin.delete(&key).await.status, 204);
        for events in &mut streams {
            while events.next_or_end().await.is_some() {}
        }
    };
    tokio::select! {
        () = ends => {}
        () = flood => {}
    }
}

/// A guest has no login that could end: asking for its end writes nothing, and puts nobody in doubt.
#[tokio::test]
async fn a_guest_cannot_log_out_by_the_secret_of_its_cookie() {
    let rig = Rig::start().await;
    let made = rig.nobody().get("/v1/whoami").await;
    let cookie = made.header("set-cookie").unwrap().to_owned();
    let pair = cookie.split(';').next().unwrap();
    let (_, secret) = pair.split_once('=').unwrap();
    rig.faults.arm(Fault::Full);
    let shown = bearer(&rig, secret);
    let out = shown.request("POST", "/v1/logout", &[], "").await;
    assert_eq!(out.status, 204, "nothing was written: {out:?}");
    rig.faults.arm(Fault::None);
    let guest = rig.nobody().with("cookie", pair).get("/v1/whoami").await;
    assert_eq!(guest.at("/user"), made.at("/user"), "and it is still one");
}
