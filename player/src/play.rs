//! A probe of a stream: plays one session as a page does, and says what came of it.
//!
//! ```text
//! start --first picture read--> playing the recording --time over--> looking on, nothing held --> over
//!                                                         (the last presses are answered)
//! ```
//!
//! Owns the session, and ends it whatever happens. Invariants: says to broker and node what client-web's page says, in its
//! order (docs/proof.md lists what differs); signs its sample with a key of this session alone; what it could not do well
//! itself is a fault of its own, not the node's.
//!
//! **What it does not know:** whose probe it is, and what comes of it.

use crate::answers::Answers;
use crate::broker::Broker;
use crate::clock;
use crate::collect::{Collect, Times};
use crate::decode::{Decoder, Marker};
use crate::frames::{Assembler, Out};
use crate::replay::{Recording, Replay};
use crate::started::Started;
use crate::viewer::{Arrival, Codec, Options, Viewer};
use anyhow::{Context, Result, bail};
use nearlight_proof::key::{KeyId, SecretKey};
use nearlight_proof::porw::{COUNTS_PRESSES, Played};
use nearlight_proof::receipt::quality::{PlayerSample, Quality};
use nearlight_protocol::app::DisplayMode;
use nearlight_protocol::id::{AppId, SessionId};
use nearlight_protocol::input::Event;
use nearlight_protocol::notice::Notice;
use nearlight_protocol::quality::PlayerSaid;
use nearlight_stream::marker::{Key, Reader, Signs};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use webrtc::peer_connection::RTCPeerConnectionState;

/// What is played where nothing else is given.
pub const RECORDED: &str = include_str!("../recorded/hand-1.txt");
/// What the page asks for in a window of this size.
const DISPLAY: DisplayMode = DisplayMode {
    width: 1280,
    height: 720,
    hz: 60,
};
const LAYOUT: &str = "us";
/// Nothing waits longer than this for its turn.
const TURN: Duration = Duration::from_millis(2);
/// Pings as client-web's page sends them: so long after the channel opened, then one a second.
const FIRST_PINGS_US: [u64; 5] = [0, 60_000, 140_000, 260_000, 420_000];
const PING_EVERY_US: u64 = 1_000_000;
/// For the answers to the last presses.
const LOOK_ON_US: u64 = 1_500_000;
/// How long a first picture may take.
const PICTURE_DEADLINE_US: u64 = 20_000_000;
/// Requests for a key frame while none comes.
const KEY_FRAME_EVERY_US: u64 = 500_000;
/// A decoder so far behind says nothing of when pictures came.
const BEHIND_MAX: u64 = 60;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The catalogue entry.
    pub app: AppId,
    /// For how long.
    pub seconds: u32,
    /// Address to receive at.
    pub bind: IpAddr,
    /// The recorded input.
    pub recording: Recording,
    /// SHA-256 of its file.
    pub input: KeyId,
}

/// Plays, and waits for the session's own receipt.
///
/// # Errors
/// There was nothing to play or nobody to play with: of the node, nothing can be said.
pub fn play(broker: &Broker, wish: &Wish) -> Result<Played> {
    let mut started = Started::new(broker);
    let session = started.start_as(&wish.app, Some(DISPLAY), Some(LAYOUT.to_owned()))?;
    let node = session.node.context("the session was placed on no node")?;
    let viewer = Viewer::new(Options {
        codec: Codec::H264,
        channels: true,
        bind: wish.bind,
        as_browser: true,
    })?;
    let key = SecretKey::from_seed(&rand::random());
    let key_hex = nearlight_proof::encoding::hex(key.public().as_bytes());
    let whep = broker.attach_as(&session.id, viewer.offer(), false, Some(&key_hex))?;
    if let Some(fragment) = viewer.fragment() {
        broker.trickle(&whep, fragment)?;
    }
    let (codec, payload_type) = chosen(&whep.answer)?;
    viewer.connect(&whep.answer)?;
    let mut probe = Probe::new(wish, &viewer, &session.id, (codec, payload_type))?;
    probe.run()?;
    let (bytes, marked, marker) = (probe.bytes, probe.marked, Arc::clone(&probe.marker));
    let (quality, presses, faults) = probe.finish()?;
    // Now that everything is decoded.
    let signs = marked.signs(|| lock(&marker).signs());
    let sample = PlayerSample::signed(quality.clone(), &key);
    let said = PlayerSaid {
        sample: quality.text(),
        key: sample.key,
        signature: sample.signature,
        last: true,
    };
    broker.say(&session.id, &said)?;
    // The session's end ends the attachment, too.
    let _ = broker.detach(&whep);
    started.end();
    let receipt = broker.receipt(&session.id)?;
    let salt = KeyId::from_hex(&receipt.salt).context("the receipt's salt is none")?;
    Ok(Played {
        session: session.id.to_string(),
        node: node.to_string(),
        app: wish.app.to_string(),
        input: wish.input,
        presses: (wish.app.as_str() == COUNTS_PRESSES).then_some(presses),
        signs,
        quality,
        faults,
        receipt: receipt.index,
        salt,
        bytes,
    })
}

/// The codec of the answer's picture, and its payload type.
fn chosen(answer: &str) -> Result<(Codec, u8)> {
    let picture = answer
        .lines()
        .skip_while(|line| !line.starts_with("m=video"));
    let mut maps = picture.filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let (payload_type, name) = maps.next().context("the node answers with no picture")?;
    let codec = match name.split('/').next() {
        Some("H264") => Codec::H264,
        Some("VP8") => Codec::Vp8,
        _ => bail!(
            "the node sends {name}, which this program does not decode: it takes H264 and VP8"
        ),
    };
    Ok((codec, payload_type.parse().context("no payload type")?))
}

/// What the node says of the session's marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marked {
    /// Never yet that pictures carry it.
    Never,
    /// That they do, from its first word of it on.
    Drawn,
    /// That they do, and later that they do not: nothing can be said of what was read.
    TakenBack,
}

impl Marked {
    fn told(self, marked: Option<bool>) -> Self {
        let says_so = marked == Some(true);
        match self {
            Self::Never | Self::Drawn if says_so => Self::Drawn,
            Self::Never => Self::Never,
            Self::Drawn | Self::TakenBack => Self::TakenBack,
        }
    }

    /// What counts of what was read.
    fn signs(self, read: impl FnOnce() -> Signs) -> Option<[u32; 3]> {
        let counted = match self {
            Self::Never => return None,
            Self::Drawn => read(),
            Self::TakenBack => Signs::default(),
        };
        Some([counted.agree, counted.against, counted.looked])
    }
}

struct Probe<'a> {
    wish: &'a Wish,
    viewer: &'a Viewer,
    payload_type: u8,
    assembler: Assembler,
    decoder: Decoder,
    answers: Arc<Mutex<Answers>>,
    session: Key,
    marker: Marker,
    marked: Marked,
    collect: Collect,
    replay: Option<Replay>,
    encoder: String,
    opened_us: u64,
    pings: usize,
    asked_us: u64,
    begun_us: Option<u64>,
    behind_max: u64,
    overflowed: u64,
    bytes: u64,
}

impl<'a> Probe<'a> {
    fn new(
        wish: &'a Wish,
        viewer: &'a Viewer,
        session: &SessionId,
        (codec, payload_type): (Codec, u8),
    ) -> Result<Self> {
        let session = Key::of(session);
        let marker = Arc::new(Mutex::new(Reader::new(session)));
        let answers = Arc::new(Mutex::new(Answers::default()));
        let told = Arc::clone(&answers);
        let watch = Box::new(move |picture| lock(&told).picture(picture));
        let now_us = clock::micros();
        Ok(Self {
            wish,
            viewer,
            payload_type,
            assembler: Assembler::new(codec.into()),
            decoder: Decoder::watched(codec, DISPLAY.width, watch, Some(Arc::clone(&marker)))?,
            answers,
            session,
            marker,
            marked: Marked::Never,
            collect: Collect::default(),
            replay: None,
            encoder: String::new(),
            opened_us: now_us,
            pings: 0,
            asked_us: now_us,
            begun_us: None,
            behind_max: 0,
            overflowed: 0,
            bytes: 0,
        })
    }

    fn run(&mut self) -> Result<()> {
        // What a new attachment says before the first key.
        self.viewer.send(Event::Layout(LAYOUT.to_owned()))?;
        self.viewer.send(Event::Wish {
            kbps_max: 0,
            height_max: 0,
            fps_max: 0,
        })?;
        self.viewer.send(Event::Display {
            width: DISPLAY.width as u16,
            height: DISPLAY.height as u16,
            hz: DISPLAY.hz as u16,
        })?;
        let over_us = loop {
            let now_us = self.turn()?;
            if let Some(begun_us) = self.begun_us {
                break begun_us + u64::from(self.wish.seconds) * 1_000_000;
            }
            if now_us >= self.opened_us + PICTURE_DEADLINE_US {
                // What was measured until then says so.
                self.begin(now_us);
            }
        };
        while self.turn()? < over_us.saturating_sub(LOOK_ON_US) {}
        let mut replay = self.replay.take();
        while let Some(event) = replay.as_mut().and_then(Replay::release) {
            self.viewer.send(event)?;
        }
        while self.turn()? < over_us {}
        Ok(())
    }

    /// What arrived, and what is to be said; the time.
    fn turn(&mut self) -> Result<u64> {
        if let Some(arrival) = self.viewer.next(TURN)? {
            self.take(arrival)?;
        }
        let now_us = clock::micros();
        let mut needs_key = self.assembler.needs_key();
        while let Some(out) = self.assembler.pull(now_us) {
            match out {
                Out::Broken => needs_key = true,
                Out::Frame(frame) => {
                    self.collect.frame(&frame);
                    self.decoder.give(&frame)?;
                }
            }
        }
        let decoded = lock(&self.answers).pictures();
        let given = self.decoder.readings().given;
        self.behind_max = self.behind_max.max(given.saturating_sub(decoded));
        let counts = self.wish.app.as_str() == COUNTS_PRESSES;
        let shows = decoded > 0 && (!counts || lock(&self.answers).can_be_read());
        if self.begun_us.is_none() && shows {
            self.begin(now_us);
        }
        self.speak(now_us, needs_key)?;
        Ok(now_us)
    }

    fn begin(&mut self, now_us: u64) {
        self.begun_us = Some(now_us);
        self.overflowed = self.viewer.overflowed();
        self.collect.begin(now_us);
        let recording = self.wish.recording.clone();
        self.replay = Some(Replay::new(recording, rand::random(), now_us));
    }

    fn take(&mut self, arrival: Arrival) -> Result<()> {
        if let Arrival::Video { packet, .. } = &arrival {
            self.bytes += packet.payload.len() as u64;
        }
        match arrival {
            // Repair packets are another type's.
            Arrival::Video { packet, at_us } if packet.header.payload_type == self.payload_type => {
                self.assembler.push(packet, at_us);
            }
            Arrival::Mark { mark, at_us } => self.collect.mark(&mark, at_us),
            Arrival::Notice(Notice::Stream { stream }) => {
                self.encoder = stream.encoder;
                let before = self.marked;
                self.marked = before.told(stream.marked);
                if before == Marked::Never && self.marked == Marked::Drawn {
                    // What came before carried none.
                    *lock(&self.marker) = Reader::new(self.session);
                }
            }
            Arrival::Notice(Notice::Detached { reason }) => bail!("detached: {reason:?}"),
            Arrival::Notice(Notice::Ended { reason }) => bail!("the session ended: {reason:?}"),
            Arrival::State(
                state @ (RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed),
            ) => bail!("the connection is {state}"),
            _ => {}
        }
        Ok(())
    }

    /// Pings, plays, and asks for a key frame.
    fn speak(&mut self, now_us: u64, needs_key: bool) -> Result<()> {
        let ping_us = match FIRST_PINGS_US.get(self.pings) {
            Some(after_us) => *after_us,
            None => (self.pings - FIRST_PINGS_US.len() + 1) as u64 * PING_EVERY_US,
        };
        if now_us >= self.opened_us + ping_us {
            self.pings += 1;
            self.viewer.send(Event::Ping)?;
        }
        while let Some(event) = self.replay.as_mut().and_then(|replay| replay.due(now_us)) {
            let is_press = matches!(
                event,
                Event::Key { pressed: true, .. } | Event::PointerButton { pressed: true, .. }
            );
            if is_press {
                lock(&self.answers).pressed(clock::micros());
            }
            self.viewer.send(event)?;
        }
        if needs_key && now_us >= self.asked_us + KEY_FRAME_EVERY_US {
            self.asked_us = now_us;
            // Before the first packet there is nobody to ask, and a key frame comes by itself.
            drop(self.viewer.ask_for_key_frame());
        }
        Ok(())
    }

    fn finish(self) -> Result<(Quality, [u32; 2], Vec<String>)> {
        let now_us = clock::micros();
        let overflowed = self.viewer.overflowed() - self.overflowed;
        let readings = self.decoder.finish()?;
        let collect = self.collect.ended(now_us);
        let answers = lock(&self.answers);
        let mut faults = Vec::new();
        if overflowed > 0 {
            faults.push(format!(
                "{overflowed} packets were not read in time by the checker's machine"
            ));
        }
        if self.behind_max > BEHIND_MAX {
            let behind = self.behind_max;
            faults.push(format!(
                "the checker's decoder was {behind} pictures behind"
            ));
        }
        let played_us = now_us.saturating_sub(self.begun_us.unwrap_or(now_us));
        let seconds = u32::try_from(played_us / 1_000_000).unwrap_or(u32::MAX);
        // By the pictures where they count presses, by the node's marks elsewhere.
        let mut input = Times::default();
        answers.times_us().iter().for_each(|us| input.add(*us));
        let input = match answers.can_be_read() {
            true => &input,
            false => &collect.stages.input_to_arrival,
        };
        let plain = |c: &char| c.is_ascii_alphanumeric() || " ._-+/".contains(*c);
        let quality = Quality {
            seconds,
            frames: readings.decoded,
            fps_milli: Quality::rate_milli_of(readings.decoded, played_us),
            pace_us: at(&collect.intervals, 0.99),
            freezes: u32::try_from(collect.freezes).unwrap_or(u32::MAX),
            size: answers.size(),
            encode_us: at(&collect.stages.encode, 0.99),
            input_us: at(input, 0.99),
            rtt_us: at(&collect.round_trips, 0.95),
            encoder: self.encoder.chars().filter(plain).take(64).collect(),
        };
        Ok((quality, answers.presses(), faults))
    }
}

/// The 50th percentile and another one, microseconds.
fn at(times: &Times, quantile: f64) -> [u32; 2] {
    let histogram = times.histogram();
    let us = |quantile| u32::try_from(histogram.value_at_quantile(quantile)).unwrap_or(u32::MAX);
    match histogram.is_empty() {
        true => [0, 0],
        false => [us(0.5), us(quantile)],
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_node_that_takes_the_marker_back_leaves_nothing_that_counts() {
        let read = || Signs {
            agree: 8,
            against: 1,
            looked: 10,
        };
        let after = |words: &[Option<bool>]| {
            let told = |marked: Marked, word: &Option<bool>| marked.told(*word);
            words.iter().fold(Marked::Never, told).signs(read)
        };
        assert_eq!(after(&[None, Some(false)]), None);
        let drawn = [None, Some(false), Some(true), Some(true)];
        assert_eq!(after(&drawn), Some([8, 1, 10]));
        for back in [None, Some(false)] {
            let words = [Some(true), back, Some(true)];
            assert_eq!(after(&words), Some([0, 0, 0]), "{back:?}");
        }
    }

    #[test]
    fn the_codec_is_the_answers_first() {
        let answer = "v=0\r\nm=audio 9 X 111\r\na=rtpmap:111 opus/48000/2\r\nm=video 9 X 108 109\r\n\
                      a=rtpmap:108 H264/90000\r\na=rtpmap:109 rtx/90000\r\n";
        assert_eq!(chosen(answer).unwrap(), (Codec::H264, 108));
        let other = answer.replace("H264", "AV1");
        assert!(
            chosen(&other)
                .unwrap_err()
                .to_string()
                .contains("does not decode")
        );
        assert!(chosen("v=0\r\n").is_err());
    }
}
