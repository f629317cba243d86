//! What callers are told of sessions whose broker is gone, or does not answer.

use super::*;

#[tokio::test]
async fn what_ended_at_a_broker_that_stopped_is_not_said_to_be_unknown() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let there = Client::guest(b.listen).await;
    let here = at(&there, &a);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let session = id(&there.create("demo").await);
    let started = edge.start_next().await;
    assert_eq!(there.delete(&path(&session)).await.status, 202);
    edge.stop_next(&started).await;
    reach(&here, &session, "ended").await;
    assert!(b.terminate().await.success());
    eventually("it to be shown", || async {
        let shown = here.get(&path(&session)).await;
        // Until the other one knows that nobody is there to be asked.
        assert!(matches!(shown.status, 200 | 503), "{shown:?}");
        shown.status == 200
    })
    .await;
    let shown = here.get(&path(&session)).await;
    assert_eq!(shown.at("/state/phase"), "ended");
    assert_eq!(shown.json()["owned"], true);
    assert_eq!(here.delete(&path(&session)).await.status, 202);
    let stranger = Client::guest(a.listen).await;
    for refused in [
        stranger.get(&path(&session)).await,
        stranger.delete(&path(&session)).await,
    ] {
        refused.refused(404, "not-found");
    }
}

#[tokio::test]
async fn a_key_whose_session_is_at_a_broker_that_hangs_is_not_said_to_be_over() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    // An administrator's: it asks often.
    let there = shared.admin("b", &b);
    let here = at(&there, &a);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let body = json!({ "app": "demo" });
    let keyed = |client: &Client| client.with("idempotency-key", "once");
    let first = keyed(&there).post_json("/v1/sessions", &body).await;
    edge.start_next().await;
    b.kill().await;
    eventually("the session under its key", || async {
        let again = keyed(&here).post_json("/v1/sessions", &body).await;
        assert!(matches!(again.status, 201 | 500 | 503), "{again:?}");
        again.status == 201 && again.at("/id") == first.at("/id")
    })
    .await;
}

/// Whose machine says nothing more: nothing is closed, and nothing comes.
#[tokio::test]
async fn who_watches_through_another_broker_hears_that_the_holder_hangs() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let there = Client::guest(b.listen).await;
    let here = at(&there, &a);
    let _edge = shared.edge(1, &b, &[&here, &there]).await;
    let session = id(&there.create("demo").await);
    let mut events = here.events(&session).await;
    events.next().await;
    b.signal("-STOP").await;
    while events.next_or_end().await.is_some() {}
    // Whoever asks again is answered where the session is by then.
    eventually("its new holder", || async {
        here.get(&path(&session)).await.status == 200
    })
    .await;
    here.events(&session).await.next().await;
    b.signal("-CONT").await;
}

/// Whoever asks while a session goes from one broker to the other need not ask again.
#[tokio::test]
async fn a_request_on_its_way_to_the_former_holder_is_answered_where_the_session_came_to() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two().await;
    let there = Client::guest(b.listen).await;
    let here = at(&there, &a);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let session = id(&there.create("demo").await);
    let started = edge.start_next().await;
    reach(&here, &session, "ready").await;
    b.signal("-STOP").await;
    let asking = ["", "/placement", "/watch-links"].map(|of| {
        let (here, path) = (here.clone(), format!("{}{of}", path(&session)));
        Shutdown::new().spawn(async move { here.get(&path).await })
    });
    // Each is on its way while the node attaches, and waits for longer than that takes.
    let moved = shared
        .attach(&edge.node, &a, vec![started.running(false)])
        .await;
    for asked in asking {
        let answer = asked.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    drop(moved);
    b.signal("-CONT").await;
}

/// Its first holder may have made it: then nobody would know of the first of two.
#[tokio::test]
async fn what_is_made_at_a_holder_that_answers_late_is_made_once() {
    let Some(shared) = Shared::new() else { return };
    let (a, b) = shared.two_that_wait().await;
    let there = Client::guest(b.listen).await;
    let here = at(&there, &a);
    let mut edge = shared.edge(1, &b, &[&here, &there]).await;
    let session = id(&there.create("demo").await);
    edge.start_next().await;
    reach(&here, &session, "ready").await;
    let links = format!("{}/watch-links", path(&session));
    let wanted = json!({ "expires_s": 600 });
    let held = shared.postgres.hold("watch_link");
    let late = here.post_json(&links, &wanted).await;
    late.refused(503, "node-unreachable");
    drop(held);
    // What came before it is written before it.
    let own = there.post_json(&links, &wanted).await;
    assert_eq!(own.status, 201, "{own:?}");
    let made = shared.postgres.ask("SELECT count(*) FROM watch_link;");
    assert_eq!(made, "2", "what was late, and the other one's own");
}
