//! What a GPU is good for, found by doing it: drawing a known picture and reading it back, importing
//! a buffer, encoding pictures where they are.
//!
//! A session's worker tries the encoders of its ladder once at its start; `--try-gpu` tries
//! everything and prints the outcome, in a process of its own that a driver may crash.

use super::draw;
use super::frames::Frames;
use super::{Cut, FrameError, Gpu, GpuError};
use crate::encode::form::{self, Form, Picture};
use crate::encode::ladder::{LADDER, Recipe};
use crate::encode::probe::{self, SIDE};
use crate::encode::scale::Scale;
use crate::limits::PROBE_MAX;
use gstreamer as gst;
use nearlight_protocol::worker::VideoCodec;
use serde::Serialize;
use smithay::backend::allocator::{Fourcc, Modifier};
use smithay::backend::renderer::ImportDma;
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::texture::{TextureBuffer, TextureRenderElement};
use smithay::backend::renderer::gles::{GlesError, GlesTexture};
use smithay::utils::Transform;
use std::path::Path;
use std::time::{Duration, Instant};

/// Drivers round colours their own way.
const TOLERANCE: u8 = 2;
/// The name that stands for Mesa's renderer by CPU instead of a render node.
pub const SOFTWARE: &str = "software";

/// What came of trying a GPU.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The renderer, as its driver names it.
    pub renderer: Option<String>,
    /// Drawing a known picture, whole and smaller, and reading it back.
    pub compositor: Outcome,
    /// Importing a buffer that was allocated on the node, and drawing it.
    pub dmabuf_import: Outcome,
    /// Encoding pictures where they are: whether any encoder does.
    pub zero_copy: Outcome,
    /// Each encoder of a GPU that is installed.
    pub encoders: Vec<Encoder>,
}

/// What came of one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether it works.
    pub works: bool,
    /// What was seen, or why it does not.
    pub detail: String,
    /// What to do, where something helps.
    pub fix: Option<String>,
}

/// One encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encoder {
    /// What it makes.
    pub codec: VideoCodec,
    /// The GStreamer element.
    pub encoder: &'static str,
    /// Whether it encodes pictures on the GPU.
    pub works: bool,
    /// Why not, or empty.
    pub reason: String,
}

impl Outcome {
    fn of(tried: Result<String, String>, fix: &str) -> Self {
        let works = tried.is_ok();
        let (Ok(detail) | Err(detail)) = tried;
        let fix = (!works).then(|| fix.to_owned());
        Self { works, detail, fix }
    }
}

/// Tries the GPU behind a render node, or [`SOFTWARE`].
pub fn run(node: &Path) -> Report {
    let opened = match node.to_str() {
        Some(SOFTWARE) => Gpu::software(),
        Some(_) | None => Gpu::open(node),
    };
    let mut gpu = match opened {
        Ok(gpu) => gpu,
        Err(error) => {
            let outcome = Outcome::of(Err(error.to_string()), error.fix());
            return Report {
                compositor: outcome.clone(),
                dmabuf_import: outcome.clone(),
                zero_copy: outcome,
                ..Report::default()
            };
        }
    };
    let installed = LADDER.iter().copied().filter(|recipe| {
        recipe.zero_copy.is_some() && gst::ElementFactory::find(recipe.element).is_some()
    });
    let (zero_copy, encoders) = try_encoders(&mut gpu, &installed.collect::<Vec<_>>());
    Report {
        renderer: Some(gpu.name.clone()),
        compositor: Outcome::of(
            draws(&mut gpu).map(|()| format!("{} draws and is read back", gpu.name)),
            "The driver draws wrong colours or nothing: install another version of it.",
        ),
        dmabuf_import: Outcome::of(
            imports(&mut gpu).map(|()| "a buffer of the node was imported and drawn".to_owned()),
            "Games fall back to shared memory. For NVIDIA: a driver from 495 on with \
             nvidia-drm_gbm.so, and modprobe nvidia-drm modeset=1.",
        ),
        zero_copy,
        encoders,
    }
}

/// What a session may use: encoders of `recipes`, the first that works of each codec, and the form
/// that their pictures have. All of it takes about `patience` at most.
///
/// # Errors
/// Why there is none.
pub(crate) fn zero_copy(
    gpu: &mut Gpu,
    recipes: &[&'static Recipe],
    patience: Duration,
) -> Result<(Form, Vec<&'static str>), String> {
    if let Some(why) = why_none(recipes) {
        return Err(why);
    }
    let (started, mut last) = (Instant::now(), None);
    for modifiers in gpu.layouts() {
        let (form, pictures) = match cards(gpu, &modifiers) {
            Ok(made) => made,
            Err(error) => {
                last = Some(error.to_string());
                continue;
            }
        };
        let mut works: Vec<&'static Recipe> = Vec::new();
        for recipe in recipes.iter().copied().filter(|r| r.zero_copy.is_some()) {
            if works.iter().any(|w| w.codec == recipe.codec) {
                continue;
            }
            let left = patience.saturating_sub(started.elapsed());
            if left.is_zero() {
                last.get_or_insert_with(|| "no encoder answered in time".to_owned());
                break;
            }
            match probe::zero_copy(recipe, pictures.clone(), left) {
                Ok(()) => works.push(recipe),
                Err(reason) => last = Some(format!("{}: {reason}", recipe.element)),
            }
        }
        if !works.is_empty() {
            return Ok((form, works.iter().map(|r| r.element).collect()));
        }
    }
    Err(last.unwrap_or_else(|| "the driver names no layout of buffers".to_owned()))
}

/// Why there is nothing to try, if so.
fn why_none(recipes: &[&'static Recipe]) -> Option<String> {
    if !recipes.iter().any(|recipe| recipe.zero_copy.is_some()) {
        return Some("no encoder that works here takes pictures from a GPU".to_owned());
    }
    form::lacks_dmabuf()
}

/// Every one of them, in the layout that the first success has.
fn try_encoders(gpu: &mut Gpu, recipes: &[&'static Recipe]) -> (Outcome, Vec<Encoder>) {
    const FIX: &str = "Pictures are read back meanwhile. On hosts whose GPU has encoders: GStreamer \
                       1.24 or newer with its gl and nvcodec or va plugins (the edge image has \
                       1.26), and GBM of the driver.";
    let each = |reason: &dyn Fn(&'static Recipe) -> Result<(), String>| -> Vec<Encoder> {
        let tried = recipes.iter().map(|recipe| (*recipe, reason(recipe)));
        let tried = tried.map(|(recipe, tried)| Encoder {
            codec: recipe.codec,
            encoder: recipe.element,
            works: tried.is_ok(),
            reason: tried.err().unwrap_or_default(),
        });
        tried.collect()
    };
    let found = zero_copy(gpu, recipes, PROBE_MAX * recipes.len().max(1) as u32);
    let form = match &found {
        Ok((form, _)) => *form,
        Err(why) => {
            let all = each(&|_| Err(why.clone()));
            return (Outcome::of(Err(why.clone()), FIX), all);
        }
    };
    let Form::Dmabuf { modifier } = form else {
        return (
            Outcome::of(Err("no buffer of the GPU".to_owned()), FIX),
            Vec::new(),
        );
    };
    let all = match cards(gpu, &[modifier.into()]) {
        Ok((_, pictures)) => each(&|recipe| probe::zero_copy(recipe, pictures.clone(), PROBE_MAX)),
        Err(error) => each(&|_| Err(error.to_string())),
    };
    let names: Vec<_> = all.iter().filter(|e| e.works).map(|e| e.encoder).collect();
    let detail = format!("layout {modifier:#x}: {}", names.join(" "));
    (Outcome::of(Ok(detail), FIX), all)
}

/// A known picture, four bytes a pixel, red first: a texture, moved sideways.
fn card((width, height): (u32, u32), shift: u32) -> Vec<u8> {
    let pixel = |x: u32, y: u32| {
        let (x, y) = ((x + shift) / 8, y / 8);
        [(x * 5) as u8, (y * 7) as u8, ((x ^ y) * 3) as u8, 255]
    };
    (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)))
        .collect()
}

const WHOLE: Cut = Cut {
    display: SIDE,
    scale: Scale::Whole,
};

type Element = TextureRenderElement<GlesTexture>;

fn element(gpu: &Gpu, texture: GlesTexture) -> Element {
    let buffer = TextureBuffer::from_texture(&gpu.renderer, texture, 1, Transform::Normal, None);
    let (alpha, src, size) = (None, None, None);
    Element::from_texture_buffer((0.0, 0.0), &buffer, alpha, src, size, Kind::Unspecified)
}

fn card_element(gpu: &mut Gpu, side: (u32, u32), shift: u32) -> Result<Element, GlesError> {
    use smithay::backend::renderer::ImportMem;
    let (pixels, size) = (card(side, shift), draw::buffer_size(side));
    let texture = gpu
        .renderer
        .import_memory(&pixels, Fourcc::Abgr8888, size, false)?;
    Ok(element(gpu, texture))
}

/// Draws the known picture, whole and half as large, and compares what is read back.
fn draws(gpu: &mut Gpu) -> Result<(), String> {
    let shown = card_element(gpu, SIDE, 0).map_err(|e| e.to_string())?;
    for scale in [Scale::Whole, Scale::Half] {
        let cut = Cut { scale, ..WHOLE };
        shows_card(gpu, &shown, cut)?;
    }
    Ok(())
}

/// Draws the known picture into a buffer of the node's, imports that, and compares.
fn imports(gpu: &mut Gpu) -> Result<(), String> {
    let shown = card_element(gpu, SIDE, 0).map_err(|e| e.to_string())?;
    let mut last = "the driver names no layout of buffers".to_owned();
    for modifiers in gpu.layouts() {
        let imported = through_buffer(gpu, &shown, &modifiers);
        match imported.map_err(|e| e.to_string()) {
            Ok(texture) => {
                let shown = element(gpu, texture);
                return shows_card(gpu, &shown, WHOLE);
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn through_buffer(
    gpu: &mut Gpu,
    shown: &Element,
    modifiers: &[Modifier],
) -> Result<GlesTexture, GpuError> {
    let allocator = gpu.allocator.as_mut().ok_or(FrameError::NoAllocator)?;
    let mut frames = Frames::new(allocator, SIDE, modifiers)?;
    let (buffer, _) = frames.next()?;
    let (targets, renderer) = (&mut gpu.targets, &mut gpu.renderer);
    targets.draw(
        renderer,
        std::slice::from_ref(shown),
        WHOLE,
        buffer,
        |r, _| draw::finish(r),
    )?;
    Ok(renderer.import_dmabuf(buffer, None)?)
}

/// Two pictures that differ, in buffers of the node's.
fn cards(gpu: &mut Gpu, modifiers: &[Modifier]) -> Result<(Form, [Picture; 2]), GpuError> {
    let allocator = gpu.allocator.as_mut().ok_or(FrameError::NoAllocator)?;
    let modifier = Frames::new(allocator, SIDE, modifiers)?.modifier();
    let (first, second) = (card_element(gpu, SIDE, 0)?, card_element(gpu, SIDE, 3)?);
    let pictures = [
        gpu.paint(&[first], WHOLE, modifier)?,
        gpu.paint(&[second], WHOLE, modifier)?,
    ];
    Ok((Form::Dmabuf { modifier }, pictures))
}

/// Compares what is drawn with the known picture. Only cells' middles count where it is smaller:
/// averages of their edges are the driver's.
fn shows_card(gpu: &mut Gpu, shown: &Element, cut: Cut) -> Result<(), String> {
    let wanted = card(SIDE, 0);
    let (width, height) = cut.size();
    let factor = SIDE.0 / width;
    let wrong = gpu
        .read_back(std::slice::from_ref(shown), cut, |pixels, stride| {
            let at = |bytes: &[u8], stride: u32, x: u32, y: u32| -> [u8; 3] {
                let start = (y * stride + x * 4) as usize;
                [bytes[start], bytes[start + 1], bytes[start + 2]]
            };
            let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
            places
                .map(|(x, y)| {
                    let got = at(pixels, stride, x, y);
                    let want = at(&wanted, SIDE.0 * 4, x * factor, y * factor);
                    ((x, y), got, want)
                })
                .find(|(_, got, want)| {
                    got.iter()
                        .zip(want)
                        .any(|(a, b)| a.abs_diff(*b) > TOLERANCE)
                })
        })
        .map_err(|e| e.to_string())?;
    match wrong {
        None => Ok(()),
        Some((at, got, want)) => Err(format!(
            "at {at:?} of {width} x {height} pixels it drew {got:?} instead of {want:?}"
        )),
    }
}
