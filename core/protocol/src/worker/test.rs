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
            session: Some("ses_01kb3x9ktv7q2m5d8r4w6y0zab".parse().unwrap()),
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

#[test]
fn only_pictures_are_longer_than_a_notice() {
    let head = |len: u32, kind: u8| [&len.to_le_bytes()[..], &[kind]].concat();
    let long = 1 + u32::try_from(NOTICE_BYTES_MAX).unwrap();
    let longest = u32::try_from(WORKER_FRAME_BYTES_MAX).unwrap();
    for kind in [0x03, 0x81, 0x83, 0x84, 0x85, 0x87, 0xff] {
        let whole = Ok(Some(4 + long as usize));
        assert_eq!(frame_len(&head(long, kind)), whole);
        for len in [long + 1, longest] {
            assert_eq!(frame_len(&head(len, kind)), Err(FrameError::Length(len)));
        }
    }
    assert_eq!(
        frame_len(&head(longest, 0x82)),
        Ok(Some(4 + longest as usize))
    );
    assert_eq!(
        frame_len(&head(longest + 1, 0x82)),
        Err(FrameError::Length(longest + 1))
    );
    // Of a long one the kind has to be there, too.
    assert_eq!(frame_len(&head(long + 1, 0x82)[..4]), Ok(None));
    assert_eq!(frame_len(&head(9, 0x82)[..4]), Ok(Some(13)));
}

proptest! {
    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = frame_len(&bytes);
        let _ = ToWorker::decode(&bytes);
        let _ = FromWorker::decode(&bytes);
    }
}
