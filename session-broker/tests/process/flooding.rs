//! Callers who ask for more than their share, and what the others have of it.

use crate::isolation::{bearer, tenant};
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
        // Until this address is over its rate.
        for guess in 0.. {
            let guess = bearer(&rig, &format!("nlk_0{guess}"));
            if guess.get("/v1/whoami").await.status == 429 {
                break;
            }
        }
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

/// Anybody may ask whether the broker is ready: that is one look for all who do.
#[tokio::test]
async fn whether_a_broker_is_ready_is_looked_up_once_for_all_who_ask() {
    let rig = Rig::start().await;
    let nobody = rig.nobody();
    assert_eq!(nobody.get("/readyz").await.status, 200);
    let before = rig.faults.looked_up();
    for _ in 0..20 {
        let ten = (0..10).map(|_| nobody.get("/readyz"));
        for answer in futures_util::future::join_all(ten).await {
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    let looks = rig.faults.looked_up() - before;
    assert!(looks < 100, "{looks} looks for 200 who asked");
}

/// The other callers' credentials are believed as before, whatever one caller changes of its own.
#[tokio::test]
async fn who_changes_what_is_its_own_has_nobody_else_looked_up() {
    let rig = Rig::start_with(|config| {
        config.limits.key_creates_burst = 500;
        config.limits.tenant_creates_burst = 500;
        config.limits.key_requests_burst = 2_000;
        config.limits.tenant_requests_burst = 2_000;
    })
    .await;
    let (_, _, one) = tenant(&rig, "one").await;
    let (_, _, other) = tenant(&rig, "other").await;
    assert_eq!(other.get("/v1/whoami").await.status, 200);
    let before = rig.faults.looked_up();
    for n in 0..100 {
        let body = json!({ "name": format!("k{n}"), "role": "tenant" });
        assert_eq!(one.post_json("/v1/keys", &body).await.status, 201);
        assert_eq!(other.get("/v1/whoami").await.status, 200);
    }
    let looks = rig.faults.looked_up() - before;
    assert!(looks < 50, "{looks} look-ups for 200 requests of two keys");
}
