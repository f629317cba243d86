//! The real agent as a child process, a broker of the test, real containers; the worker is
//! `examples/quiet_worker`, for what is tested here is who owns what, not the picture.
#![allow(clippy::unwrap_used, reason = "a test that fails should say where")]

mod support;

use nearlight_protocol::api::EndReason;
use nearlight_protocol::control::{
    AckOutcome, DenyReason, FromEdge, Order, SessionWatchLinks, ToEdge, ViewerRole, WhepAction,
    WhepRefusal, WhepResult,
};
use nearlight_protocol::id::{RequestId, SessionId};
use nix::sys::signal::Signal;
use support::broker::Attached;
use support::node::app;
use support::play::{FOREVER, check_nothing_left, docker_site, play, playing, stop, wait_for_app};

#[tokio::test]
async fn a_session_starts_plays_and_ends_without_a_trace() {
    let Some(site) = docker_site().await else {
        return;
    };
    let mut agent = site.agent();
    let mut edge = site.broker.attach().await;
    let ready = agent.ready();
    assert_eq!(ready["node"], site.broker.node.as_str());
    assert_eq!(edge.inventory.slots.len(), 2);
    assert_eq!(edge.inventory.runtime, "docker");
    assert_eq!(edge.inventory.encoders, ["x264enc"]);
    assert!(edge.running.is_empty());

    let session = nearlight_kit::ids::session();
    let slot = edge.inventory.slots[0].id.clone();
    let mut spec = app(FOREVER);
    spec.saves = Some("/home/player/.config/doom".to_owned());
    let start = site.broker.start(&session, &slot, 1, spec);
    assert_eq!(edge.done(start.clone()).await, AckOutcome::Done);
    wait_for_app(&mut edge, &session).await;
    site.show_picture(&session);
    edge.wait_ready(&session).await;
    assert_eq!(site.containers().len(), 1);
    let shown = ask(ready["admin"].as_str().unwrap(), "/sessions").await;
    assert!(
        shown.contains(&format!("\"session\":\"{session}\"")),
        "{shown}"
    );
    assert!(shown.contains("\"state\":\"ready\""), "{shown}");
    assert!(
        shown.contains(&format!("\"container\":\"{}\"", site.containers()[0])),
        "{shown}"
    );
    assert!(shown.contains("\"worker\":{\"committed\":"), "{shown}");
    let metrics = ask(ready["admin"].as_str().unwrap(), "/metrics").await;
    assert!(metrics.contains("edge_sessions 1\n"), "{metrics}");

    // The same order again answers the same and starts nothing.
    assert_eq!(edge.done(start.clone()).await, AckOutcome::Done);
    assert_eq!(site.containers().len(), 1);

    let wanted = edge.order(stop(&session)).await;
    assert_eq!(edge.ended(&session).await.0, EndReason::PlayerEnded);
    // The ack comes after the end: nothing of the session is left by now.
    let done = FromEdge::Ack {
        command: wanted,
        outcome: AckOutcome::Done,
    };
    assert_eq!(edge.next().await, done);
    check_nothing_left(&site).await;
    assert!(
        site.data()
            .join("saves")
            .join(support::broker::user().as_str())
            .join("edge-test")
            .is_dir()
    );

    // Both orders once more: over is over, and how it ended is said again.
    assert_eq!(edge.done(stop(&session)).await, AckOutcome::Done);
    edge.order(start).await;
    assert_eq!(edge.ended(&session).await.0, EndReason::PlayerEnded);
    assert!(site.containers().is_empty());
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exited().await, Some(0));
}

/// A GET of the admin listener, headers and all.
async fn ask(admin: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

#[tokio::test]
async fn orders_without_a_right_are_denied() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, mut edge, session) = playing(&site).await;
    let (slot, other_slot) = (
        edge.inventory.slots[0].id.clone(),
        edge.inventory.slots[1].id.clone(),
    );
    let new = nearlight_kit::ids::session();
    let denied = |outcome: AckOutcome| match outcome {
        AckOutcome::Denied { reason, .. } => reason,
        AckOutcome::Done => panic!("it was done"),
    };
    let order = |slot, epoch| site.broker.start(&new, slot, epoch, app(FOREVER));

    let outcome = edge.done(order(&slot, 1)).await;
    assert_eq!(denied(outcome), DenyReason::EpochOld);
    let outcome = edge.done(order(&slot, 2)).await;
    assert_eq!(denied(outcome), DenyReason::SlotBusy);
    let foreign_slot = nearlight_kit::ids::slot();
    let outcome = edge.done(order(&foreign_slot, 1)).await;
    assert_eq!(denied(outcome), DenyReason::GrantInvalid);

    // A grant for another session, and one of another broker.
    for grant in [
        site.broker.grant(&session, &other_slot, 1),
        "a.b.c".to_owned(),
    ] {
        let Order::Start(mut start) = order(&other_slot, 1) else {
            unreachable!()
        };
        start.grant = grant;
        let outcome = edge.done(Order::Start(start)).await;
        assert_eq!(denied(outcome), DenyReason::GrantInvalid);
    }
    assert_eq!(site.containers().len(), 1);

    // An epoch that a former session of the slot had is old, over a restart of the agent too.
    assert_eq!(edge.done(stop(&session)).await, AckOutcome::Done);
    agent.kill().await;
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    assert_eq!(edge.inventory.slots[0].epoch.0, 1);
    let outcome = edge.done(order(&slot, 1)).await;
    assert_eq!(denied(outcome), DenyReason::EpochOld);
}

/// Nothing can be renamed onto a directory: it stands for a full disk.
#[tokio::test]
async fn a_node_that_cannot_write_its_journal_says_so_until_it_can() {
    let Some(site) = docker_site().await else {
        return;
    };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let journal = site.data().join("epochs.json");
    let _ = std::fs::remove_file(&journal);
    std::fs::create_dir(&journal).unwrap();
    let session = nearlight_kit::ids::session();
    let slot = edge.inventory.slots[0].id.clone();
    let order = |epoch| site.broker.start(&session, &slot, epoch, app(FOREVER));
    edge.order(order(1)).await;
    let told = fault_of(&mut edge, true).await;
    assert!(told.contains("epochs.json: "), "and why: {told}");
    // The second one burns no epoch, and is denied before anything is tried.
    for _ in 0..2 {
        match edge.next_ack().await {
            AckOutcome::Denied { reason, detail } => {
                assert_eq!((reason, detail), (DenyReason::NodeFault, told.clone()));
            }
            AckOutcome::Done => panic!("it was done"),
        }
        edge.order(order(2)).await;
    }
    edge.next_ack().await;
    std::fs::remove_dir(&journal).unwrap();
    fault_of(&mut edge, false).await;
    assert_eq!(edge.done(order(2)).await, AckOutcome::Done);
}

/// What the node's next inventory says that is wrong with it, of those that say so or do not.
async fn fault_of(edge: &mut Attached, is_there: bool) -> String {
    loop {
        if let FromEdge::Inventory(inventory) = edge.next().await
            && inventory.fault.is_empty() != is_there
        {
            return inventory.fault;
        }
    }
}

#[tokio::test]
async fn an_app_that_ends_says_why() {
    let Some(site) = docker_site().await else {
        return;
    };
    let agent = site.agent();
    let mut edge = site.broker.attach().await;
    let slot = edge.inventory.slots[0].id.clone();
    let mut epoch = 0;
    let mut order = |spec| {
        epoch += 1;
        let session = nearlight_kit::ids::session();
        let start = site.broker.start(&session, &slot, epoch, spec);
        (session, start)
    };

    let (session, start) = order(app("echo no display; exit 3"));
    edge.order(start).await;
    let (reason, detail) = edge.ended(&session).await;
    assert_eq!(
        (reason, detail.as_str()),
        (EndReason::AppStartFailed, "no display")
    );

    let mut spec = app("");
    spec.launch.image = "nearlight/no-such-app:1".to_owned();
    let (session, start) = order(spec);
    edge.order(start).await;
    assert_eq!(edge.ended(&session).await.0, EndReason::ImageMissing);

    let mut spec = app("");
    spec.launch.command = vec!["/no/such/program".to_owned()];
    let (session, start) = order(spec);
    edge.order(start).await;
    let (reason, _) = edge.ended(&session).await;
    assert!([EndReason::RuntimeFailed, EndReason::AppStartFailed].contains(&reason));
    check_nothing_left(&site).await;

    // After the picture.
    for (script, expected) in [
        (
            "touch /tmp/x; while [ ! -e /home/player/.x/go ]; do sleep 0.05; done; exit 0",
            EndReason::AppExited,
        ),
        (
            "while [ ! -e /home/player/.x/go ]; do sleep 0.05; done; kill -SEGV $$",
            EndReason::AppCrashed,
        ),
    ] {
        let mut spec = app(script);
        spec.saves = Some("/home/player/.x".to_owned());
        let (session, start) = order(spec);
        edge.order(start).await;
        wait_for_app(&mut edge, &session).await;
        site.show_picture(&session);
        edge.wait_ready(&session).await;
        let saves = site
            .data()
            .join("saves")
            .join(support::broker::user().as_str())
            .join("edge-test");
        std::fs::write(saves.join("go"), b"").unwrap();
        assert_eq!(edge.ended(&session).await.0, expected, "{script}");
        std::fs::remove_file(saves.join("go")).unwrap();
    }
    check_nothing_left(&site).await;
    drop(agent);
}

#[tokio::test]
async fn one_worker_s_end_touches_no_other_session() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, mut edge, first) = playing(&site).await;
    let second = play(&site, &mut edge, 1, 1, FOREVER).await;
    site.tell_worker(&second, "crash");
    let (reason, detail) = edge.ended(&second).await;
    assert_eq!(reason, EndReason::WorkerCrashed);
    assert!(detail.contains("the quiet worker listens"), "{detail:?}");

    let third = play(&site, &mut edge, 1, 2, FOREVER).await;
    site.tell_worker(&third, "fail");
    let (reason, detail) = edge.ended(&third).await;
    assert_eq!(
        (reason, detail.as_str()),
        (EndReason::DesktopViolation, "asked to")
    );

    assert_eq!(site.containers().len(), 1);
    edge.order(stop(&first)).await;
    assert_eq!(edge.ended(&first).await.0, EndReason::PlayerEnded);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exited().await, Some(0));
    check_nothing_left(&site).await;
}

#[tokio::test]
async fn a_drain_leaves_nothing() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (agent, mut edge, session) = playing(&site).await;
    agent.signal(Signal::SIGTERM);
    loop {
        match edge.next().await {
            FromEdge::Draining => break,
            FromEdge::Report { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(edge.ended(&session).await.0, EndReason::NodeDrained);
    assert_eq!(agent.exited().await, Some(0));
    check_nothing_left(&site).await;
    assert!(!site.run().exists());
}

#[tokio::test]
async fn a_wrong_configuration_exits_with_64_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("edge.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        std::process::Command::new(env!("CARGO_BIN_EXE_edge-node"))
            .args(["--check-config", "--config"])
            .arg(&file)
            .output()
            .unwrap()
    };
    let good = check("name = \"den\"\n");
    assert_eq!(good.status.code(), Some(0));
    let shown: serde_json::Value = serde_json::from_slice(&good.stdout).unwrap();
    assert_eq!(shown["name"], "den");
    for (text, words) in [
        ("nmae = \"den\"\n", "`nmae`"),
        ("[slots]\ncount = 300\n", "slots.count"),
        ("[admin]\nlisten = \"0.0.0.0:80\"\n", "loopback"),
    ] {
        let bad = check(text);
        assert_eq!(bad.status.code(), Some(64), "{text}");
        let said = String::from_utf8(bad.stderr).unwrap();
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_second_agent_with_the_same_data_is_refused() {
    let Some(site) = docker_site().await else {
        return;
    };
    let first = site.agent();
    let _edge = site.broker.attach().await;
    let second = site.agent();
    assert_eq!(second.exited().await, Some(1));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.exited().await, Some(0));
}

/// What a browser offers for a line check: data channels alone.
const LINE_CHECK: &str = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:Wx3K\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:\
    00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\na=mid:0\r\n\
    a=sctp-port:5000\r\na=max-message-size:262144\r\n";

/// Asks, and returns what the node answers to it.
async fn asked(edge: &mut Attached, ask: impl FnOnce(RequestId) -> ToEdge) -> WhepResult {
    let own = nearlight_kit::ids::request();
    edge.say(&ask(own.clone())).await;
    loop {
        if let FromEdge::WhepAnswer { request, result } = edge.next().await {
            assert_eq!(request, own);
            return result;
        }
    }
}

fn refusal(result: &WhepResult) -> WhepRefusal {
    match result {
        WhepResult::Refused { reason, detail } => {
            assert!(!detail.is_empty(), "{reason:?} says nothing");
            *reason
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_line_is_checked_without_any_session_and_nonsense_is_refused() {
    let Some(site) = docker_site().await else {
        return;
    };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let probe = |sdp: &str| {
        let sdp = sdp.to_owned();
        |request| ToEdge::Probe { request, sdp }
    };
    let long = format!("v=0\r\n{}", "a=x\r\n".repeat(20_000));
    for bad in ["", "v=0\r\n", "hello", long.as_str()] {
        let result = asked(&mut edge, probe(bad)).await;
        assert_eq!(refusal(&result), WhepRefusal::InvalidOffer, "{bad:.20}");
    }
    for _ in 0..4 {
        match asked(&mut edge, probe(LINE_CHECK)).await {
            WhepResult::Answer { sdp } => assert!(sdp.contains("m=application"), "{sdp}"),
            other => panic!("no answer but {other:?}"),
        }
    }
    let fifth = asked(&mut edge, probe(LINE_CHECK)).await;
    assert_eq!(refusal(&fifth), WhepRefusal::TooMany);
}

#[tokio::test]
async fn watchers_are_refused_for_what_is_no_offer_and_ends_of_unknown_links_do_no_harm() {
    let Some(site) = docker_site().await else {
        return;
    };
    let (_agent, mut edge, session) = playing(&site).await;
    let watch = |of: &SessionId, sdp: &str| {
        let (session, sdp) = (of.clone(), sdp.to_owned());
        let action = WhepAction::Offer {
            attachment: nearlight_kit::ids::attachment(),
            sdp,
            role: ViewerRole::Watcher {
                link: nearlight_kit::ids::watch_link(),
            },
        };
        |request| ToEdge::Whep {
            request,
            session,
            action,
        }
    };
    let garbage = asked(&mut edge, watch(&session, "v=0\r\n")).await;
    assert_eq!(refusal(&garbage), WhepRefusal::InvalidOffer);
    let stranger = nearlight_kit::ids::session();
    let unknown = asked(&mut edge, watch(&stranger, LINE_CHECK)).await;
    assert_eq!(refusal(&unknown), WhepRefusal::NotFound);
    for of in [&session, &stranger] {
        edge.say(&ToEdge::EndWatch {
            session: of.clone(),
            link: nearlight_kit::ids::watch_link(),
        })
        .await;
    }
    let sessions = vec![SessionWatchLinks {
        session: stranger,
        links: vec![nearlight_kit::ids::watch_link()],
    }];
    edge.say(&ToEdge::WatchLinks { sessions }).await;
    let again = asked(&mut edge, watch(&session, "v=0\r\n")).await;
    assert_eq!(refusal(&again), WhepRefusal::InvalidOffer, "it goes on");
}
