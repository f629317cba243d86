//! Which encoders work here: each is started at a small size and must return a key frame.

use super::ladder::{LADDER, Recipe, Settings};
use super::picture::{Order, Pictures};
use super::pipeline::{Output, Pipeline};
use crate::clock::mono_us;
use crate::limits::PROBE_MAX;
use gstreamer as gst;
use nearlight_protocol::worker::VideoCodec;
use std::sync::mpsc;

/// Large enough for the smallest frames that hardware takes (VA: 128, NVENC: 145 x 49).
const SIDE: (u32, u32) = (320, 240);

/// Encoders that returned a frame, best first.
pub fn probe() -> Vec<&'static Recipe> {
    LADDER.iter().filter(|recipe| works(recipe)).collect()
}

/// The recipes that `names` stand for, in that order; unknown names and codecs are left out.
pub fn trusted(names: &[(VideoCodec, String)]) -> Vec<&'static Recipe> {
    names
        .iter()
        .filter_map(|(codec, name)| {
            LADDER
                .iter()
                .find(|recipe| recipe.element == name && recipe.codec == *codec)
        })
        .collect()
}

fn works(recipe: &'static Recipe) -> bool {
    if gst::ElementFactory::find(recipe.element).is_none() {
        return false;
    }
    match try_one(recipe) {
        Ok(()) => true,
        Err(reason) => {
            tracing::info!(
                encoder = recipe.element,
                reason,
                "encoder does not work here"
            );
            false
        }
    }
}

fn try_one(recipe: &'static Recipe) -> Result<(), String> {
    let (width, height) = SIDE;
    let pictures = Pictures::new((width, height), 100, 60).map_err(|e| e.to_string())?;
    let settings = Settings {
        shape: pictures.shape(),
        threads: 1,
        kbps: 2000,
    };
    let (tell, told) = mpsc::sync_channel(4);
    let pipeline = Pipeline::start(recipe, &settings, move |output| {
        // A full channel: the first answer is enough.
        let _ = tell.try_send(output);
    })
    .map_err(|e| e.to_string())?;

    let mut canvas = pictures.canvas().map_err(|e| e.to_string())?;
    let grey = vec![0x80; (width * height * 4) as usize];
    canvas
        .draw(&grey, width * 4, Order::Bgrx)
        .map_err(|e| e.to_string())?;
    let picture = canvas.finish();
    let start = mono_us();
    for n in 0..3 {
        // Three: some hardware returns the first frame only when it has the second.
        if !pipeline.push(&picture, start + n * 16_666) {
            return Err("it takes no picture".into());
        }
    }
    match told.recv_timeout(PROBE_MAX) {
        Ok(Output::Unit(unit)) if unit.key && !unit.data.is_empty() => Ok(()),
        Ok(Output::Unit(_)) => Err("its first frame is no key frame".into()),
        Ok(Output::Broken(reason)) => Err(reason),
        Err(_) => Err(format!("no frame within {} s", PROBE_MAX.as_secs())),
    }
}
