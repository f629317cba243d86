use super::*;
use proptest::prelude::*;

fn video() -> Video {
    Video {
        codec: VideoCodec::VP8,
        key: true,
        frame: 7,
        commit_us: 1,
        captured_us: 2,
        encoded_us: 3,
        input_us: 4,
        input_host_us: 5,
        data: vec![9; 100],
    }
}

#[test]
fn every_message_round_trips() {
    let to = [
        ToWorker::Attach(Attach {
            codec: VideoCodec::H264,
            target: Target::full(8000),
            display: None,
        }),
        ToWorker::Detach,
        ToWorker::Input {
            host_us: 5,
            packet: vec![1, 2, 3],
        },
        ToWorker::KeyFrame,
        ToWorker::Target(Target {
            kbps: 1234,
            scale_percent: 75,
            fps_max: 30,
        }),
        ToWorker::Shutdown,
        ToWorker::Display(DisplayMode {
            width: 1920,
            height: 1080,
            hz: 144,
        }),
        ToWorker::Hold { until_us: 123_456 },
    ];
    for message in to {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        assert_eq!(frame_len(&bytes).unwrap(), Some(bytes.len()));
        assert_eq!(ToWorker::decode(&bytes).unwrap(), message);
    }
    let counters = Counters {
        dropped: [(DropReason::NoViewer, 3)].into(),
        display: Some(DisplayMode::default()),
        encoded_width: 960,
        encoded_height: 540,
        fps_max: 60,
        pictures: PicturePath::ZeroCopy,
        ..Counters::default()
    };
    let from = [
        FromWorker::Ready(Ready {
            width: 2,
            height: 4,
            encoders: vec![(VideoCodec::H264, "x264enc".into())],
        }),
        FromWorker::Video(video()),
        FromWorker::Audio {
            pts_us: 10,
            data: vec![1],
        },
        FromWorker::Notice(b"{}".to_vec()),
        FromWorker::Counters(counters),
        FromWorker::FirstFrame,
        FromWorker::Failed(Failed {
            reason: EndReason::EncoderFailed,
            detail: "no".into(),
        }),
    ];
    for message in from {
        let mut bytes = Vec::new();
        message.encode_into(&mut bytes);
        assert_eq!(FromWorker::decode(&bytes).unwrap(), message);
    }
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = frame_len(&bytes);
        let _ = ToWorker::decode(&bytes);
        let _ = FromWorker::decode(&bytes);
    }
}
