//! Frames of the worker's socket, both ways: a length never lies, and what is read is written as it
//! was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nearlight_protocol::limits::WORKER_FRAME_BYTES_MAX;
use nearlight_protocol::worker::{FromWorker, ToWorker, frame_len};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(len)) = frame_len(bytes) {
        assert!((5..=WORKER_FRAME_BYTES_MAX + 4).contains(&len));
    }
    if let Ok(message) = ToWorker::decode(bytes) {
        let mut again = Vec::new();
        message.encode_into(&mut again);
        assert_eq!(frame_len(&again), Ok(Some(again.len())));
        assert_eq!(ToWorker::decode(&again), Ok(message));
    }
    if let Ok(message) = FromWorker::decode(bytes) {
        let mut again = Vec::new();
        message.encode_into(&mut again);
        assert_eq!(frame_len(&again), Ok(Some(again.len())));
        assert_eq!(FromWorker::decode(&again), Ok(message));
    }
});
