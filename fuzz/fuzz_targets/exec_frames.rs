//! Frames of a command, of a caller or a node: what is taken is written as it was read, however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::inside::{CreateExec, FRAME_BYTES_MAX, Frame, Joined};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::parse(bytes) {
        assert_eq!(frame.to_message(), bytes);
    }
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let (mut whole, mut pieces) = (Joined::default(), Joined::default());
    whole.push(bytes);
    let mut came = Vec::new();
    for piece in bytes.chunks(usize::from(*cut).max(1)) {
        pieces.push(piece);
        while let Ok(Some(message)) = pieces.next_message() {
            assert!((1..=FRAME_BYTES_MAX).contains(&message.len()));
            came.push(message.to_vec());
        }
    }
    let mut came = came.into_iter();
    while let Ok(Some(message)) = whole.next_message() {
        assert_eq!(came.next().as_deref(), Some(message));
    }
    assert_eq!(came.next(), None);
    if let Ok(order) = serde_json::from_slice::<CreateExec>(bytes)
        && order.fault().is_none()
    {
        assert!(!order.command.is_empty());
    }
});
