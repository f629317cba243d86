//! Clicks: a PulseAudio playback stream that is silent until somebody clicks.
//!
//! The server's clock drives it: for each request the thread writes so many bytes, so a click is
//! heard one buffer later. It has its own thread, and starts again where the server goes away.

use anyhow::{Context, Result, bail};
use pulseaudio::protocol::stream::BufferAttr;
use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelMap, ChannelVolume, Command, CreatePlaybackStreamReply,
    PlaybackStreamParams, Prop, Props, SampleFormat, SampleSpec, SetClientNameReply,
};
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const RATE: u32 = 48_000;
/// Bytes of a frame: two channels of 16 bits.
const FRAME: usize = 4;
/// Frames of a click, and of its fade at either end.
const CLICK: usize = 960;
const FADE: usize = 96;
const CLICK_HZ: f32 = 2_000.0;
const CLICK_LEVEL: f32 = 0.5;
/// How long the server may take to answer, and how long until the next try.
const ANSWER: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(1);
/// Most that is written for one request, bytes.
const REQUEST_MAX: usize = 1 << 20;

/// Plays clicks. Clones play the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clicker {
    clicks: Arc<AtomicU32>,
    playing: Arc<AtomicBool>,
}

impl Clicker {
    /// A clicker whose thread looks for a server.
    pub(crate) fn start() -> Result<Self> {
        let clicker = Self::default();
        let player = clicker.clone();
        std::thread::Builder::new()
            .name("sound".into())
            .spawn(move || {
                let mut last = String::new();
                loop {
                    let error = player.play();
                    player.playing.store(false, Ordering::Relaxed);
                    // The same trouble once a second is told once.
                    let told = format!("{error:#}");
                    if told != last {
                        crate::complain(&error.context("no sound"));
                        last = told;
                    }
                    std::thread::sleep(AGAIN);
                }
            })
            .context("cannot start the sound thread")?;
        Ok(clicker)
    }

    /// Plays a click.
    pub(crate) fn click(&self) {
        self.clicks.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a server plays the stream.
    pub(crate) fn is_playing(&self) -> bool {
        self.playing.load(Ordering::Relaxed)
    }

    fn play(&self) -> anyhow::Error {
        let served = connect().and_then(|mut connection| {
            self.playing.store(true, Ordering::Relaxed);
            self.serve(&mut connection)
        });
        match served {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn serve(&self, connection: &mut Connection) -> Result<std::convert::Infallible> {
        let mut tone = Tone::new(self.clicks.load(Ordering::Relaxed));
        let mut wanted = connection.requested;
        loop {
            let frames = wanted.min(REQUEST_MAX) / FRAME;
            let bytes = tone.next(frames, self.clicks.load(Ordering::Relaxed));
            let socket = connection.reader.get_mut();
            protocol::write_memblock(socket, connection.channel, &bytes, 0)?;
            wanted = connection.next_request()?;
        }
    }
}

/// Where the server listens.
pub(crate) fn server_path() -> Result<PathBuf> {
    if let Ok(server) = std::env::var("PULSE_SERVER") {
        return Ok(server.strip_prefix("unix:").unwrap_or(&server).into());
    }
    let dir = std::env::var_os("XDG_RUNTIME_DIR")
        .context("neither PULSE_SERVER nor XDG_RUNTIME_DIR is set")?;
    Ok(PathBuf::from(dir).join("pulse/native"))
}

/// A connection that was let in.
pub(crate) fn hello() -> Result<(BufReader<UnixStream>, u16)> {
    let path = server_path()?;
    let socket = UnixStream::connect(&path)
        .with_context(|| format!("cannot connect to {}", path.display()))?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.set_write_timeout(Some(ANSWER))?;
    let mut reader = BufReader::new(socket);
    let auth = Command::Auth(AuthParams {
        version: protocol::MAX_VERSION,
        supports_shm: false,
        supports_memfd: false,
        cookie: vec![0; 256],
    });
    protocol::write_command_message(reader.get_mut(), 0, &auth, protocol::MAX_VERSION)?;
    let (_, reply) = protocol::read_reply_message::<AuthReply>(&mut reader, protocol::MAX_VERSION)?;
    let version = reply.version.min(protocol::MAX_VERSION);
    let mut props = Props::new();
    props.set(Prop::ApplicationName, c"calibrate");
    let name = Command::SetClientName(props);
    protocol::write_command_message(reader.get_mut(), 1, &name, version)?;
    protocol::read_reply_message::<SetClientNameReply>(&mut reader, version)?;
    Ok((reader, version))
}

struct Connection {
    reader: BufReader<UnixStream>,
    version: u16,
    channel: u32,
    /// Bytes that the server wants at once.
    requested: usize,
}

fn connect() -> Result<Connection> {
    let (mut reader, version) = hello()?;
    let sample_spec = SampleSpec {
        format: SampleFormat::S16Le,
        channels: 2,
        sample_rate: RATE,
    };
    let mut props = Props::new();
    props.set(Prop::MediaName, c"clicks");
    let create = Command::CreatePlaybackStream(PlaybackStreamParams {
        sample_spec,
        channel_map: ChannelMap::stereo(),
        sink_name: Some(protocol::DEFAULT_SINK.to_owned()),
        cvolume: Some(ChannelVolume::norm(2)),
        buffer_attr: BufferAttr {
            // 20 ms: a click is heard that much later at most.
            target_length: RATE / 50 * FRAME as u32,
            ..BufferAttr::default()
        },
        flags: protocol::stream::StreamFlags {
            adjust_latency: true,
            ..Default::default()
        },
        props,
        ..PlaybackStreamParams::default()
    });
    protocol::write_command_message(reader.get_mut(), 2, &create, version)?;
    let (_, reply) =
        protocol::read_reply_message::<CreatePlaybackStreamReply>(&mut reader, version)?;
    reader.get_ref().set_read_timeout(None)?;
    Ok(Connection {
        reader,
        version,
        channel: reply.channel,
        requested: reply.requested_bytes as usize,
    })
}

impl Connection {
    fn next_request(&mut self) -> Result<usize> {
        loop {
            match protocol::read_command_message(&mut self.reader, self.version)?.1 {
                Command::Request(request) if request.channel == self.channel => {
                    return Ok(request.length as usize);
                }
                Command::PlaybackStreamKilled(_) => bail!("the server ended the stream"),
                _ => {}
            }
        }
    }
}

/// The samples of the stream.
#[derive(Debug)]
struct Tone {
    /// Clicks that were heard of.
    clicks: u32,
    /// Frames of the current click that were played.
    played: usize,
}

impl Tone {
    fn new(clicks: u32) -> Self {
        Self {
            clicks,
            played: CLICK,
        }
    }

    /// The next frames, `clicks` being the count of clicks so far.
    fn next(&mut self, frames: usize, clicks: u32) -> Vec<u8> {
        if self.clicks != clicks && self.played >= CLICK {
            self.played = 0;
        }
        self.clicks = clicks;
        let mut bytes = Vec::with_capacity(frames * FRAME);
        for _ in 0..frames {
            let sample = self.sample().to_le_bytes();
            bytes.extend([sample[0], sample[1], sample[0], sample[1]]);
        }
        bytes
    }

    fn sample(&mut self) -> i16 {
        let place = self.played;
        if place >= CLICK {
            return 0;
        }
        self.played += 1;
        let fade = (place.min(CLICK - 1 - place) as f32 / FADE as f32).min(1.0);
        let phase = place as f32 * CLICK_HZ / RATE as f32 * std::f32::consts::TAU;
        (phase.sin() * fade * CLICK_LEVEL * f32::from(i16::MAX)) as i16
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn samples(bytes: &[u8]) -> Vec<i16> {
        let left = |frame: &[u8]| i16::from_le_bytes([frame[0], frame[1]]);
        bytes.chunks_exact(FRAME).map(left).collect()
    }

    #[test]
    fn a_click_is_as_long_as_specified_and_silence_is_silent() {
        let mut tone = Tone::new(0);
        assert!(samples(&tone.next(480, 0)).iter().all(|s| *s == 0));
        let heard = samples(&tone.next(2000, 1));
        assert!(heard[..CLICK].iter().any(|s| *s > 16_000));
        assert!(heard[CLICK..].iter().all(|s| *s == 0));
        let crossings = heard[..CLICK].windows(2).filter(|w| w[0] < 0 && w[1] >= 0);
        // 2 kHz for 20 ms; the first period starts at zero and the last ends there.
        assert!((39..=40).contains(&crossings.count()));
    }

    #[test]
    fn clicks_within_a_click_are_one() {
        let mut tone = Tone::new(0);
        tone.next(480, 1);
        tone.next(480, 2);
        assert!(samples(&tone.next(480, 2)).iter().all(|s| *s == 0));
    }
}
