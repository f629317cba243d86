//! Buffers on the GPU as a Wayland client describes them: what smithay and a driver reckon with those that pass.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "a module of the worker, on its own")]
#[path = "../../edge-node/worker/src/desktop/layout.rs"]
mod layout;

/// As the worker names it.
mod desktop {
    pub(crate) use crate::layout;
}

#[path = "../../edge-node/worker/src/desktop/dmabuf/params.rs"]
mod params;

#[allow(
    dead_code,
    reason = "a module of the worker, of which two bounds are needed"
)]
#[path = "../../edge-node/worker/src/limits.rs"]
mod limits;

/// Planes that smithay takes.
const PLANES_MAX: usize = 4;

fuzz_target!(|input: (Vec<(u32, u32)>, i32, i32)| {
    let (planes, width, height) = input;
    let sides = params::sides_refusal(width, height);
    if let Some(why) = &sides {
        assert!(!why.is_empty());
        return;
    }
    assert!((1..=limits::BUFFER_SIDE_MAX).contains(&width));
    assert!((1..=limits::BUFFER_SIDE_MAX).contains(&height));
    for (offset, stride) in planes.into_iter().take(PLANES_MAX) {
        if params::plane_refusal(offset, stride).is_some() {
            continue;
        }
        // smithay, `create_dmabuf`: the first without a check, the second with one; EGL, `EGLint`.
        let first_row = offset + stride;
        assert!(first_row > offset && first_row <= i32::MAX as u32);
        let end = u64::from(offset) + u64::from(stride) * height as u64;
        assert!(i32::try_from(offset).is_ok() && i32::try_from(stride).is_ok());
        assert!(end >= u64::from(first_row));
    }
});
