//! Bodies and changed protocols: nothing is gathered, nothing is lost.

use crate::http::PATIENCE;
use crate::rig::eventually;
use crate::upstream::{TOGETHER, Upstream};
use crate::world::{World, read};
use axum::body::{Body, Bytes};
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::BodyExt;
use nearlight_kit::shutdown::Shutdown;
use nearlight_protocol::tunnel::STREAM_WINDOW_BYTES;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// What goes through each way; a soak sends more.
fn bulk_bytes() -> usize {
    let mib = std::env::var("NEARLIGHT_BULK_MIB").ok();
    mib.and_then(|mib| mib.parse().ok()).unwrap_or(96_usize) * 1024 * 1024
}

/// What may be between one end and the other: a stream's window, what each hop reads and writes at once,
/// and the kernel's own buffers, which grow by themselves on loopback (`tcp_rmem`, `tcp_wmem`), of four
/// connections.
const IN_FLIGHT_MAX: u64 = STREAM_WINDOW_BYTES as u64 + 48 * 1024 * 1024;

/// This process's memory, bytes: the broker, the node and both ends are in it.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[allow(clippy::print_stdout, reason = "what a soak reports")]
fn judge(total: usize, grown: u64) {
    println!(
        "{} MiB through, {} KiB more memory",
        total >> 20,
        grown >> 10
    );
    assert!(grown <= IN_FLIGHT_MAX, "{grown} bytes of memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_before_the_next_one_is_made() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/events")
        .body(Body::empty())
        .unwrap();
    let response = caller.send(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    for n in 0..5 {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
        let frame = frame.expect("nothing waits for more").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
        assert_eq!(caller.post("/seen", Body::empty()).await.0, 200);
    }
    assert!(body.frame().await.is_none());
    assert!(world.table.seen(&session) > 10, "the job is not idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_of_a_websocket_come_back_in_order() {
    let world = World::start().await;
    let (at, _echo) = Upstream::echo().await;
    let session = world.job(&[("ws", at)]).await;
    let caller = world.caller(&session).await;
    let mut request = format!("ws://{}/any?x=1", caller.host)
        .into_client_request()
        .unwrap();
    let with_ticket = caller.request("GET", "/").body(()).unwrap();
    let headers = request.headers_mut();
    headers.insert(
        "authorization",
        with_ticket.headers()["authorization"].clone(),
    );
    let tcp = TcpStream::connect(caller.at).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
    let (mut sink, mut source) = socket.split();
    let sends = Shutdown::new().spawn(async move {
        for n in 0..10_000_u32 {
            sink.feed(Message::text(n.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    for n in 0..10_000_u32 {
        let message = tokio::time::timeout(PATIENCE, source.next()).await.unwrap();
        assert_eq!(
            message.unwrap().unwrap().into_text().unwrap(),
            n.to_string()
        );
    }
    let mut sink = sends.await.unwrap();
    sink.close().await.unwrap();
    let end = tokio::time::timeout(PATIENCE, source.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_holds_little_of_itself_anywhere() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let (total, before) = (bulk_bytes(), memory());
    let request = caller.request("GET", &format!("/down?bytes={total}"));
    let response = caller.send(request.body(Body::empty()).unwrap()).await;
    let mut body = response.into_body();
    // Nobody reads: whoever makes it has to stop.
    let produced = &upstream.known.produced;
    let mut last = 0;
    eventually("the server to be held up", || {
        let now = produced.load(Ordering::SeqCst);
        let same = now == std::mem::replace(&mut last, now);
        async move { now > 0 && same }
    })
    .await;
    let (mut taken, mut most) = (0_u64, 0);
    while let Some(frame) = body.frame().await {
        taken += frame.unwrap().data_ref().map_or(0, Bytes::len) as u64;
        let ahead = produced.load(Ordering::SeqCst) - taken;
        assert!(ahead <= IN_FLIGHT_MAX, "{ahead} bytes are on the way");
        most = most.max(memory());
    }
    assert_eq!(taken, total as u64);
    judge(total, most.saturating_sub(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_as_large_as_it_is_and_takes_no_memory() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let (total, before) = (bulk_bytes(), memory());
    let most = Arc::new(AtomicU64::new(0));
    let pieces = stream::unfold((total, most.clone()), |(left, most)| async move {
        let piece = left.min(64 * 1024);
        most.fetch_max(memory(), Ordering::SeqCst);
        let bytes = Bytes::from(vec![7; piece]);
        (piece > 0).then_some((Ok::<_, Infallible>(bytes), (left - piece, most)))
    });
    let (status, body) = caller.post("/up", Body::from_stream(pieces)).await;
    assert_eq!((status.as_u16(), body), (200, total.to_string()));
    judge(total, most.load(Ordering::SeqCst).saturating_sub(before));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_requests_are_under_way_at_once() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let all = (0..TOGETHER).map(|_| caller.get("/together"));
    for (status, body) in futures_util::future::join_all(all).await {
        assert_eq!((status.as_u16(), body.as_str()), (200, "together"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_go_through() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await.with("te", "trailers");
    let request = caller
        .request("GET", "/trailers")
        .body(Body::empty())
        .unwrap();
    let response = caller.send(request).await;
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
    assert_eq!(collected.to_bytes(), "body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_is_noticed_by_the_container() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let known = upstream.known.clone();
    // Before the answer, and in the middle of it.
    for (n, path) in [(1, "/hang"), (2, "/hang?begin")] {
        let request = caller.request("POST", path).body(Body::from("x")).unwrap();
        let leaving = caller.clone();
        let asks = Shutdown::new().spawn(async move {
            let response = leaving.send(request).await;
            let mut body = response.into_body();
            while body.frame().await.is_some() {}
        });
        eventually("the request to arrive", || async {
            known.hung.load(Ordering::SeqCst) == n
        })
        .await;
        assert_eq!(known.given_up.load(Ordering::SeqCst), n - 1);
        asks.abort();
        eventually("the container to notice", || async {
            known.given_up.load(Ordering::SeqCst) == n
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_breaks_off_does_not_look_whole() {
    let (world, upstream) = (World::start().await, Upstream::http().await);
    let session = world.job(&[("api", upstream.at)]).await;
    let caller = world.caller(&session).await;
    let request = caller
        .request("GET", "/broken")
        .body(Body::empty())
        .unwrap();
    let response = caller.send(request).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "half"
    );
    assert_eq!(caller.post("/seen", Body::empty()).await.0, 200);
    let end = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "it does not look whole");
    // The next one is not hurt.
    let request = caller.request("GET", "/x").body(Body::empty()).unwrap();
    assert_eq!(read(caller.send(request).await).await.0, 200);
}
