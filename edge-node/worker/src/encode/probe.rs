//! Which encoders work here: each is started at a small size and must return a key frame; a slow
//! codec must also show that this machine is fast enough for it.

use super::form::Picture;
use super::ladder::{LADDER, Recipe, Settings};
use super::picture::{Order, Pictures, Shape};
use super::pipeline::{Output, Pipeline, Unit};
use crate::clock::mono_us;
use crate::limits::PROBE_MAX;
use gstreamer as gst;
use nearlight_protocol::worker::VideoCodec;
use serde::Serialize;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Large enough for the smallest frames that hardware takes (VA: 128, NVENC: 192 x 128).
pub(crate) const SIDE: (u32, u32) = (320, 240);
/// What a slow codec is tried with.
const DEMANDING_SIDE: (u32, u32) = (1280, 720);
const DEMANDING_PICTURES: usize = 20;
const HZ: u32 = 60;
/// The part of a frame's time that the median picture may take: the app and the network need the
/// rest.
const BUSY_PERCENT: u64 = 50;
/// The threads that a session gives an encoder unless it is told otherwise.
const THREADS: u32 = 2;
const KBPS: u32 = 4000;

/// What became of one encoder's trial.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// What it makes.
    pub codec: VideoCodec,
    /// The GStreamer element.
    pub encoder: &'static str,
    /// Whether a session can use it.
    pub works: bool,
    /// Why it cannot, or empty.
    pub reason: String,
}

/// Encoders that returned a frame, best first.
pub fn probe() -> Vec<&'static Recipe> {
    LADDER
        .iter()
        .copied()
        .filter(|recipe| trial(recipe).works)
        .collect()
}

/// Every encoder that we know, best first, and what became of its trial.
pub fn trials() -> Vec<Trial> {
    LADDER.iter().map(|recipe| trial(recipe)).collect()
}

/// The recipes that `names` stand for, in that order; unknown names and codecs are left out.
pub fn trusted(names: &[(VideoCodec, String)]) -> Vec<&'static Recipe> {
    names
        .iter()
        .filter_map(|(codec, name)| {
            LADDER
                .iter()
                .copied()
                .find(|recipe| recipe.element == name && recipe.codec == *codec)
        })
        .collect()
}

fn trial(recipe: &'static Recipe) -> Trial {
    let tried = if gst::ElementFactory::find(recipe.element).is_none() {
        Err("GStreamer has no such element here, or no device for it".into())
    } else {
        Bench::start(recipe, SIDE)
            .and_then(|bench| returns_a_key_frame(&bench))
            .and_then(|()| is_fast_enough(recipe))
    };
    if let Err(reason) = &tried {
        tracing::debug!(encoder = recipe.element, reason, "encoder is left out");
    }
    Trial {
        codec: recipe.codec,
        encoder: recipe.element,
        works: tried.is_ok(),
        reason: tried.err().unwrap_or_default(),
    }
}

/// An encoder under trial and what it returns.
struct Bench {
    pipeline: Pipeline,
    /// Two that differ, shown in turn.
    pictures: [Picture; 2],
    told: Receiver<Output>,
    /// For an answer.
    patience: Duration,
}

impl Bench {
    fn start(recipe: &'static Recipe, side: (u32, u32)) -> Result<Self, String> {
        let pool = Pictures::new(side, 100, HZ).map_err(|e| e.to_string())?;
        Self::with(recipe, [picture(&pool, 0)?, picture(&pool, 3)?], side)
    }

    fn with(
        recipe: &'static Recipe,
        pictures: [Picture; 2],
        (width, height): (u32, u32),
    ) -> Result<Self, String> {
        let settings = Settings {
            shape: Shape {
                width,
                height,
                hz: HZ,
            },
            threads: THREADS,
            kbps: KBPS,
        };
        let (tell, told) = sync_channel(DEMANDING_PICTURES);
        let form = pictures[0].form;
        let pipeline = Pipeline::start(recipe, &settings, form, move |output| {
            // There is room for an answer to each picture.
            let _ = tell.try_send(output);
        })
        .map_err(|e| e.to_string())?;
        Ok(Self {
            pipeline,
            pictures,
            told,
            patience: PROBE_MAX,
        })
    }

    fn push(&self, n: u64) -> Result<(), String> {
        let pts_us = 1_000_000 + n * 1_000_000 / u64::from(HZ);
        if self.pipeline.push(&self.pictures[n as usize % 2], pts_us) {
            Ok(())
        } else {
            Err("it takes no picture".into())
        }
    }

    fn unit(&self) -> Result<Unit, String> {
        match self.told.recv_timeout(self.patience) {
            Ok(Output::Unit(unit)) => Ok(unit),
            Ok(Output::Broken(reason)) => Err(reason),
            Err(_) => Err(format!("no frame within {} ms", self.patience.as_millis())),
        }
    }
}

/// A texture, moved sideways.
fn picture(pool: &Pictures, shift: u32) -> Result<Picture, String> {
    let shape = pool.shape();
    let mut pixels = Vec::with_capacity((shape.width * shape.height * 4) as usize);
    for y in 0..shape.height {
        for x in 0..shape.width {
            let texture = (((x + shift) ^ y).wrapping_mul(2_654_435_761) >> 24) as u8 / 4;
            pixels.extend([96 + texture, 64 + texture, (y / 8) as u8, 0]);
        }
    }
    let mut canvas = pool.canvas().map_err(|e| e.to_string())?;
    canvas
        .draw(&pixels, shape.width * 4, Order::Bgrx)
        .map_err(|e| e.to_string())?;
    Ok(canvas.plain())
}

/// Whether an encoder makes a key frame of pictures on its GPU, two that differ, in time.
///
/// # Errors
/// Why it does not.
pub(crate) fn zero_copy(
    recipe: &'static Recipe,
    pictures: [Picture; 2],
    patience: Duration,
) -> Result<(), String> {
    let bench = Bench::with(recipe, pictures, SIDE)?;
    returns_a_key_frame(&Bench { patience, ..bench })
}

fn returns_a_key_frame(bench: &Bench) -> Result<(), String> {
    // Three: some hardware returns the first frame only when it has the second.
    for n in 0..3 {
        bench.push(n)?;
    }
    let first = bench.unit()?;
    if first.key && !first.data.is_empty() {
        Ok(())
    } else {
        Err("its first frame is no key frame".into())
    }
}

fn is_fast_enough(recipe: &'static Recipe) -> Result<(), String> {
    if !recipe.demanding {
        return Ok(());
    }
    let bench = Bench::start(recipe, DEMANDING_SIDE)?;
    let mut times = Vec::with_capacity(DEMANDING_PICTURES);
    for n in 0..DEMANDING_PICTURES as u64 {
        bench.push(n)?;
        let since_us = mono_us();
        times.push(bench.unit()?.encoded_us.saturating_sub(since_us));
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    let allowed = 1_000_000 / u64::from(HZ) * BUSY_PERCENT / 100;
    if median <= allowed {
        return Ok(());
    }
    let (width, height) = DEMANDING_SIDE;
    Err(format!(
        "too slow here: {median} us for a picture of {width} x {height}, at most {allowed} allowed"
    ))
}
