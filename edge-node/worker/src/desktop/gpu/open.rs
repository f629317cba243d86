#![allow(
    unsafe_code,
    reason = "EGL's displays and contexts are made from raw handles"
)]
//! From a render node to a renderer: EGL on GBM's device, or on EGL's own device of the same node
//! where a driver has no GBM.

use super::Gpu;
use super::draw::Targets;
use smithay::backend::allocator::gbm::{GbmAllocator, GbmBufferFlags, GbmDevice};
use smithay::backend::drm::DrmNode;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay, Error as EglError};
use smithay::backend::renderer::gles::{GlesError, GlesRenderer, ffi};
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// How Mesa's renderers by CPU name themselves.
const BY_CPU: [&str; 3] = ["llvmpipe", "softpipe", "swrast"];

/// Why there is no GPU.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is not there, or not for us.
    #[error("the render node cannot be opened: {0}")]
    Node(#[from] io::Error),
    /// No EGL library, or one that panics us.
    #[error("EGL does not load: libEGL.so.1 is missing or broken")]
    NoEgl,
    /// EGL has no device or no context.
    #[error("EGL does not start: {0}")]
    Egl(#[from] EglError),
    /// No driver of the node's.
    #[error("EGL knows no device of this node")]
    NoDevice,
    /// OpenGL does not start.
    #[error("OpenGL ES does not start: {0}")]
    Gles(#[from] GlesError),
    /// A renderer by CPU is slower than compositing without one.
    #[error("the renderer is {0}, which draws by CPU")]
    Software(String),
}

impl OpenError {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Node(_) => {
                "The render node must belong to a group other than root's, which the edge node \
                 gives its workers; Debian's udev uses `render`."
            }
            Self::NoEgl => {
                "Install libegl1 and the driver's EGL library (Debian: libnvidia-egl-gbm1 and \
                 nvidia-egl-icd, or libegl-mesa0)."
            }
            Self::Egl(_) | Self::NoDevice | Self::Gles(_) | Self::Software(_) => {
                "The driver's graphics libraries of its own version are missing (NVIDIA in a \
                 container: NVIDIA_DRIVER_CAPABILITIES must have `graphics`; for GBM, \
                 nvidia-drm_gbm.so must be in the gbm folder of the libraries)."
            }
        }
    }
}

pub(super) fn node(path: &Path) -> Result<Gpu, OpenError> {
    let file = Arc::new(OpenOptions::new().read(true).write(true).open(path)?);
    let device = file.metadata()?.rdev();
    let by_gbm = guarded(|| {
        let (display, allocator) = on_gbm(&file)?;
        hardware(on(display, Some(allocator), Some((&file, device)))?)
    });
    let Err(error) = by_gbm else { return by_gbm };
    // Without GBM apps' buffers can be drawn and read back, and none can be handed to an encoder.
    let by_device = guarded(|| {
        let display = on_device(|d| is_of(d, device))?;
        hardware(on(display, None, Some((&file, device)))?)
    });
    match by_device {
        Ok(gpu) => {
            tracing::warn!(%error, "no renderer on GBM: pictures are read back for encoders");
            Ok(gpu)
        }
        Err(_) => Err(error),
    }
}

fn hardware(gpu: Gpu) -> Result<Gpu, OpenError> {
    let lower = gpu.name.to_ascii_lowercase();
    if BY_CPU.iter().any(|name| lower.contains(name)) {
        return Err(OpenError::Software(gpu.name));
    }
    Ok(gpu)
}

pub(super) fn software() -> Result<Gpu, OpenError> {
    guarded(|| {
        let display = on_device(EGLDevice::is_software)?;
        on(display, None, None)
    })
}

/// smithay panics where the library is missing, and drivers are full of surprises.
fn guarded<T>(open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(OpenError::NoEgl))
}

fn on_gbm(file: &Arc<File>) -> Result<(EGLDisplay, GbmAllocator<Arc<File>>), OpenError> {
    // One for EGL to keep, one to allocate from; both are of the same node.
    let (for_egl, for_us) = (GbmDevice::new(file.clone())?, GbmDevice::new(file.clone())?);
    // SAFETY: the display keeps the GBM device that it is made on, which is open.
    let display = unsafe { EGLDisplay::new(for_egl) }?;
    let allocator = GbmAllocator::new(for_us, GbmBufferFlags::RENDERING);
    Ok((display, allocator))
}

fn on_device(wanted: impl Fn(&EGLDevice) -> bool) -> Result<EGLDisplay, OpenError> {
    let mut devices = EGLDevice::enumerate()?;
    let device = devices.find(wanted).ok_or(OpenError::NoDevice)?;
    // SAFETY: EGL's devices live as long as the process.
    Ok(unsafe { EGLDisplay::new(device) }?)
}

fn is_of(device: &EGLDevice, node: u64) -> bool {
    let found = device.try_get_render_node().ok().flatten();
    found.is_some_and(|found: DrmNode| found.dev_id() == node)
}

fn on(
    display: EGLDisplay,
    allocator: Option<GbmAllocator<Arc<File>>>,
    node: Option<(&Arc<File>, u64)>,
) -> Result<Gpu, OpenError> {
    let context = EGLContext::new(&display)?;
    // SAFETY: the context is new, on no other thread, and goes into the renderer.
    let mut renderer = unsafe { GlesRenderer::new(context) }?;
    let name = name(&mut renderer)?;
    Ok(Gpu {
        targets: Targets::default(),
        frames: None,
        renderer,
        allocator,
        node: node.map(|(file, _)| Arc::clone(file)),
        name,
        device: node.map_or(0, |(_, device)| device),
    })
}

fn name(renderer: &mut GlesRenderer) -> Result<String, GlesError> {
    renderer.with_context(|gl| {
        // SAFETY: the context is current while this closure runs.
        let name = unsafe { gl.GetString(ffi::RENDERER) };
        if name.is_null() {
            return "a renderer without a name".to_owned();
        }
        // SAFETY: OpenGL's strings end with a zero and live as long as the context.
        let name = unsafe { CStr::from_ptr(name.cast()) };
        name.to_string_lossy().into_owned()
    })
}
