//! The way of one picture from what is visible to what the encoder is handed: a pure choice.
//!
//! ```text
//! encoder takes | one surface, in memory | anything else
//! --------------+------------------------+---------------------------------
//! memory        | Copy                   | ReadBack with a GPU, else Composite
//! the GPU's     | HandOver               | HandOver
//! ```
//!
//! A surface in memory is converted straight from there even where there is a GPU: to send it there
//! and back costs more than the conversion.

use crate::encode::form::Form;
use nearlight_protocol::worker::PicturePath;

/// What is done for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Converted from the app's memory, in one pass.
    Copy,
    /// Composited by CPU, then converted.
    Composite,
    /// Drawn on the GPU, read back, then converted.
    ReadBack,
    /// Drawn on the GPU, into a buffer laid out by this modifier, which the encoder reads.
    HandOver(u64),
}

impl Way {
    /// The way of a picture. `direct` says that one surface is all of it and lies in memory; `gpu`,
    /// that there is one to draw on.
    pub(crate) fn choose(form: Form, direct: bool, gpu: bool) -> Self {
        match (form, gpu) {
            (Form::Dmabuf { modifier }, true) => Self::HandOver(modifier),
            // Without a GPU no encoder is promised its buffers; the feed refuses what does not fit.
            (Form::Memory, _) | (Form::Dmabuf { .. }, false) if direct => Self::Copy,
            (Form::Memory, true) => Self::ReadBack,
            (Form::Memory | Form::Dmabuf { .. }, false) => Self::Composite,
        }
    }

    /// What others are told of it.
    pub(crate) fn path(self) -> PicturePath {
        match self {
            Self::Copy | Self::Composite => PicturePath::Memory,
            Self::ReadBack => PicturePath::Readback,
            Self::HandOver(_) => PicturePath::ZeroCopy,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_picture_takes_the_cheapest_way_that_there_is() {
        let dmabuf = Form::Dmabuf { modifier: 7 };
        for (form, direct, gpu, way, path) in [
            (Form::Memory, true, false, Way::Copy, PicturePath::Memory),
            (Form::Memory, true, true, Way::Copy, PicturePath::Memory),
            (
                Form::Memory,
                false,
                false,
                Way::Composite,
                PicturePath::Memory,
            ),
            (
                Form::Memory,
                false,
                true,
                Way::ReadBack,
                PicturePath::Readback,
            ),
            (dmabuf, true, true, Way::HandOver(7), PicturePath::ZeroCopy),
            (dmabuf, false, true, Way::HandOver(7), PicturePath::ZeroCopy),
            (dmabuf, true, false, Way::Copy, PicturePath::Memory),
            (dmabuf, false, false, Way::Composite, PicturePath::Memory),
        ] {
            let chosen = Way::choose(form, direct, gpu);
            assert_eq!(
                (chosen, chosen.path()),
                (way, path),
                "{form:?} {direct} {gpu}"
            );
        }
    }
}
