//! Decodes a stream and reads calibrate's barcode from each picture.

use crate::barcode::{self, Luma};
use crate::clock;
use crate::frames::Frame;
use crate::viewer::Codec;
use anyhow::{Context, Result};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks, AppSrc};
use gstreamer_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use nearlight_stream::marker::{Reader, Shape};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Access units that wait for the decoder: fifteen seconds at 60 Hz, so that a busy machine may decode
/// after the fact. What is beyond it would only fill the memory.
const WAITING_MAX: u64 = 900;
/// Between two access units for the decoder: only the order counts.
const STEP_MS: u64 = 16;
/// How long the decoder may take to finish what it was given.
const DRAIN_DEADLINE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// What the pictures said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readings {
    /// Access units given to the decoder.
    pub given: u64,
    /// Pictures that came out.
    pub decoded: u64,
    /// Pictures whose barcode could be read.
    pub read: u64,
    /// Pictures whose counter was below that of one before.
    pub backwards: u64,
    /// Pictures whose counter was that of the one before.
    pub repeated: u64,
    /// Commits that no picture showed.
    pub skipped: u64,
    /// The newest counter.
    pub counter: u32,
}

impl Readings {
    /// A picture came out of the decoder.
    fn add(&mut self, reading: Option<barcode::Reading>) {
        self.decoded += 1;
        let Some(reading) = reading else {
            return;
        };
        let first = self.read == 0;
        self.read += 1;
        // Counters wrap: what is less than half a round ahead is ahead.
        let ahead = reading.counter.wrapping_sub(self.counter) as i32;
        match ahead {
            _ if first => {}
            0 => self.repeated += 1,
            1.. => self.skipped += u64::from(ahead.unsigned_abs() - 1),
            _ => self.backwards += 1,
        }
        self.counter = reading.counter;
    }

    /// What is wrong with the pictures, if anything is.
    pub fn fault(&self) -> Option<String> {
        if self.given == 0 {
            return Some("nothing was decoded: no key frame came".to_owned());
        }
        if self.backwards > 0 {
            return Some(format!("{} pictures went backwards", self.backwards));
        }
        if self.decoded < self.given {
            let missing = self.given - self.decoded;
            return Some(format!("{missing} access units gave no picture"));
        }
        // A flip of the whole picture may leave the barcode coarse for a picture or two.
        let unread = self.decoded - self.read;
        (unread * 10 > self.decoded).then(|| {
            format!(
                "the barcode of {unread} of {} pictures cannot be read",
                self.decoded
            )
        })
    }
}

/// How a codec is decoded.
struct Way {
    name: &'static str,
    caps: &'static str,
    /// With what links it to the decoder.
    parser: &'static str,
    /// In the order in which they are tried.
    decoders: &'static [&'static str],
    packages: &'static str,
}

impl Way {
    const fn of(codec: Codec) -> Self {
        match codec {
            Codec::H264 => Self {
                name: "H.264",
                caps: "video/x-h264,stream-format=byte-stream,alignment=au",
                parser: "h264parse !",
                decoders: &["avdec_h264", "openh264dec"],
                packages: "gstreamer1.0-libav or gstreamer1.0-plugins-bad",
            },
            Codec::Vp8 => Self {
                name: "VP8",
                caps: "video/x-vp8",
                parser: "",
                decoders: &["vp8dec"],
                packages: "gstreamer1.0-plugins-good",
            },
            Codec::H265 => Self {
                name: "HEVC",
                caps: "video/x-h265,stream-format=byte-stream,alignment=au",
                parser: "h265parse !",
                decoders: &["avdec_h265", "libde265dec"],
                packages: "gstreamer1.0-libav or gstreamer1.0-plugins-bad",
            },
            Codec::Av1 => Self {
                name: "AV1",
                caps: "video/x-av1,stream-format=obu-stream,alignment=tu",
                parser: "av1parse !",
                decoders: &["dav1ddec", "av1dec"],
                packages: "gstreamer1.0-plugins-bad",
            },
            Codec::Vp9 => Self {
                name: "VP9",
                caps: "video/x-vp9",
                parser: "",
                decoders: &["vp9dec"],
                packages: "gstreamer1.0-plugins-good",
            },
        }
    }

    fn decoder(&self) -> Result<&'static str> {
        let found =
            (self.decoders.iter().copied()).find(|name| gst::ElementFactory::find(name).is_some());
        found.with_context(|| format!("no {} decoder: install {}", self.name, self.packages))
    }
}

/// A picture that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// When, on the monotonic clock.
    pub at_us: u64,
    /// Width and height, pixels.
    pub size: [u32; 2],
    /// What its barcode says, if it has one that can be read.
    pub reading: Option<barcode::Reading>,
}

/// Who is told of each picture, on the decoder's thread.
pub type Watch = Box<dyn FnMut(Picture) + Send>;

/// Who looks for the marker of a session, shared with the decoder's thread.
pub type Marker = Arc<Mutex<Reader>>;

/// What is in the decoder while a marker is looked for: the number of the access unit, its RTP timestamp, and when it came.
type Given = Arc<Mutex<VecDeque<(u64, u32, u64)>>>;

/// A decoder with a reader behind it.
#[derive(Debug)]
pub struct Decoder {
    pipeline: gst::Pipeline,
    source: AppSrc,
    readings: Arc<Mutex<Readings>>,
    times: Option<Given>,
    given: u64,
}

impl Decoder {
    /// A decoder of pictures of a display that is `display_width` wide.
    ///
    /// # Errors
    /// No decoder is installed.
    pub fn new(codec: Codec, display_width: u32) -> Result<Self> {
        Self::watched(codec, display_width, Box::new(|_| {}), None)
    }

    /// As [`Decoder::new`], and `watch` is told of each picture, in which `marker` is looked for.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn watched(
        codec: Codec,
        display_width: u32,
        mut watch: Watch,
        marker: Option<Marker>,
    ) -> Result<Self> {
        gst::init()?;
        let way = Way::of(codec);
        let text = format!(
            "appsrc name=in format=time caps={} ! {} {} ! video/x-raw,format=I420 \
             ! appsink name=out sync=false",
            way.caps,
            way.parser,
            way.decoder()?
        );
        let pipeline = gst::parse::launch(&text)?;
        let pipeline = pipeline.downcast::<gst::Pipeline>();
        let pipeline = pipeline.map_err(|_| anyhow::anyhow!("the decoder is no pipeline"))?;
        let element = |name: &str| pipeline.by_name(name).context("an element that was named");
        let source = element("in")?.downcast::<AppSrc>();
        let source = source.map_err(|_| anyhow::anyhow!("an appsrc"))?;
        let sink = element("out")?.downcast::<AppSink>();
        let sink = sink.map_err(|_| anyhow::anyhow!("an appsink"))?;
        let readings = Arc::new(Mutex::new(Readings::default()));
        let put = Arc::clone(&readings);
        let look = marker.map(|marker| (marker, Given::default()));
        let times = look.as_ref().map(|(_, given)| Arc::clone(given));
        let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let seen = Seen::of(&sample);
            let (size, reading) = seen.as_ref().map_or_else(Default::default, |seen| {
                let luma = seen.luma();
                let size = [luma.width as u32, luma.height as u32];
                (size, barcode::read(luma, display_width))
            });
            if let (Some(seen), Some((marker, given))) = (&seen, &look)
                && let Some((timestamp, at_us)) = times_of(given, &sample)
            {
                let luma = seen.luma();
                let shape = Shape {
                    width: luma.width,
                    height: luma.height,
                    stride: luma.stride,
                };
                lock(marker).picture(luma.bytes, shape, timestamp, at_us);
            }
            lock(&put).add(reading);
            watch(Picture {
                at_us: clock::micros(),
                size,
                reading,
            });
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        pipeline.set_state(gst::State::Playing)?;
        Ok(Self {
            pipeline,
            source,
            readings,
            times,
            given: 0,
        })
    }

    /// Decodes a frame; frames must come without a gap from a key frame on.
    ///
    /// # Errors
    /// The decoder failed, or is far behind.
    pub fn give(&mut self, frame: &Frame) -> Result<()> {
        let mut buffer = gst::Buffer::from_slice(frame.data.clone());
        let pts = gst::ClockTime::from_mseconds(self.given * STEP_MS);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
        }
        if let Some(times) = &self.times {
            let mut times = lock(times);
            // A decoder that says of no picture which it is.
            if times.len() as u64 == WAITING_MAX {
                times.pop_front();
            }
            times.push_back((self.given, frame.rtp_timestamp, frame.at_us));
        }
        self.given += 1;
        // One unit may give more than one picture.
        let waiting = self.given.saturating_sub(self.readings().decoded);
        anyhow::ensure!(
            waiting < WAITING_MAX,
            "the decoder is {waiting} pictures behind: decode fewer sessions with --decode"
        );
        self.source.push_buffer(buffer).context("the decoder")?;
        Ok(())
    }

    /// What was read so far.
    pub fn readings(&self) -> Readings {
        let readings = *lock(&self.readings);
        Readings {
            given: self.given,
            ..readings
        }
    }

    /// Waits until everything is decoded.
    ///
    /// # Errors
    /// The decoder failed.
    pub fn finish(self) -> Result<Readings> {
        self.source.end_of_stream().context("the decoder")?;
        let bus = self.pipeline.bus().context("a pipeline has a bus")?;
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(DRAIN_DEADLINE, &ends);
        let message = message.context("the decoder does not finish")?;
        if let gst::MessageView::Error(error) = message.view() {
            anyhow::bail!("the decoder failed: {}", error.error());
        }
        Ok(self.readings())
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // A pipeline that cannot be stopped ends with the process.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// RTP timestamp and arrival of the access unit that a picture was made of; those of units before it are forgotten.
fn times_of(given: &Given, sample: &gst::Sample) -> Option<(u32, u64)> {
    let number = sample.buffer()?.pts()?.mseconds() / STEP_MS;
    let mut given = lock(given);
    while given.front().is_some_and(|(first, ..)| *first < number) {
        given.pop_front();
    }
    let first = given.front().filter(|(first, ..)| *first == number);
    first.map(|(_, timestamp, at_us)| (*timestamp, *at_us))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A decoded picture that can be read.
struct Seen<'a>(VideoFrameRef<&'a gst::BufferRef>);

impl<'a> Seen<'a> {
    fn of(sample: &'a gst::Sample) -> Option<Self> {
        let info = VideoInfo::from_caps(sample.caps()?).ok()?;
        let frame = VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
        Some(Self(frame))
    }

    /// Its first plane.
    fn luma(&self) -> Luma<'_> {
        let stride = self.0.plane_stride().first().copied();
        Luma {
            bytes: self.0.plane_data(0).unwrap_or_default(),
            stride: stride.map_or(0, |stride| usize::try_from(stride).unwrap_or(0)),
            width: self.0.width() as usize,
            height: self.0.height() as usize,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn after(counters: &[Option<u32>]) -> Readings {
        let mut readings = Readings::default();
        for counter in counters {
            readings.given += 1;
            readings.add(counter.map(|counter| barcode::Reading { counter, inputs: 0 }));
        }
        readings
    }

    #[test]
    fn counters_may_skip_and_repeat_but_not_go_back() {
        let readings = after(&[Some(u32::MAX), Some(0), Some(0), Some(3)]);
        assert_eq!((readings.repeated, readings.skipped), (1, 2));
        assert_eq!(readings.fault(), None);
        let readings = after(&[Some(5), Some(4)]);
        assert_eq!(readings.fault().unwrap(), "1 pictures went backwards");
    }

    #[test]
    fn pictures_that_are_missing_or_unreadable_are_a_fault() {
        assert!(after(&[]).fault().unwrap().contains("no key frame"));
        let mut readings = after(&[Some(1)]);
        readings.given += 1;
        assert!(readings.fault().unwrap().contains("gave no picture"));
        let mut some = vec![Some(1); 18];
        some.extend([None, None]);
        assert_eq!(after(&some).fault(), None);
        some.push(None);
        assert!(after(&some).fault().unwrap().contains("3 of 21"));
    }
}
