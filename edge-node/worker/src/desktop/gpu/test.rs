//! What a GPU would do, by Mesa's renderer by CPU, through the code that sessions use.

use super::trial::{self, SOFTWARE};
use super::*;
use crate::encode::scale::Scale;
use smithay::backend::renderer::Color32F;
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::solid::{SolidColorBuffer, SolidColorRenderElement};

const DISPLAY: (u32, u32) = (400, 300);

fn software() -> Gpu {
    Gpu::software().expect("Mesa's renderer by CPU (Debian package libegl-mesa0)")
}

/// A red cell of 8 x 8 pixels at the top left, on black.
fn cell() -> [SolidColorRenderElement; 1] {
    let red = Color32F::new(1.0, 0.0, 0.0, 1.0);
    let buffer = SolidColorBuffer::new((8, 8), red);
    let at = (0, 0);
    [SolidColorRenderElement::from_buffer(
        &buffer,
        at,
        1.0,
        1.0,
        Kind::Unspecified,
    )]
}

#[test]
fn pictures_are_the_right_way_up_and_averaged_when_they_are_smaller() {
    let mut gpu = software();
    for scale in [
        Scale::Whole,
        Scale::Half,
        Scale::Quarter,
        Scale::ThreeQuarters,
        Scale::Whole,
    ] {
        let cut = Cut {
            display: DISPLAY,
            scale,
        };
        let (width, height) = cut.size();
        let rows = gpu
            .read_back(&cell(), cut, |pixels, stride| {
                assert_eq!(stride, width * 4);
                assert_eq!(pixels.len(), (stride * height) as usize);
                pixels.to_vec()
            })
            .unwrap();
        let side = 8 * width / DISPLAY.0;
        for y in 0..height {
            for x in 0..width {
                let pixel = &rows[((y * width + x) * 4) as usize..][..3];
                let expected = [if x < side && y < side { 255 } else { 0 }, 0, 0];
                assert_eq!(pixel, expected, "{scale:?} at {x} {y}");
            }
        }
    }
}

#[test]
fn a_single_bright_pixel_counts_a_quarter_or_a_sixteenth() {
    let mut gpu = software();
    let white = Color32F::new(1.0, 1.0, 1.0, 1.0);
    let buffer = SolidColorBuffer::new((1, 1), white);
    let dot = SolidColorRenderElement::from_buffer(&buffer, (1, 1), 1.0, 1.0, Kind::Unspecified);
    for (scale, expected) in [(Scale::Whole, 0), (Scale::Half, 64), (Scale::Quarter, 16)] {
        let cut = Cut {
            display: DISPLAY,
            scale,
        };
        let dot = std::slice::from_ref(&dot);
        let first = gpu.read_back(dot, cut, |pixels, _| pixels[0]).unwrap();
        assert!(first.abs_diff(expected) <= 1, "{scale:?}: {first}");
    }
}

#[test]
fn a_renderer_by_cpu_is_tried_and_says_what_it_cannot_do() {
    gstreamer::init().unwrap();
    let report = trial::run(Path::new(SOFTWARE));
    assert!(report.compositor.works, "{report:?}");
    assert!(
        report
            .renderer
            .is_some_and(|name| name.contains("llvmpipe"))
    );
    for outcome in [report.dmabuf_import, report.zero_copy] {
        assert!(!outcome.works && outcome.fix.is_some(), "{outcome:?}");
    }
}

#[test]
fn without_gbm_there_is_no_buffer_for_an_encoder() {
    let cut = Cut {
        display: DISPLAY,
        scale: Scale::Whole,
    };
    let error = software().paint(&cell(), cut, 0).unwrap_err();
    assert!(
        matches!(error, GpuError::Frame(FrameError::NoAllocator)),
        "{error}"
    );
    assert!(!error.is_exhausted());
}

#[test]
fn a_node_that_is_none_is_an_error_with_a_fix() {
    for path in ["/nonexistent/renderD128", "/dev/null", "/dev/dri/../null"] {
        let error = Gpu::open(Path::new(path)).unwrap_err();
        assert!(!error.fix().is_empty(), "{path}: {error}");
    }
}
