//! Who draws the display: the GPU where there is one, else the CPU. A GPU that fails several times
//! in a row is given up for good, so that a lost device costs a session its speed and not its life;
//! what apps drew on that GPU is lost with it.

use super::composite::{CompositeError, Compositor};
use super::gpu::Gpu;
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
    },
}

impl Painter {
    pub(crate) fn new(gpu: Option<Gpu>, size: DisplaySize) -> Result<Self, CompositeError> {
        match gpu {
            Some(gpu) => Ok(Self::Gpu {
                gpu: Box::new(gpu),
                failures: 0,
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
    pub(crate) fn drew(&mut self, works: bool) {
        if let Self::Gpu { failures, .. } = self {
            *failures = if works { 0 } else { *failures + 1 };
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self, Self::Gpu { failures, .. } if *failures >= FAILURES_MAX)
    }
}

impl Desktop {
    /// Goes on by CPU if the GPU is lost. Returns whether it was.
    ///
    /// # Errors
    /// [`DesktopError`] if there is no memory, or no encoder for pictures from there.
    pub fn check_gpu(&mut self) -> Result<bool, DesktopError> {
        if !self.painter.is_lost() {
            return Ok(false);
        }
        tracing::error!(
            "the GPU draws no more, the desktop goes on by CPU: look for the driver's words in \
             `dmesg`, and start the game again"
        );
        self.painter = Painter::new(None, self.size)?;
        self.capture.forbid_zero_copy()?;
        self.redraw_soon();
        Ok(true)
    }
}

#[cfg(test)]
mod test {
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
        for (works, lost) in [
            (false, false),
            (false, false),
            (true, false),
            (false, false),
            (false, false),
            (false, true),
        ] {
            painter.drew(works);
            assert_eq!(painter.is_lost(), lost);
        }
        let mut cpu = Painter::new(None, size).unwrap();
        cpu.drew(false);
        assert!(!cpu.is_lost() && cpu.gpu().is_none());
    }
}
