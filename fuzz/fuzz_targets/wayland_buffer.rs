//! Shared-memory buffers as a Wayland client describes them: the rows that are read lie in its pool.
#![no_main]

use layout::Layout;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "a module of the worker, on its own")]
#[path = "../../edge-node/worker/src/desktop/layout.rs"]
mod layout;

#[allow(
    dead_code,
    reason = "a module of the worker, of which two bounds are needed"
)]
#[path = "../../edge-node/worker/src/limits.rs"]
mod limits;

fuzz_target!(|input: (usize, i32, i32, i32, i32)| {
    let (pool_len, offset, width, height, stride) = input;
    let buffer = Layout {
        offset,
        width,
        height,
        stride,
    };
    let refused = layout::is_unfit(width, height, stride);
    let Some(rows) = layout::rows(pool_len, &buffer) else {
        return;
    };
    assert!(rows.start <= rows.end && rows.end <= pool_len);
    let pixel_bytes = 4 * i64::from(width) * i64::from(height);
    assert!(rows.len() as i64 >= pixel_bytes);
    assert!(refused || rows.len() as i64 <= limits::BUFFER_BYTES_MAX);
});
