//! The picture when more than one surface makes it, by CPU: smithay's pixman renderer, on one image
//! that is kept, so that only what changed is drawn again. [`super::gpu`] does the same on a GPU.

use super::DisplaySize;
use super::pixels::image_pixels;
use super::scene::Scene;
use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::element::AsRenderElements;
use smithay::backend::renderer::element::surface::WaylandSurfaceRenderElement;
use smithay::backend::renderer::pixman::{PixmanError, PixmanRenderer};
use smithay::backend::renderer::{Bind, ImportAll, Offscreen, Renderer};
use smithay::reexports::pixman;
use smithay::utils::{Scale, Transform};

/// Behind everything.
pub(crate) const BLACK: [f32; 4] = [0.0, 0.0, 0.0, 1.0];

/// What a renderer draws of a scene, top to bottom.
pub(crate) type Elements<R> = Vec<WaylandSurfaceRenderElement<R>>;

/// What is visible, ready to be drawn.
pub(crate) fn elements<R>(renderer: &mut R, scene: &Scene) -> Elements<R>
where
    R: Renderer + ImportAll,
    R::TextureId: Clone + 'static,
{
    let mut elements = Vec::new();
    for (window, at) in scene.visible().rev() {
        let at = at.to_physical(1);
        elements.extend(window.render_elements(renderer, at, Scale::from(1.0), 1.0));
    }
    elements
}

/// Why there is no composited picture.
#[derive(Debug, thiserror::Error)]
pub enum CompositeError {
    /// No memory, or a format that pixman does not know.
    #[error(transparent)]
    Renderer(#[from] PixmanError),
    /// A client's buffer could not be read.
    #[error("a surface cannot be drawn: {0}")]
    Draw(String),
}

/// Draws the scene.
#[derive(Debug)]
pub struct Compositor {
    renderer: PixmanRenderer,
    image: pixman::Image<'static, 'static>,
    damage: OutputDamageTracker,
    /// Whether `image` holds the picture that `damage` last drew.
    current: bool,
}

impl Compositor {
    pub(crate) fn new(size: DisplaySize) -> Result<Self, CompositeError> {
        let mut renderer = PixmanRenderer::new()?;
        let image = renderer.create_buffer(Fourcc::Xrgb8888, (size.w(), size.h()).into())?;
        let physical = (size.w(), size.h());
        let damage = OutputDamageTracker::new(physical, 1.0, Transform::Normal);
        Ok(Self {
            renderer,
            image,
            damage,
            current: false,
        })
    }

    /// Draws what changed and returns the whole picture, BGRX, and the bytes between two rows.
    pub(crate) fn draw(&mut self, scene: &Scene) -> Result<(&[u8], u32), CompositeError> {
        let elements = elements(&mut self.renderer, scene);
        let age = usize::from(std::mem::replace(&mut self.current, false));
        let mut target = self.renderer.bind(&mut self.image)?;
        self.damage
            .render_output(&mut self.renderer, &mut target, age, &elements, BLACK)
            .map_err(|e| CompositeError::Draw(e.to_string()))?;
        drop(target);
        self.current = true;
        Ok(image_pixels(&self.image))
    }
}
