//! Whether this machine can check: clock, UDP, beacon, memory, decoder, key.
//!
//! Each line says what was found and, if it is not enough, what to do. A machine without a decoder is fit: it gets
//! the duties that need none.

use crate::beacon;
use crate::broker::Broker;
use crate::cli::DoctorArgs;
use crate::keys;
use std::fmt;
use std::net::{ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

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
    let mut lines = vec![
        line("key", key(data)),
        line("beacon", the_beacon(&args.drand)),
        line("memory", memory()),
        line("decoder", Ok(decoder())),
    ];
    match &args.url {
        Some(url) => lines.push(line("clock", clock(url))),
        None => lines.push(line("clock", Ok("not compared: give --url".to_owned()))),
    }
    match &args.stun {
        Some(server) => lines.push(line("udp", udp(server))),
        None => lines.push(line(
            "udp",
            Ok("not tried: give --stun HOST:PORT".to_owned()),
        )),
    }
    lines
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

fn the_beacon(relay: &str) -> Result<String, String> {
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

fn clock(url: &str) -> Result<String, String> {
    let date = Broker::new(url, "").date()?;
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
