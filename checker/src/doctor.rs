//! Whether this machine can check: clock, UDP, beacon, memory, decoder, key; and the certificate of one that came in.
//!
//! Each line says what was found and, if it is not enough, what to do. A machine without a decoder is fit: it gets
//! the duties that need none.
//!
//! **Invariant.** Looked at is what the network uses that the checker came into: of a chain of rounds its anchor was kept then,
//! and nothing outside is asked. Randomness from outside is asked for where there is no such network, and when it is wanted.

use crate::beacon;
use crate::broker::{Broker, Refused};
use crate::certificate;
use crate::cli::DoctorArgs;
use crate::failure::Failure;
use crate::keys;
use crate::member::Network;
use nearlight_protocol::problem::ProblemType;
use std::fmt;
use std::net::{IpAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

mod rounds;

use rounds::{Known, round_of};

/// The farthest that this machine's clock may be from the broker's.
const SKEW_MAX: Duration = Duration::from_secs(2);
/// A probe of full size holds its opening and rebuilds blocks.
const MEMORY_MIB_MIN: u64 = 1024;
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// Decoders of H.264 that GStreamer may have, any of which does.
const DECODERS: [&str; 5] = [
    "avdec_h264",
    "openh264dec",
    "vah264dec",
    "vulkanh264dec",
    "nvh264dec",
];

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What.
    pub what: &'static str,
    /// Whether the machine is fit in this.
    pub is_fit: bool,
    /// What was found, and what to do about it.
    pub found: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_fit { "ok" } else { "missing" };
        write!(f, "{mark:8}{:9}{}", self.what, self.found)
    }
}

/// Looks at everything.
#[must_use]
pub fn look(data: &Path, args: &DoctorArgs) -> Vec<Line> {
    let network = match Network::load(data) {
        Ok(network) => Ok(Some(network)),
        Err(Failure::NoNetwork(_)) => Ok(None),
        Err(broken) => Err(broken.to_string()),
    };
    let kept = network.as_ref().ok().and_then(Option::as_ref);
    let url = args
        .url
        .as_deref()
        .or_else(|| kept.map(|of| of.url.as_str()));
    let broker = match (kept, url) {
        (Some(network), url) => network.stranger(url).map(Some),
        (None, url) => Ok(url.map(|url| Broker::new(url, ""))),
    };
    let broker = broker.map_err(|error| error.to_string());
    let beacon = network.as_ref().map_err(Clone::clone).and_then(|network| {
        let broker = broker.as_ref().map_err(Clone::clone)?;
        the_beacon((data, args), network.as_ref(), broker.as_ref())
    });
    let clock = match &broker {
        Ok(Some(broker)) => clock(broker),
        Ok(None) => Ok("not compared: give --url, or come into a network".to_owned()),
        Err(why) => Err(why.clone()),
    };
    vec![
        line("key", key(data)),
        line("beacon", beacon),
        line("memory", memory()),
        line("decoder", Ok(decoder())),
        line("clock", clock),
        line("udp", the_way(args.stun.as_deref(), url)),
        line("cert", kept.map_or_else(not_in, |_| cert(data))),
        line(
            "listener",
            kept.map_or_else(not_in, |of| listener(data, of, args.at.as_deref())),
        ),
    ]
}

fn line(what: &'static str, found: Result<String, String>) -> Line {
    let is_fit = found.is_ok();
    let found = found.unwrap_or_else(|why| why);
    Line {
        what,
        is_fit,
        found,
    }
}

fn key(data: &Path) -> Result<String, String> {
    let key = keys::load(data).map_err(|error| error.to_string())?;
    Ok(format!("key {}", key.public().id()))
}

fn not_in() -> Result<String, String> {
    Ok("none yet: the checker is a member of no network".to_owned())
}

/// What it shows the broker.
fn cert(data: &Path) -> Result<String, String> {
    let shown = certificate::load(data).map_err(|error| error.to_string())?;
    certificate::told(&shown, SystemTime::now())
}

/// Whether the broker's listener is reached, and takes it.
fn listener(data: &Path, network: &Network, other: Option<&str>) -> Result<String, String> {
    let at = network.listener(other).join(", ");
    let said = |error: Failure| error.to_string();
    let shown = certificate::load(data).map_err(said)?;
    if shown.validity.is_over(SystemTime::now()) {
        return Ok(format!("{at}: not tried, for the certificate is over"));
    }
    match network.broker(data, other).map_err(said)?.takes() {
        Ok(()) => Ok(format!("{at} takes the certificate")),
        Err(Refused::Said(_, why)) => Err(format!("{at}: {why}")),
        Err(Refused::Away(why)) => Err(format!(
            "{at}: {why}; let TCP out to it, or say another with `--at HOST:PORT`"
        )),
    }
}

/// What the network draws by: its own rounds, or those of quicknet.
fn the_beacon(
    (data, args): (&Path, &DoctorArgs),
    network: Option<&Network>,
    broker: Option<&Broker>,
) -> Result<String, String> {
    let said = |error: Failure| error.to_string();
    if let Some(relay) = &args.drand {
        return quicknet(relay);
    }
    let known = network.map(|network| Known::of(data, network, args.works_by));
    let known = known.transpose().map_err(said)?;
    let Some(broker) = broker else {
        return quicknet(beacon::RELAY);
    };
    match known {
        Some(known) => round_of(broker, &known),
        // Round 1 has begun where there are rounds at all.
        None => match broker.round(1) {
            Err(Refused::Said(ProblemType::NotFound, _)) => quicknet(beacon::RELAY),
            Err(error) => Err(format!("the broker: {error}")),
            Ok(_) => Ok(
                "the broker has rounds of its own; `checker join` keeps what they lead to"
                    .to_owned(),
            ),
        },
    }
}

fn quicknet(relay: &str) -> Result<String, String> {
    let beacon = beacon::newest(relay).map_err(|error| error.to_string())?;
    Ok(format!("round {} of quicknet, verified", beacon.round))
}

fn memory() -> Result<String, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    let mib = available_mib(&text).ok_or_else(|| "/proc/meminfo says nothing".to_owned())?;
    match mib >= MEMORY_MIB_MIN {
        true => Ok(format!("{mib} MiB available")),
        false => Err(format!(
            "{mib} MiB available; a probe takes up to {MEMORY_MIB_MIN}: end something, or take another machine"
        )),
    }
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib / 1024)
}

fn decoder() -> String {
    let has = |name: &&&str| {
        let mut inspect = Command::new("gst-inspect-1.0");
        let inspect = inspect.args(["--exists", name]);
        let quiet = inspect.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.status().is_ok_and(|status| status.success())
    };
    let found = DECODERS.iter().find(has);
    if found.is_some() && crate::play::beside().is_err() {
        let player = crate::play::PROGRAM;
        return format!("`{player}` is not beside this program: streams cannot be probed");
    }
    match found {
        Some(name) => format!("{name} decodes H.264"),
        None => "none of GStreamer's decodes H.264 here: streams cannot be probed".to_owned(),
    }
}

fn clock(broker: &Broker) -> Result<String, String> {
    let date = broker.date()?;
    let theirs = httpdate::parse_http_date(&date).map_err(|error| error.to_string())?;
    let now = SystemTime::now();
    let apart = now
        .duration_since(theirs)
        .unwrap_or_else(|before| before.duration());
    // A date has whole seconds.
    match apart <= SKEW_MAX + Duration::from_secs(1) {
        true => Ok("within 3 s of the broker's".to_owned()),
        false => Err(format!(
            "{} s from the broker's; have it set by NTP",
            apart.as_secs()
        )),
    }
}

/// Whether UDP leaves this machine; with a STUN server whether it comes back, too. Brokers have none: nodes do, of sessions.
fn the_way(stun: Option<&str>, url: Option<&str>) -> Result<String, String> {
    match (stun, url.and_then(at_host)) {
        (Some(server), _) => udp(server),
        (None, None) => Ok("not tried: give --stun HOST:PORT".to_owned()),
        (None, Some(host)) => {
            let from = way_to(&host).map_err(|error| {
                format!(
                    "no way to {host} by UDP ({error}); let UDP out, or streams cannot be probed"
                )
            })?;
            Ok(format!(
                "leaves from {from}; whether it comes back --stun HOST:PORT tells"
            ))
        }
    }
}

/// Host and port of a broker's address.
fn at_host(url: &str) -> Option<String> {
    let at: ureq::http::Uri = url.parse().ok()?;
    let port = at.port_u16().unwrap_or(443);
    Some(format!("{}:{port}", at.host()?))
}

/// From which address: nothing is sent.
fn way_to(host: &str) -> std::io::Result<IpAddr> {
    let none = || std::io::Error::other("it has no address");
    let at = host.to_socket_addrs()?.next().ok_or_else(none)?;
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(at)?;
    Ok(socket.local_addr()?.ip())
}

/// Asks a STUN server (RFC 8489) for this machine's address.
fn udp(server: &str) -> Result<String, String> {
    let told = |error: std::io::Error| {
        format!(
            "no answer from {server} by UDP ({error}); let UDP out, or streams cannot be probed"
        )
    };
    let mut found = server.to_socket_addrs().map_err(told)?;
    let at = found
        .next()
        .ok_or_else(|| format!("{server} has no address"))?;
    let any = if at.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).map_err(told)?;
    socket.set_read_timeout(Some(ANSWER_WITHIN)).map_err(told)?;
    let request = stun_request(rand::random());
    socket.send_to(&request, at).map_err(told)?;
    let mut answer = [0; 512];
    let (length, _) = socket.recv_from(&mut answer).map_err(told)?;
    match is_stun_answer(&request, &answer[..length]) {
        true => Ok(format!("{server} answers")),
        false => Err(format!("{server} is no STUN server")),
    }
}

/// A binding request with this transaction id.
fn stun_request(id: [u8; 12]) -> [u8; 20] {
    let mut request = [0; 20];
    request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    request[8..].copy_from_slice(&id);
    request
}

/// Whether this is a success response to that request.
fn is_stun_answer(request: &[u8; 20], answer: &[u8]) -> bool {
    answer.len() >= 20 && answer[..2] == [1, 1] && answer[4..20] == request[4..]
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_available_is_read() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   12345678 kB\n";
        assert_eq!(available_mib(text), Some(12_056));
        assert_eq!(available_mib("MemFree: 1 kB"), None);
    }

    #[test]
    fn a_stun_server_is_told_from_something_else() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = server.local_addr().unwrap().to_string();
        let answering = std::thread::spawn(move || {
            for kind in [[1, 1], [0, 1]] {
                let mut asked = [0; 64];
                let (length, from) = server.recv_from(&mut asked).unwrap();
                asked[..2].copy_from_slice(&kind);
                server.send_to(&asked[..length], from).unwrap();
            }
        });
        assert!(udp(&at).is_ok());
        assert!(udp(&at).unwrap_err().contains("no STUN server"));
        answering.join().unwrap();
    }

    #[test]
    fn a_machine_without_a_key_is_not_fit() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!line("key", key(dir.path())).is_fit);
        keys::init(dir.path()).unwrap();
        let fit = line("key", key(dir.path()));
        assert!(
            fit.is_fit && fit.to_string().starts_with("ok      key      key "),
            "{fit}"
        );
    }
}
