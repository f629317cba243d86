//! Real programs against the server (package pulseaudio-utils), and hostile ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use nearlight_sound::{Options, SoundServer, start};
use std::f64::consts::PI;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A queue so long that a busy machine's players are never late.
const QUEUE: &str = "--latency-msec=500";

struct Bench {
    server: SoundServer,
    path: PathBuf,
    packets: Receiver<(u64, Vec<u8>)>,
    /// Removed when dropped.
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pulse");
        let (sender, packets) = channel();
        let options = Options::new(move |pts_us, packet: &[u8]| {
            // The test may be over already.
            let _ = sender.send((pts_us, packet.to_vec()));
        });
        let server = start(&path, options).unwrap();
        server.set_active(true);
        Self {
            server,
            path,
            packets,
            dir,
        }
    }

    fn client(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env("PULSE_SERVER", format!("unix:{}", self.path.display()))
            .env("HOME", self.dir.path())
            .env("XDG_RUNTIME_DIR", self.dir.path());
        command
    }

    fn output(&self, program: &str, args: &[&str]) -> String {
        let output = self.client(program, args).output();
        let output = output.expect("pulseaudio-utils is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {said}");
        text
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// Plays a file to its end; what was heard while it played.
    fn heard(&self, mut player: Child) -> Vec<f32> {
        let mut packets = Vec::new();
        let end = Instant::now() + PATIENCE;
        while player.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the player does not end");
            packets.push(self.packets.recv_timeout(PATIENCE).unwrap());
        }
        assert!(player.wait().unwrap().success());
        packets.extend(self.packets.try_iter());
        for pair in packets.windows(2) {
            assert_eq!(
                (pair[1].0 - pair[0].0) % 10_000,
                0,
                "packets are 10 ms apart"
            );
        }
        decoded(packets.iter().map(|(_, packet)| packet.as_slice()))
    }

    /// Waits until the counters are as `wanted`.
    fn until(&self, what: &str, wanted: impl Fn(nearlight_sound::Counters) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !wanted(self.server.counters()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.server.counters());
            self.packets.recv_timeout(PATIENCE).unwrap();
        }
    }
}

/// The left channel.
fn decoded<'a>(packets: impl Iterator<Item = &'a [u8]>) -> Vec<f32> {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let mut left = Vec::new();
    for packet in packets {
        let mut samples = [0.0; 960];
        assert_eq!(
            decoder.decode_float(packet, &mut samples, false).unwrap(),
            480
        );
        left.extend(samples.iter().step_by(2));
    }
    left
}

/// The part of `signal` where it sounds, without its edges.
fn sounding(signal: &[f32]) -> &[f32] {
    let loud = |sample: &f32| sample.abs() > 0.1;
    let first = signal.iter().position(loud).expect("something is heard");
    let last = signal.iter().rposition(loud).unwrap();
    &signal[first + 960..last - 960]
}

/// Which part of a signal's energy is a sine at `hz`.
fn share(signal: &[f32], hz: f64) -> f64 {
    let (mut re, mut im, mut energy) = (0.0, 0.0, 0.0);
    for (n, sample) in signal.iter().enumerate() {
        let (sample, angle) = (f64::from(*sample), 2.0 * PI * hz * n as f64 / 48_000.0);
        re += sample * angle.cos();
        im += sample * angle.sin();
        energy += sample * sample;
    }
    2.0 * (re * re + im * im) / (signal.len() as f64 * energy)
}

fn sine(hz: f64, rate: u32, seconds: f64) -> impl Iterator<Item = f64> {
    let frames = (f64::from(rate) * seconds) as usize;
    (0..frames).map(move |n| 0.5 * (2.0 * PI * hz * n as f64 / f64::from(rate)).sin())
}

/// Plays 0.6 s of 1 kHz with `pacat` and says how pure and how loud it is heard.
fn pacat(format: &str, rate: u32, channels: u32, encode: impl Fn(f64) -> Vec<u8>) {
    let bench = Bench::new();
    let bytes: Vec<u8> = sine(1_000.0, rate, 0.6)
        .flat_map(|sample| encode(sample).repeat(channels as usize))
        .collect();
    let file = bench.file("tone", &bytes);
    let format = format!("--format={format}");
    let rate_arg = format!("--rate={rate}");
    let channels_arg = format!("--channels={channels}");
    let args = [
        QUEUE,
        "--raw",
        "--playback",
        &format,
        &rate_arg,
        &channels_arg,
        &file,
    ];
    let player = bench.client("pacat", &args).stdin(Stdio::null()).spawn();
    let heard = bench.heard(player.expect("pulseaudio-utils is installed"));
    let heard = sounding(&heard);
    let seconds = heard.len() as f64 / 48_000.0 + 0.04;
    assert!(
        (0.55..0.65).contains(&seconds),
        "{format} {rate}: {seconds} s"
    );
    let share = share(heard, 1_000.0);
    assert!(share > 0.99, "{format} {rate} {channels}: {share}");
    let loudest = heard
        .iter()
        .fold(0.0_f32, |most, sample| most.max(sample.abs()));
    assert!(
        (0.4..0.6).contains(&loudest),
        "{format} {rate} {channels}: {loudest}"
    );
}

#[test]
fn a_sine_at_48_khz_stereo_is_heard() {
    pacat("s16le", 48_000, 2, |s| {
        ((s * 32_767.0) as i16).to_le_bytes().to_vec()
    });
}

#[test]
fn a_sine_at_44_1_khz_mono_is_heard() {
    pacat("s16le", 44_100, 1, |s| {
        ((s * 32_767.0) as i16).to_le_bytes().to_vec()
    });
}

#[test]
fn a_sine_in_floats_at_96_khz_is_heard() {
    pacat("float32be", 96_000, 2, |s| {
        (s as f32).to_be_bytes().to_vec()
    });
}

#[test]
fn a_sine_in_8_bits_at_11_025_hz_is_heard() {
    pacat("u8", 11_025, 1, |s| vec![(128.0 + s * 127.0) as u8]);
}

#[test]
fn paplay_plays_a_wav_file() {
    let bench = Bench::new();
    let samples: Vec<u8> = sine(440.0, 22_050, 0.5)
        .flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes())
        .collect();
    let file = bench.file("tone.wav", &wav(22_050, &samples));
    let player = bench.client("paplay", &[QUEUE, &file]).spawn();
    let heard = bench.heard(player.expect("pulseaudio-utils is installed"));
    assert!(share(sounding(&heard), 440.0) > 0.99);
    assert_eq!(bench.server.counters().refused, 0);
}

fn wav(rate: u32, samples: &[u8]) -> Vec<u8> {
    let size = samples.len() as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + size).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(size.to_le_bytes());
    bytes.extend(samples);
    bytes
}

#[test]
fn pactl_reads_and_sets_everything_it_knows() {
    let bench = Bench::new();
    let info = bench.output("pactl", &["info"]);
    assert!(info.contains("Default Sink: nearlight\n"), "{info}");
    for what in [
        "sinks",
        "sources",
        "clients",
        "sink-inputs",
        "modules",
        "cards",
        "samples",
    ] {
        bench.output("pactl", &["list", what]);
    }
    bench.output("pactl", &["stat"]);
    bench.output("pactl", &["set-sink-volume", "@DEFAULT_SINK@", "50%"]);
    bench.output("pactl", &["set-sink-mute", "nearlight", "1"]);
    let sinks = bench.output("pactl", &["list", "sinks"]);
    assert!(
        sinks.contains("Mute: yes") && sinks.contains(" 50% "),
        "{sinks}"
    );
    let record = bench.client("parec", &["--raw"]).output().unwrap();
    assert!(!record.status.success(), "nothing can be recorded");
    bench.until("all are gone", |counters| counters.clients == 0);
    assert_eq!(bench.server.counters().refused, 0);
}

#[test]
fn packets_come_only_while_active() {
    let bench = Bench::new();
    bench.until("it is active", |counters| counters.packets > 5);
    bench.server.set_active(false);
    // At most the tick that is under way comes still.
    let silence = |bench: &Bench| {
        bench
            .packets
            .recv_timeout(Duration::from_millis(200))
            .is_err()
    };
    assert!((0..100).any(|_| silence(&bench)));
    bench.server.set_active(true);
    bench.packets.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn dropping_the_server_frees_its_socket() {
    let bench = Bench::new();
    let path = bench.path.clone();
    let mut client = UnixStream::connect(&path).unwrap();
    bench.until("it is let in", |counters| counters.clients == 1);
    drop(bench.server);
    assert!(!path.exists());
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
}

/// Sends bytes and waits until the server has had enough.
fn cut_off(path: &Path, bytes: &[u8]) {
    let mut socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may close before all is written.
    let _ = socket.write_all(bytes);
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

fn frame(length: u32, channel: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(channel.to_be_bytes());
    bytes.extend([0; 12]);
    bytes.extend(payload);
    bytes
}

#[test]
fn hostile_clients_are_cut_off_and_the_others_play_on() {
    let bench = Bench::new();
    let huge_cookie = b"L\0\0\0\x08L\0\0\0\0L\0\0\0\x23x\xff\xff\xff\xff";
    let attacks = [
        vec![0xff; 4_096],
        frame(u32::MAX, u32::MAX, b""),
        frame(u32::MAX, 0, b""),
        frame(0, u32::MAX, b""),
        frame(4, u32::MAX, b"junk"),
        frame(huge_cookie.len() as u32, u32::MAX, huge_cookie),
    ];
    for attack in &attacks {
        cut_off(&bench.path, attack);
    }
    let expected = attacks.len() as u64;
    bench.until("all are counted", |counters| counters.refused == expected);
    // Says nothing: cut off when its time is up.
    cut_off(&bench.path, b"");
    bench.until("it is counted", |counters| counters.refused == expected + 1);
    bench.output("pactl", &["info"]);
}

#[test]
fn a_client_that_never_reads_is_cut_off() {
    use pulseaudio::protocol::{self, AuthParams};
    let bench = Bench::new();
    let mut socket = UnixStream::connect(&bench.path).unwrap();
    let auth = protocol::Command::Auth(AuthParams {
        version: protocol::MAX_VERSION,
        ..AuthParams::default()
    });
    protocol::write_command_message(&mut socket, 0, &auth, protocol::MAX_VERSION).unwrap();
    let list = protocol::Command::GetSinkInfoList;
    let failed = (1..1_000_000).find(|seq| {
        protocol::write_command_message(&mut socket, *seq, &list, protocol::MAX_VERSION).is_err()
    });
    assert!(failed.is_some());
    bench.until("it is counted", |counters| counters.refused == 1);
}

#[test]
fn a_panic_cuts_the_clients_off_and_the_sound_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pulse");
    let (sender, packets) = channel();
    let mut bug = true;
    let options = Options::new(move |pts_us, _: &[u8]| {
        assert!(!std::mem::take(&mut bug), "a bug on the sound thread");
        let _ = sender.send(pts_us);
    });
    let server = start(&path, options).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let since = Instant::now();
    while server.counters().clients == 0 {
        assert!(since.elapsed() < PATIENCE, "the client is not taken");
        std::thread::yield_now();
    }
    server.set_active(true);
    packets.recv_timeout(PATIENCE).expect("sound goes on");
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "it was cut off");
    assert_eq!(server.counters().restarts, 1);
    let _again = UnixStream::connect(&path).unwrap();
    while server.counters().clients == 0 {
        assert!(since.elapsed() < PATIENCE, "nobody is taken any more");
        std::thread::yield_now();
    }
}

#[test]
fn more_clients_than_there_may_be_are_turned_away() {
    let bench = Bench::new();
    let sockets: Vec<_> = (0..40)
        .map(|_| UnixStream::connect(&bench.path).unwrap())
        .collect();
    bench.until("the rest is refused", |counters| {
        counters.clients == 32 && counters.refused == 8
    });
    drop(sockets);
    bench.until("all are gone", |counters| counters.clients == 0);
    bench.output("pactl", &["info"]);
}
