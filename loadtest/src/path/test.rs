use super::*;
use std::net::UdpSocket;

/// Far more than anything takes; reached only when something is broken.
const DEADLINE: Duration = Duration::from_secs(30);

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// A relay over the path of `profile`, and the node behind it.
fn relay(profile: &str) -> (Relay, UdpSocket) {
    let node = socket();
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        to: node.local_addr().unwrap(),
        profile: Profile::from_toml(profile).unwrap(),
    };
    (Relay::start(options, None).unwrap(), node)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..len].to_vec(), from)
}

#[test]
fn the_node_sees_each_client_at_an_address_of_its_own_and_answers_find_them() {
    let (relay, node) = relay("");
    let (one, two) = (socket(), socket());
    one.send_to(b"one", relay.address()).unwrap();
    let (said, at_one) = receive(&node);
    assert_eq!(said, b"one");
    two.send_to(b"two", relay.address()).unwrap();
    let (_, at_two) = receive(&node);
    assert_ne!(at_one, at_two);
    node.send_to(b"to two", at_two).unwrap();
    node.send_to(b"to one", at_one).unwrap();
    assert_eq!(receive(&one), (b"to one".to_vec(), relay.address()));
    assert_eq!(receive(&two), (b"to two".to_vec(), relay.address()));
    let report = relay.report().unwrap();
    assert_eq!((report.clients, report.refused), (2, 0));
    assert_eq!(
        (report.up.counters.delivered, report.down.counters.delivered),
        (2, 2)
    );
    // Three bytes and their headers.
    assert_eq!(report.up.counters.offered_bytes, 62);
}

#[test]
fn after_a_rebind_the_node_sees_another_address() {
    let (relay, node) = relay("");
    let client = socket();
    client.send_to(b"before", relay.address()).unwrap();
    let (_, before) = receive(&node);
    relay.rebind().unwrap();
    // The order is carried out by the time that its report is.
    relay.report().unwrap();
    client.send_to(b"after", relay.address()).unwrap();
    let (_, after) = receive(&node);
    assert_ne!(before, after);
    node.send_to(b"found", after).unwrap();
    assert_eq!(receive(&client).0, b"found");
}

#[test]
fn what_is_lost_is_what_the_model_loses() {
    let (relay, node) = relay("seed = 3\n[up]\nloss = \"50%\"");
    let client = socket();
    let mut expected = Vec::new();
    let mut model = nearlight_sim::path::Path::new(
        nearlight_sim::path::Conditions {
            loss: 0.5,
            ..nearlight_sim::path::Conditions::CLEAN
        },
        !3,
    );
    for number in 0..200u8 {
        client.send_to(&[number], relay.address()).unwrap();
        if matches!(
            model.offer(0, 29),
            nearlight_sim::path::Fate::Deliver { .. }
        ) {
            expected.push(number);
        }
    }
    let arrived: Vec<u8> = expected.iter().map(|_| receive(&node).0[0]).collect();
    assert_eq!(arrived, expected);
    assert_eq!(
        relay.report().unwrap().up.counters.lost_random,
        200 - expected.len() as u64
    );
}

#[test]
fn delay_and_a_change_of_it_are_kept() {
    let (relay, node) = relay("[up]\ndelay = \"50ms\"");
    let client = socket();
    let sent = std::time::Instant::now();
    client.send_to(b"slow", relay.address()).unwrap();
    receive(&node);
    assert!(sent.elapsed() >= Duration::from_millis(50));
    let changed = serde_json::from_str(r#"{"loss":"100%"}"#).unwrap();
    relay.change(Change::default(), changed).unwrap();
    relay.report().unwrap();
    client.send_to(b"never", relay.address()).unwrap();
    relay
        .change(
            Change::default(),
            serde_json::from_str(r#"{"loss":0,"delay":"0ms"}"#).unwrap(),
        )
        .unwrap();
    // Orders may pass packets that wait in the socket, so it is sent until one comes.
    node.set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut buffer = [0; 16];
    let until = std::time::Instant::now() + DEADLINE;
    while node.recv(&mut buffer).is_err() {
        assert!(std::time::Instant::now() < until, "nothing comes through");
        client.send_to(b"now", relay.address()).unwrap();
    }
}

#[test]
fn samples_add_up_to_the_report() {
    let node = socket();
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        to: node.local_addr().unwrap(),
        profile: Profile::from_toml("[up]\nrate = \"1mbit\"\nqueue = \"20ms\"").unwrap(),
    };
    let (to, samples) = sync_channel(10_000);
    let every = Duration::from_millis(1);
    let relay = Relay::start(options, Some(Samples { every, to })).unwrap();
    let client = socket();
    for _ in 0..30 {
        client.send_to(&[0; 972], relay.address()).unwrap();
    }
    // A packet of 1000 bytes takes 8 ms: the first and those that wait at most 20 ms.
    let mut offered = 0;
    let mut waits = Vec::new();
    while offered < 30 {
        let sample = samples.recv_timeout(DEADLINE).unwrap();
        offered += sample.up.counters.offered;
        waits.extend(sample.up.queue_bins_ms);
    }
    let report = relay.report().unwrap();
    let waited: u64 = waits.iter().map(|(_, packets)| packets).sum();
    assert_eq!(waited, report.up.counters.delivered);
    assert_eq!(
        report.up.counters.delivered + report.up.counters.lost_queue,
        30
    );
    assert!(report.up.counters.lost_queue > 0);
    assert!(waits.iter().all(|(ms, _)| *ms <= 20), "{waits:?}");
    assert!(report.up.queue_ms.max <= 20.1);
}

#[test]
fn a_relay_that_is_dropped_frees_its_port() {
    let (relay, _node) = relay("");
    let address = relay.address();
    drop(relay);
    UdpSocket::bind(address).unwrap();
}

#[test]
fn the_profiles_beside_this_crate_are_understood() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let profile = Profile::from_toml(&std::fs::read_to_string(&path).unwrap());
        let profile = profile.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_ne!(profile.down, nearlight_sim::path::Conditions::CLEAN);
        read += 1;
    }
    assert!(read > 0);
}
