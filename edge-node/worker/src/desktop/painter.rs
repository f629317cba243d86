//! Who draws the display: the GPU where there is one, else the CPU.
//!
//! ```text
//! Gpu --no buffers for encoders--------> Gpu, read back
//!     --several failures in a row------> Cpu
//! ```
//!
//! Neither way leads back: a lost device costs a session its speed and not its life; what apps drew
//! on it is lost with it.

use super::composite::{CompositeError, Compositor};
use super::gpu::{Gpu, GpuError};
use super::{Desktop, DesktopError, DisplaySize};

/// Pictures in a row that a GPU may fail to draw. One may fail because an app's buffer is odd.
const FAILURES_MAX: u32 = 3;

/// Who draws.
#[derive(Debug)]
pub(crate) enum Painter {
    /// Pixman.
    Cpu(Box<Compositor>),
    /// OpenGL.
    Gpu {
        /// What it draws with.
        gpu: Box<Gpu>,
        /// Pictures in a row that it did not draw.
        failures: u32,
        /// Whether it just had no buffer for an encoder to give.
        frameless: bool,
    },
}

impl Painter {
    pub(crate) fn new(gpu: Option<Gpu>, size: DisplaySize) -> Result<Self, CompositeError> {
        match gpu {
            Some(gpu) => Ok(Self::Gpu {
                gpu: Box::new(gpu),
                failures: 0,
                frameless: false,
            }),
            None => Ok(Self::Cpu(Box::new(Compositor::new(size)?))),
        }
    }

    /// The display has another size.
    pub(crate) fn resize(&mut self, size: DisplaySize) -> Result<(), CompositeError> {
        match self {
            Self::Cpu(compositor) => **compositor = Compositor::new(size)?,
            // It makes what it needs when it draws.
            Self::Gpu { .. } => {}
        }
        Ok(())
    }

    /// The GPU, if that is what draws.
    pub(crate) fn gpu(&mut self) -> Option<&mut Gpu> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu { gpu, .. } => Some(gpu),
        }
    }

    /// A picture was drawn, or not.
    pub(crate) fn drew(&mut self, outcome: Result<(), &GpuError>) {
        let Self::Gpu {
            failures,
            frameless,
            ..
        } = self
        else {
            return;
        };
        match outcome {
            Ok(()) => *failures = 0,
            Err(error) if error.is_exhausted() => {}
            Err(error) if error.is_frameless() => *frameless = true,
            Err(_) => *failures += 1,
        }
    }

    fn take_frameless(&mut self) -> bool {
        match self {
            Self::Cpu(_) => false,
            Self::Gpu { frameless, .. } => std::mem::take(frameless),
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self, Self::Gpu { failures, .. } if *failures >= FAILURES_MAX)
    }
}

impl Desktop {
    /// Goes on by CPU if the GPU is lost, and reads back if it has no buffers for encoders. Returns
    /// whether that was so.
    ///
    /// # Errors
    /// [`DesktopError`] if there is no memory.
    pub fn check_gpu(&mut self) -> Result<bool, DesktopError> {
        if self.painter.take_frameless() {
            tracing::warn!(
                "no buffers on the GPU for encoders: pictures are read back from now on"
            );
            self.capture.forbid_zero_copy();
            self.redraw_soon();
            return Ok(true);
        }
        if !self.painter.is_lost() {
            return Ok(false);
        }
        tracing::error!(
            "the GPU draws no more, the desktop goes on by CPU: look for the driver's words in \
             `dmesg`, and start the game again"
        );
        self.painter = Painter::new(None, self.size)?;
        self.capture.forbid_zero_copy();
        self.redraw_soon();
        Ok(true)
    }
}

#[cfg(test)]
mod test {
    use super::super::gpu::FrameError;
    use super::*;

    #[test]
    fn a_gpu_is_lost_when_it_fails_in_a_row_and_not_before() {
        let gpu = match Gpu::software() {
            Ok(gpu) => gpu,
            Err(error) => panic!("no renderer by CPU (Debian package libegl-mesa0): {error}"),
        };
        let size = DisplaySize {
            width: 64,
            height: 64,
            hz: 60,
        };
        let mut painter = Painter::new(Some(gpu), size).unwrap();
        let failed = GpuError::Draw("gone".to_owned());
        let busy = GpuError::Frame(FrameError::Exhausted);
        let frameless = GpuError::Frame(FrameError::NoAllocator);
        for (outcome, lost) in [
            (Err(&failed), false),
            (Err(&failed), false),
            (Ok(()), false),
            (Err(&failed), false),
            (Err(&busy), false),
            (Err(&failed), false),
            (Err(&frameless), false),
            (Err(&failed), true),
        ] {
            painter.drew(outcome);
            assert_eq!(painter.is_lost(), lost, "{outcome:?}");
        }
        assert!(painter.take_frameless() && !painter.take_frameless());
        let mut cpu = Painter::new(None, size).unwrap();
        cpu.drew(Err(&failed));
        assert!(!cpu.is_lost() && cpu.gpu().is_none());
    }
}
