//! What a job reaches beyond its container: what its spec says, and nothing of its node or its neighbours.

use super::NOTHING;
use super::support;
use nearlight_protocol::job::{ContainerRuntime, Egress};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use support::broker::Attached;
use support::example;
use support::jobs::{address, get, ready, served, site, stopped, traces};
use support::node::Site;

/// Says hello to whoever connects, at every address of this host.
fn greeter() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever connected may be gone.
            let _ = stream.unwrap().write_all(b"hello");
        }
    });
    port
}

fn host_addresses() -> Vec<String> {
    let listed = run("ip", &["-4", "-o", "addr"]);
    let addresses = listed
        .split_ascii_whitespace()
        .filter(|word| word.contains('/') && word.contains('.'));
    let addresses = addresses.map(|word| word.split('/').next().unwrap().to_owned());
    addresses.filter(|a| !a.starts_with("127.")).collect()
}

pub(super) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_job_reaches_neither_its_neighbour_nor_the_host_nor_the_metadata_address() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let mut open = served();
    open.egress.internet = true;
    let closed = ready(&site, &mut edge, 0, 1, served()).await;
    let open = ready(&site, &mut edge, 1, 1, open).await;
    let port = greeter();
    // Its own server it reaches: what is refused below is refused by the network.
    let own = get(&closed, "/touch/tmp/x").await;
    assert_eq!(own, "wrote");
    let mut targets: Vec<_> = host_addresses()
        .iter()
        .map(|a| format!("{a}:{port}"))
        .collect();
    assert!(
        targets.len() >= 3,
        "two bridges and an interface: {targets:?}"
    );
    targets.push("169.254.169.254:80".to_owned());
    for (job, other) in [(&closed, &open), (&open, &closed)] {
        let neighbour = format!("{}:8000", address(other));
        for target in targets.iter().chain([&neighbour]) {
            let said = get(job, &format!("/connect/{target}")).await;
            assert!(said.starts_with("failed"), "{target}: {said}");
        }
    }
    let said = get(&closed, "/resolve/example.com").await;
    assert!(said.starts_with("failed"), "{said}");
    stopped(&mut edge, &closed).await;
    stopped(&mut edge, &open).await;
    assert_eq!(traces(&site), NOTHING);
}

/// A machine beside this host, that says hello.
pub(super) struct Beside {
    space: String,
    greeters: Vec<Child>,
}

impl Beside {
    /// With these networks, each with this host's address and its own, and with a server at each of these ports.
    pub(super) fn new(networks: &[(&str, &[&str])], ports: &[&str]) -> Self {
        let space = format!("nlt{}", std::process::id());
        let link = format!("nlv{}", std::process::id());
        let ip = |line: &str| {
            let line = line.replace("SPACE", &space).replace("LINK", &link);
            run("ip", &line.split(' ').collect::<Vec<_>>());
        };
        ip("netns add SPACE");
        ip("link add LINK type veth peer name eth0 netns SPACE");
        for (near, far) in networks {
            ip(&format!("addr add {near}/24 dev LINK"));
            for far in *far {
                ip(&format!("-n SPACE addr add {far}/24 dev eth0"));
            }
        }
        ip("link set LINK up");
        ip("-n SPACE link set eth0 up");
        ip(&format!("-n SPACE route add default via {}", networks[0].0));
        let greeters = ports.iter().map(|port| greeter_in(&space, port)).collect();
        Self { space, greeters }
    }
}

/// A server in a network namespace, that listens.
fn greeter_in(space: &str, port: &str) -> Child {
    // `ip netns exec` would have all mounts of this host, too, and with them the disks of other tests' jobs.
    let mut greeter = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{space}"))
        .arg(example("job_program"))
        .args(["greet", port])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let out = greeter.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
    assert_eq!(line, "listening\n");
    greeter
}

impl Drop for Beside {
    fn drop(&mut self) {
        for greeter in &mut self.greeters {
            let _ = greeter.kill();
            let _ = greeter.wait();
        }
        // The link goes with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.space])
            .status();
    }
}

/// Two networks beside this host, one of public addresses and one of private ones: this host's address and another's in each.
pub(super) type Networks = [[&'static str; 2]; 2];

/// Jobs behind a runtime reach what their specs say, and nothing private.
pub(super) async fn reaches_what_its_spec_says(
    (site, edge): (&Site, &mut Attached),
    runtime: ContainerRuntime,
    networks: Networks,
) {
    let of = |[near, far]: [&'static str; 2]| (near, [far]);
    let [public, private] = networks.map(of);
    let _beside = Beside::new(&[(public.0, &public.1), (private.0, &private.1)], &["7000"]);
    let network = |address: &str| format!("{}.0/24", address.rsplit_once('.').unwrap().0);
    let allow = |entries: &[String]| Egress {
        allow: entries.to_vec(),
        internet: false,
    };
    let internet = Egress {
        allow: Vec::new(),
        internet: true,
    };
    let both = [network(public.0), network(private.0)];
    let elsewhere = ["198.51.100.0/24".to_owned()];
    let mut epoch = 0;
    for (egress, public_reached) in [
        (Egress::default(), false),
        (allow(&elsewhere), false),
        (allow(&both), true),
        (internet, true),
    ] {
        epoch += 1;
        let mut spec = served();
        (spec.egress, spec.place.runtime) = (egress.clone(), runtime);
        let job = ready(site, edge, 0, epoch, spec).await;
        let said = get(&job, &format!("/connect/{}:7000", public.1[0])).await;
        let is_reached = said == "connected hello";
        assert_eq!(is_reached, public_reached, "{egress:?}: {said}");
        // This host's own address in that network is no more reached than any other.
        for refused in [format!("{}:7000", private.1[0]), format!("{}:22", public.0)] {
            let said = get(&job, &format!("/connect/{refused}")).await;
            assert!(said.starts_with("failed"), "{egress:?}, {refused}: {said}");
        }
        stopped(edge, &job).await;
    }
    assert_eq!(traces(site), NOTHING);
}

#[tokio::test]
async fn a_job_reaches_what_its_spec_says_and_never_a_private_range() {
    let Some(site) = site().await else { return };
    let _agent = site.agent();
    let mut edge = site.broker.attach().await;
    let networks = [["203.0.113.1", "203.0.113.2"], ["10.253.7.1", "10.253.7.2"]];
    reaches_what_its_spec_says((&site, &mut edge), ContainerRuntime::Runc, networks).await;
}
