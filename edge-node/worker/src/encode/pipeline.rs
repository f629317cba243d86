//! One running encoder, for pictures in memory or for pictures on the GPU:
//!
//! ```text
//! appsrc --I420--> [videoconvert] ---------------+--> encoder ! [parser] ! caps ! appsink
//!        --DMABuf--> import and convert on the GPU +
//! ```
//!
//! Owns the GStreamer elements. The encoder works on the pipeline's own thread, which also calls
//! `on_unit`. Nothing here waits: a full or broken encoder shows in what comes back.
//!
//! **What it does not know:** who watches, commits, the ladder.

use super::form::{Form, Picture};
use super::ladder::{Recipe, Settings};
use super::picture::Shape;
use crate::clock::mono_us;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use nearlight_protocol::worker::VideoCodec;
use std::sync::Arc;

/// An access unit as the encoder returned it.
#[derive(Debug)]
pub struct Unit {
    /// The `pts_us` of the picture it was made from.
    pub pts_us: u64,
    /// Whether decoding can start here.
    pub key: bool,
    /// When the encoder returned it.
    pub encoded_us: u64,
    /// Annex B for H.264, a frame for VP8.
    pub data: Vec<u8>,
}

/// What a running encoder says, on its own thread.
#[derive(Debug)]
pub enum Output {
    /// An access unit, in the order of the pictures.
    Unit(Unit),
    /// It failed and makes nothing more.
    Broken(String),
}

/// Why an encoder did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The element is missing, or refused its place.
    #[error("cannot build the pipeline: {0}")]
    Build(#[from] gst::glib::BoolError),
    /// It refused to run.
    #[error("cannot start the encoder: {0}")]
    Run(#[from] gst::StateChangeError),
    /// It only takes pictures in memory.
    #[error("it takes no picture from the GPU")]
    NoZeroCopy,
}

/// A running encoder. Dropping it stops it on a thread of its own: a hung driver must not hang the
/// desktop.
#[derive(Debug)]
pub struct Pipeline {
    recipe: &'static Recipe,
    form: Form,
    shape: Shape,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    encoder: gst::Element,
    closed: Option<Closed>,
}

/// What is called when an encoder is closed.
struct Closed(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closed")
    }
}

impl Pipeline {
    /// Starts an encoder that takes pictures of this form.
    ///
    /// # Errors
    /// [`StartError`] if the element is missing or does not start.
    pub fn start(
        recipe: &'static Recipe,
        settings: &Settings,
        form: Form,
        on_output: impl Fn(Output) + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let on_output = Arc::new(on_output);
        let pipeline = gst::Pipeline::new();
        let caps = form.caps(settings.shape)?;
        let source = gst_app::AppSrc::builder()
            .caps(&caps)
            .format(gst::Format::Time)
            .is_live(true)
            .block(false)
            .property("max-buffers", 4_u64)
            .build();
        let encoder = gst::ElementFactory::make(recipe.element).build()?;
        recipe.apply(&encoder, settings);
        let sink = sink(recipe.codec, Arc::clone(&on_output));

        let mut chain = vec![source.clone().upcast::<gst::Element>()];
        chain.extend(before(recipe, form)?);
        chain.push(encoder.clone());
        if let Some(parser) = recipe.parser {
            let parser = gst::ElementFactory::make(parser).build()?;
            if parser.find_property("config-interval").is_some() {
                parser.set_property("config-interval", -1);
            }
            chain.push(parser);
        }
        chain.push(sink.upcast());
        pipeline.add_many(&chain)?;
        gst::Element::link_many(&chain)?;

        watch(&pipeline, on_output)?;
        let running = Self {
            recipe,
            form,
            shape: settings.shape,
            pipeline,
            source,
            encoder,
            closed: None,
        };
        running.pipeline.set_state(gst::State::Playing)?;
        Ok(running)
    }

    /// Has `closed` called once its encoder is closed, some time after it was dropped.
    pub fn on_closed(&mut self, closed: impl FnOnce() + Send + 'static) {
        self.closed = Some(Closed(Box::new(closed)));
    }

    /// How it is driven.
    pub fn recipe(&self) -> &'static Recipe {
        self.recipe
    }

    /// The form of the pictures it takes.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Hands over a picture. `pts_us` must grow. Returns whether the encoder takes it.
    pub fn push(&self, picture: &Picture, pts_us: u64) -> bool {
        let mut stamped = picture.buffer.copy();
        {
            let stamped = stamped.make_mut();
            stamped.set_pts(gst::ClockTime::from_useconds(pts_us));
            stamped.set_dts(gst::ClockTime::NONE);
        }
        self.source.push_buffer(stamped).is_ok()
    }

    /// Makes the next picture a key frame.
    pub fn force_key(&self) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder()
            .all_headers(true)
            .build();
        if let Some(pad) = self.encoder.static_pad("src") {
            pad.send_event(event);
        }
    }

    /// Changes the bit rate.
    pub fn set_kbps(&self, kbps: u32) {
        self.recipe.apply_kbps(&self.encoder, self.shape, kbps);
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let (pipeline, closed) = (self.pipeline.clone(), self.closed.take());
        let stop = move || {
            if let Err(error) = pipeline.set_state(gst::State::Null) {
                tracing::warn!(%error, "encoder did not stop");
            }
            if let Some(Closed(tell)) = closed {
                tell();
            }
        };
        let spawned = std::thread::Builder::new()
            .name("encoder-stop".into())
            .spawn(stop);
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread to stop an encoder");
        }
    }
}

/// What brings pictures of this form to the encoder.
fn before(recipe: &Recipe, form: Form) -> Result<Vec<gst::Element>, StartError> {
    let make = |name: &str| gst::ElementFactory::make(name).build();
    match form {
        Form::Memory if recipe.format == "I420" => Ok(Vec::new()),
        Form::Memory => Ok(vec![make("videoconvert")?]),
        Form::Dmabuf { .. } => {
            let way = recipe.zero_copy.ok_or(StartError::NoZeroCopy)?;
            let names = way.elements.iter();
            let mut chain = names.map(|n| make(n)).collect::<Result<Vec<_>, _>>()?;
            let filter = make("capsfilter")?;
            filter.set_property("caps", way.caps());
            chain.push(filter);
            Ok(chain)
        }
    }
}

fn sink(
    codec: VideoCodec,
    on_output: Arc<impl Fn(Output) + Send + Sync + 'static>,
) -> gst_app::AppSink {
    let caps = match codec {
        VideoCodec::H264 => gst::Caps::builder("video/x-h264")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .field("profile", "constrained-baseline")
            .build(),
        VideoCodec::VP8 => gst::Caps::new_empty_simple("video/x-vp8"),
        VideoCodec::VP9 => gst::Caps::builder("video/x-vp9")
            .field("profile", "0")
            .build(),
        VideoCodec::H265 => gst::Caps::builder("video/x-h265")
            .field("stream-format", "byte-stream")
            .field("alignment", "au")
            .build(),
        VideoCodec::AV1 => gst::Caps::builder("video/x-av1")
            .field("stream-format", "obu-stream")
            .field("alignment", "tu")
            .build(),
    };
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(unit) = unit(&sample) {
                on_output(Output::Unit(unit));
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = gst_app::AppSink::builder()
        .caps(&caps)
        .sync(false)
        .async_(false)
        .callbacks(callbacks)
        .build();
    sink.set_property("enable-last-sample", false);
    sink
}

/// The access unit in `sample`, with the time of its picture. Encoders may shift timestamps
/// (x264enc by 1000 hours) and then say so in the segment, so only the running time is ours.
fn unit(sample: &gst::Sample) -> Option<Unit> {
    let encoded_us = mono_us();
    let buffer = sample.buffer()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let running = segment.to_running_time(buffer.pts()?)?;
    let map = buffer.map_readable().ok()?;
    Some(Unit {
        pts_us: (running.nseconds() + 500) / 1000,
        key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        encoded_us,
        data: map.as_slice().to_vec(),
    })
}

/// Reports the first error on the pipeline's bus. Messages are dropped otherwise: nobody reads it.
fn watch(
    pipeline: &gst::Pipeline,
    on_output: Arc<impl Fn(Output) + Send + Sync + 'static>,
) -> Result<(), gst::glib::BoolError> {
    let bus = pipeline
        .bus()
        .ok_or_else(|| gst::glib::bool_error!("a pipeline without a bus"))?;
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view() {
            on_output(Output::Broken(error.error().to_string()));
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}
