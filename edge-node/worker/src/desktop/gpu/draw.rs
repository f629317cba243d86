#![allow(
    unsafe_code,
    reason = "waiting for the GPU is a call of OpenGL, which is unsafe as a whole"
)]
//! Drawing on the GPU, and making it smaller there: the whole display is drawn, then halved or cut
//! to three quarters by the sampler's own averages. A quarter is half of a half, for one step would
//! skip every other pixel.

use super::GpuError;
use crate::encode::scale::Scale;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::element::RenderElement;
use smithay::backend::renderer::gles::{GlesError, GlesRenderer, GlesTarget, GlesTexture};
use smithay::backend::renderer::{Bind, Blit, Offscreen, TextureFilter};
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};

/// What is cut from the display: all of it, at which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The display, pixels.
    pub(crate) display: (u32, u32),
    /// How much smaller the picture is.
    pub(crate) scale: Scale,
}

impl Cut {
    /// The picture's size.
    pub(crate) fn size(self) -> (u32, u32) {
        self.scale.size(self.display)
    }
}

/// What is drawn on before it is scaled or read back; kept for the next picture of the same cut.
#[derive(Debug, Default)]
pub(super) struct Targets {
    cut: Option<Cut>,
    whole: Option<GlesTexture>,
    half: Option<GlesTexture>,
    out: Option<GlesTexture>,
}

impl Targets {
    /// The texture that the last picture of this cut was read back from.
    pub(super) fn take_out(&mut self, cut: Cut) -> Option<GlesTexture> {
        self.fit(cut);
        self.out.take()
    }

    /// Keeps it for the next one.
    pub(super) fn give_out(&mut self, out: GlesTexture) {
        self.out = Some(out);
    }

    fn fit(&mut self, cut: Cut) {
        if self.cut != Some(cut) {
            *self = Self {
                cut: Some(cut),
                ..Self::default()
            };
        }
    }

    /// Draws the elements, scales them, and calls `then` while the result is bound.
    pub(super) fn draw<E: RenderElement<GlesRenderer>, T, O>(
        &mut self,
        renderer: &mut GlesRenderer,
        elements: &[E],
        cut: Cut,
        out: &mut O,
        then: impl FnOnce(&mut GlesRenderer, &GlesTarget<'_>) -> Result<T, GlesError>,
    ) -> Result<T, GpuError>
    where
        GlesRenderer: Bind<O>,
    {
        self.fit(cut);
        if cut.scale == Scale::Whole {
            let mut target = renderer.bind(out)?;
            composite(renderer, elements, cut.display, &mut target)?;
            return Ok(then(renderer, &target)?);
        }
        let whole = texture(renderer, &mut self.whole, cut.display)?;
        let mut whole = Bind::<GlesTexture>::bind(renderer, whole)?;
        composite(renderer, elements, cut.display, &mut whole)?;
        let mut out = renderer.bind(out)?;
        let (width, height) = cut.size();
        match cut.scale {
            Scale::Quarter => {
                let halved = (width * 2, height * 2);
                let half = texture(renderer, &mut self.half, halved)?;
                let mut half = Bind::<GlesTexture>::bind(renderer, half)?;
                shrink(
                    renderer,
                    (&whole, (width * 4, height * 4)),
                    (&mut half, halved),
                )?;
                shrink(renderer, (&half, halved), (&mut out, cut.size()))?;
            }
            // Exactly two by two for each pixel, whatever an odd display has beyond.
            Scale::Half => shrink(
                renderer,
                (&whole, (width * 2, height * 2)),
                (&mut out, cut.size()),
            )?,
            Scale::ThreeQuarters | Scale::Whole => {
                shrink(renderer, (&whole, cut.display), (&mut out, cut.size()))?;
            }
        }
        Ok(then(renderer, &out)?)
    }
}

/// Waits until everything is drawn. Encoders on other engines of the GPU know nothing of OpenGL's
/// order, and NVIDIA's driver attaches no fence to buffers.
pub(super) fn finish(renderer: &mut GlesRenderer) -> Result<(), GlesError> {
    renderer.with_context(|gl| {
        // SAFETY: the context is current while this closure runs; the call takes and changes
        // nothing.
        unsafe { gl.Finish() }
    })
}

/// A texture's size, as smithay counts.
pub(super) fn buffer_size((width, height): (u32, u32)) -> Size<i32, Buffer> {
    (width as i32, height as i32).into()
}

fn texture<'a>(
    renderer: &mut GlesRenderer,
    kept: &'a mut Option<GlesTexture>,
    size: (u32, u32),
) -> Result<&'a mut GlesTexture, GlesError> {
    let texture = match kept.take() {
        Some(texture) => texture,
        None => renderer.create_buffer(Fourcc::Abgr8888, buffer_size(size))?,
    };
    Ok(kept.insert(texture))
}

fn composite<E: RenderElement<GlesRenderer>>(
    renderer: &mut GlesRenderer,
    elements: &[E],
    (width, height): (u32, u32),
    target: &mut GlesTarget<'_>,
) -> Result<(), GpuError> {
    // All of it, each time: a GPU draws a display in less time than it takes to say what changed.
    const ALL: usize = 0;
    let size: Size<i32, Physical> = (width as i32, height as i32).into();
    let mut damage = OutputDamageTracker::new(size, 1.0, Transform::Normal);
    damage
        .render_output(
            renderer,
            target,
            ALL,
            elements,
            crate::desktop::composite::BLACK,
        )
        .map_err(|e| GpuError::Draw(e.to_string()))?;
    Ok(())
}

fn shrink(
    renderer: &mut GlesRenderer,
    (from, from_size): (&GlesTarget<'_>, (u32, u32)),
    (to, to_size): (&mut GlesTarget<'_>, (u32, u32)),
) -> Result<(), GlesError> {
    let all = |(w, h): (u32, u32)| Rectangle::from_size((w as i32, h as i32).into());
    renderer.blit(
        from,
        to,
        all(from_size),
        all(to_size),
        TextureFilter::Linear,
    )
}
