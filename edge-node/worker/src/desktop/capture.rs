//! From a commit to a picture for the encoder. There is no capture timer: this runs inside the
//! commit, unless the app is ahead of the display's rate.
//!
//! ```text
//! picture_changed --nobody watches--> dropped NoViewer
//!                 --on time---------> drawn, handed to the feed
//!                 --too early-------> waits for a turn or the end of the round of requests
//!                                     (a newer one replaces it: OverRate)
//! ```
//!
//! A picture may be smaller than the display (`Capture::set_target`); pictures of another size
//! take over at once, and if no commit draws one soon, what is visible is drawn again.
//!
//! Drawing is direct where one surface in memory is the whole picture: one pass from the client's
//! memory to the encoder's. Otherwise the scene is composited first, by CPU or on the GPU, and read
//! back from there only if the encoder takes no picture on the GPU ([`super::way`]).

use super::composite::CompositeError;
use super::gpu::{Cut, GpuError};
use super::painter::Painter;
use super::pixels::{ReadError, with_pixels};
use super::record::record_frame;
use super::way::Way;
use super::{Desktop, DesktopError, DisplaySize};
use crate::clock::mono_us;
use crate::encode::form::Picture;
use crate::encode::picture::{Canvas, Order, PictureError, Pictures};
use crate::encode::{Feed, Origin, Stamp};
use crate::ledger::{Commit, Ledger};
use crate::limits::REDRAW_WAIT;
use crate::pace::Verdict;
use nearlight_protocol::id::SessionId;
use nearlight_protocol::worker::{DropReason, PicturePath, Target};
use nearlight_stream::marker::{Key, Pen};
use smithay::backend::renderer::utils::{RendererSurfaceState, with_renderer_surface_state};
use smithay::reexports::wayland_server::protocol::wl_shm::Format;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::dmabuf::get_dmabuf;
use std::path::PathBuf;

/// What a capture needs, and the commit that waits for one.
#[derive(Debug)]
pub struct Capture {
    feed: Feed,
    ledger: Ledger,
    pictures: Pictures,
    scale_percent: u8,
    fps_max: u32,
    redraw_due_us: Option<u64>,
    watching: bool,
    newest: Option<u32>,
    waiting: Option<Waiting>,
    record: Option<(PathBuf, u32)>,
    /// Draws the session's marker into pictures in memory.
    pen: Option<Pen>,
    /// That of the newest picture.
    way: Option<Way>,
    /// Those that the log has.
    told: Vec<PicturePath>,
}

#[derive(Debug)]
struct Waiting {
    commit: Commit,
    stamp: Stamp,
    /// How many of the presentation feedbacks that wait belong to this commit or older ones.
    feedbacks: usize,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
enum DrawError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Composite(#[from] CompositeError),
    #[error(transparent)]
    Gpu(#[from] GpuError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("the surface has no buffer")]
    NoBuffer,
}

impl DrawError {
    fn reason(&self) -> DropReason {
        match self {
            Self::Picture(PictureError::Exhausted) => DropReason::Superseded,
            Self::Gpu(error) if error.is_exhausted() => DropReason::Superseded,
            Self::Gpu(_)
            | Self::Read(_)
            | Self::Composite(_)
            | Self::Picture(_)
            | Self::NoBuffer => DropReason::Unreadable,
        }
    }
}

impl Capture {
    pub(crate) fn new(
        feed: Feed,
        ledger: Ledger,
        size: DisplaySize,
        record: Option<(PathBuf, u32)>,
    ) -> Result<Self, PictureError> {
        let best = Target::full(0);
        Ok(Self {
            feed,
            ledger,
            pictures: pictures(size, best.scale_percent)?,
            scale_percent: best.scale_percent,
            fps_max: best.fps_max,
            redraw_due_us: None,
            watching: false,
            newest: None,
            waiting: None,
            record,
            pen: None,
            way: None,
            told: Vec::new(),
        })
    }

    /// Frames per second that are encoded at most.
    pub(crate) fn fps_max(&self) -> u32 {
        self.fps_max
    }

    /// The way of the newest picture to the encoder.
    pub(crate) fn path(&self) -> PicturePath {
        self.way.map(Way::path).unwrap_or_default()
    }

    /// Whether the newest picture carries the session's marker. One that stays on the GPU carries none.
    pub(crate) fn is_marked(&self) -> bool {
        self.pen.is_some() && self.path() != PicturePath::ZeroCopy
    }

    /// Encoders take pictures from memory alone from now on.
    pub(crate) fn forbid_zero_copy(&self) {
        self.feed.forbid_zero_copy();
    }

    fn takes(&mut self, way: Way) {
        self.way = Some(way);
        // Once each: an app may change its way with every picture.
        if !self.told.contains(&way.path()) {
            self.told.push(way.path());
            tracing::info!(path = ?way.path(), "way of pictures to the encoder");
        }
    }

    /// What part of the display pictures are from the next [`Self::reshape`] on. Returns whether
    /// it is another, or another rate.
    pub(crate) fn set_target(&mut self, scale_percent: u8, fps_max: u32) -> bool {
        let old = (self.scale_percent, self.fps_max);
        (self.scale_percent, self.fps_max) = (scale_percent, fps_max);
        old != (scale_percent, fps_max)
    }

    /// Pictures are of this display from now on. Equal ones change nothing.
    pub(crate) fn reshape(&mut self, size: DisplaySize, now: u64) -> Result<(), DesktopError> {
        let pictures = pictures(size, self.scale_percent)?;
        if !pictures.is_like(&self.pictures) {
            self.feed.reshape(pictures.shape());
            self.pictures = pictures;
            self.redraw_due_us = Some(now + REDRAW_WAIT.as_micros() as u64);
        }
        Ok(())
    }

    /// When what is visible is to be drawn again.
    pub(crate) fn redraw_due_us(&self) -> Option<u64> {
        self.redraw_due_us.filter(|_| self.watching)
    }
}

fn pictures(size: DisplaySize, scale_percent: u8) -> Result<Pictures, PictureError> {
    Pictures::new((size.width, size.height), scale_percent, size.hz)
}

impl Desktop {
    /// Whether the app has shown a picture.
    pub fn has_picture(&self) -> bool {
        self.capture.newest.is_some()
    }

    /// A viewer came: pictures are wanted, with the marker of this session, the current one at once.
    pub fn watch(&mut self, session: Option<&SessionId>) {
        self.capture.pen = session.map(|session| Pen::new(Key::of(session)));
        self.capture.watching = true;
        self.redraw();
    }

    /// Shows a display that changed and that no app has drawn on since.
    pub(crate) fn redraw_if_due(&mut self, now: u64) {
        if self.capture.redraw_due_us().is_some_and(|due| due <= now) {
            self.redraw();
        }
    }

    /// What is visible is drawn again in this round, if somebody watches.
    pub fn redraw_soon(&mut self) {
        self.capture.redraw_due_us = Some(mono_us());
    }

    fn redraw(&mut self) {
        self.capture.redraw_due_us = None;
        let (Some(newest), false) = (self.capture.newest, self.scene.is_empty()) else {
            return;
        };
        let stamp = Stamp {
            commit_us: mono_us(),
            ..Stamp::default()
        };
        match self.draw(stamp.commit_us) {
            Ok(picture) => {
                let stamp = Stamp {
                    captured_us: mono_us(),
                    ..stamp
                };
                self.capture
                    .feed
                    .submit(picture, Origin::Repeat(newest), stamp);
            }
            Err(error) => tracing::warn!(%error, "nothing to show yet"),
        }
    }

    /// Nobody watches.
    pub fn unwatch(&mut self) {
        self.capture.watching = false;
        self.frames.pacer.forget_waiting();
        if let Some(waiting) = self.capture.waiting.take() {
            waiting.commit.dropped(DropReason::NoViewer);
        }
        self.discarded();
    }

    /// What is visible changed by a commit at `now`.
    pub(crate) fn picture_changed(&mut self, now: u64) {
        if self.scene.is_empty() {
            return;
        }
        let commit = self.capture.ledger.committed();
        let number = commit.number();
        self.capture.newest = Some(number);
        if !self.capture.watching {
            commit.dropped(DropReason::NoViewer);
            return self.presented(now, number);
        }
        let (input_us, input_host_us) = self.injected.newest();
        let stamp = Stamp {
            commit_us: now,
            captured_us: 0,
            input_us,
            input_host_us,
        };
        match self.frames.pacer.on_commit(now) {
            Verdict::Now => {
                self.drop_waiting();
                self.capture_now(commit, stamp);
            }
            Verdict::Later => {
                self.drop_waiting();
                self.capture.waiting = Some(Waiting {
                    commit,
                    stamp,
                    feedbacks: self.frames.feedback.len(),
                });
            }
        }
    }

    /// A newer commit takes the place of the one that waits.
    fn drop_waiting(&mut self) {
        if let Some(older) = self.capture.waiting.take() {
            older.commit.dropped(DropReason::OverRate);
            for feedback in self.frames.feedback.drain(..older.feedbacks) {
                feedback.discarded();
            }
        }
    }

    /// The turn came for the commit that waits.
    pub(crate) fn capture_waiting(&mut self) {
        if let Some(Waiting { commit, stamp, .. }) = self.capture.waiting.take() {
            self.capture_now(commit, stamp);
        }
    }

    fn capture_now(&mut self, commit: Commit, stamp: Stamp) {
        let number = commit.number();
        self.capture.redraw_due_us = None;
        match self.draw(stamp.commit_us) {
            Ok(picture) => {
                let captured_us = mono_us();
                let stamp = Stamp {
                    captured_us,
                    ..stamp
                };
                self.capture
                    .feed
                    .submit(picture, Origin::Commit(commit), stamp);
                self.presented(captured_us, number);
            }
            Err(error) => {
                tracing::debug!(%error, number, "commit has no picture");
                commit.dropped(error.reason());
                self.discarded();
            }
        }
    }

    fn draw(&mut self, commit_us: u64) -> Result<Picture, DrawError> {
        let direct = self.scene.direct().filter(|surface| !is_on_gpu(surface));
        let has_gpu = self.painter.gpu().is_some();
        let way = Way::choose(self.capture.feed.form(), direct.is_some(), has_gpu);
        self.capture.takes(way);
        if let (Way::Copy, Some(surface)) = (way, direct) {
            let mut canvas = self.capture.pictures.canvas()?;
            draw_direct(&surface, &mut canvas, &mut self.capture.record)?;
            return Ok(canvas.finish(self.capture.pen.as_mut(), commit_us)?);
        }
        let drawn = self.draw_scene(way, commit_us);
        match &drawn {
            Ok(_) => self.painter.drew(Ok(())),
            Err(DrawError::Gpu(error)) => self.painter.drew(Err(error)),
            // Nothing of the painter's.
            Err(_) => {}
        }
        drawn
    }

    fn draw_scene(&mut self, way: Way, commit_us: u64) -> Result<Picture, DrawError> {
        let (scene, capture) = (&self.scene, &mut self.capture);
        let cut = Cut {
            display: (self.size.width, self.size.height),
            scale: capture.pictures.scale(),
        };
        match (&mut self.painter, way) {
            (Painter::Cpu(compositor), _) => {
                let mut canvas = capture.pictures.canvas()?;
                let (pixels, stride) = compositor.draw(scene)?;
                record_frame(&mut capture.record, pixels, stride, stride / 4);
                canvas.draw(pixels, stride, Order::Bgrx)?;
                Ok(canvas.finish(capture.pen.as_mut(), commit_us)?)
            }
            (Painter::Gpu { gpu, .. }, Way::HandOver(modifier)) => {
                let elements = gpu.elements(scene);
                Ok(gpu.paint(&elements, cut, modifier)?)
            }
            (Painter::Gpu { gpu, .. }, Way::Copy | Way::Composite | Way::ReadBack) => {
                let mut canvas = capture.pictures.canvas()?;
                let elements = gpu.elements(scene);
                gpu.read_back(&elements, cut, |pixels, stride| {
                    canvas.draw_scaled(pixels, stride, Order::Rgbx)
                })??;
                Ok(canvas.finish(capture.pen.as_mut(), commit_us)?)
            }
        }
    }
}

/// Whether what a surface shows lies on the GPU.
pub(super) fn is_on_gpu(surface: &WlSurface) -> bool {
    let on_gpu =
        |state: &RendererSurfaceState| state.buffer().is_some_and(|b| get_dmabuf(b).is_ok());
    with_renderer_surface_state(surface, |state| on_gpu(state)).unwrap_or(false)
}

fn draw_direct(
    surface: &WlSurface,
    canvas: &mut Canvas,
    record: &mut Option<(PathBuf, u32)>,
) -> Result<(), DrawError> {
    let buffer = with_renderer_surface_state(surface, |state| state.buffer().cloned())
        .flatten()
        .ok_or(DrawError::NoBuffer)?;
    with_pixels(&buffer, |pixels, layout| {
        let order = match layout.format {
            Format::Abgr8888 | Format::Xbgr8888 => Order::Rgbx,
            // The only other formats that are announced.
            _ => Order::Bgrx,
        };
        let stride = layout.stride.unsigned_abs();
        record_frame(record, pixels, stride, layout.width.unsigned_abs());
        canvas.draw(pixels, stride, order)
    })??;
    Ok(())
}

#[cfg(test)]
mod test;
