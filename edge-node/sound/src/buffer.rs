//! Buffer attributes: what a client asked for, made possible.
//!
//! A field of `u32::MAX` leaves the choice to us. The mix takes 10 ms at a time, so a queue of
//! 20 ms lets a client that is asked at one tick answer before the next.

use crate::limits::BUFFER_BYTES_MAX;
use pulseaudio::protocol::SampleSpec;
use pulseaudio::protocol::stream::BufferAttr;

/// The queue that is kept where the client does not say, and the shortest there is.
const TARGET_US: u64 = 20_000;
/// Where the client does not say either: longest step in which samples are asked for.
const REQUEST_US_MAX: u64 = 20_000;

/// The attributes that a stream really gets, in whole frames, for a playback stream.
pub(crate) fn negotiate(asked: BufferAttr, spec: &SampleSpec) -> BufferAttr {
    let frame = frame_bytes(spec);
    let whole = |bytes: u32| (bytes - bytes % frame).max(frame);
    let shortest = us_to_bytes(TARGET_US, spec);
    let chosen = |field: u32| (field != u32::MAX).then_some(field);

    let max_length = whole(asked.max_length.clamp(2 * shortest, BUFFER_BYTES_MAX));
    let target = chosen(asked.target_length).unwrap_or(shortest);
    let mut target_length = whole(target.clamp(shortest, max_length));
    let default_step = us_to_bytes(REQUEST_US_MAX, spec).min(target_length / 4);
    let step = chosen(asked.minimum_request_length).unwrap_or(default_step);
    let minimum_request_length = whole(step.min(max_length / 2));
    // A client that moves so much at a time must find room for it while as much is queued.
    if target_length < 2 * minimum_request_length {
        target_length = 2 * minimum_request_length;
    }
    let most = target_length - minimum_request_length;
    let pre_buffering = match asked.pre_buffering {
        0 => 0,
        asked => whole(asked.min(most)),
    };
    BufferAttr {
        max_length,
        target_length,
        pre_buffering,
        minimum_request_length,
        fragment_size: u32::MAX,
    }
}

/// Bytes of one sample of every channel.
pub(crate) fn frame_bytes(spec: &SampleSpec) -> u32 {
    (spec.format.bytes_per_sample() as u32 * u32::from(spec.channels)).max(1)
}

/// How long so many bytes play.
pub(crate) fn bytes_to_us(bytes: u64, spec: &SampleSpec) -> u64 {
    let frames = bytes / u64::from(frame_bytes(spec));
    frames * 1_000_000 / u64::from(spec.sample_rate.max(1))
}

/// Bytes that play so long, in whole frames.
pub(crate) fn us_to_bytes(us: u64, spec: &SampleSpec) -> u32 {
    let frames = us * u64::from(spec.sample_rate) / 1_000_000;
    u32::try_from(frames)
        .unwrap_or(u32::MAX)
        .saturating_mul(frame_bytes(spec))
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;
    use pulseaudio::protocol::SampleFormat;

    const SPEC: SampleSpec = SampleSpec {
        format: SampleFormat::S16Le,
        channels: 2,
        sample_rate: 48_000,
    };

    fn lengths(attr: BufferAttr) -> [u32; 4] {
        [
            attr.max_length,
            attr.target_length,
            attr.minimum_request_length,
            attr.pre_buffering,
        ]
    }

    #[test]
    fn who_does_not_choose_gets_20_ms() {
        let given = negotiate(BufferAttr::default(), &SPEC);
        assert_eq!(lengths(given), [BUFFER_BYTES_MAX, 3_840, 960, 2_880]);
    }

    #[test]
    fn who_chooses_gets_it_if_it_can_be() {
        let attr = |target_length, minimum_request_length, pre_buffering| BufferAttr {
            max_length: 100_000,
            target_length,
            minimum_request_length,
            pre_buffering,
            fragment_size: 0,
        };
        let check = |asked, expected| assert_eq!(lengths(negotiate(asked, &SPEC)), expected);
        check(attr(38_400, 4_800, 0), [100_000, 38_400, 4_800, 0]);
        check(attr(1, 1, 1), [100_000, 3_840, 4, 4]);
        // Fragments of 8 KiB, one at a time: two must fit.
        check(
            attr(8_192, 8_192, u32::MAX),
            [100_000, 16_384, 8_192, 8_192],
        );
    }

    proptest! {
        #[test]
        fn any_wish_ends_in_a_buffer_that_works(
            wish in proptest::array::uniform4(any::<u32>()),
            channels in 1u8..9,
            sample_rate in crate::limits::RATE_MIN..=crate::limits::RATE_MAX,
        ) {
            let spec = SampleSpec { format: SampleFormat::Float32Le, channels, sample_rate };
            let asked = BufferAttr {
                max_length: wish[0],
                target_length: wish[1],
                minimum_request_length: wish[2],
                pre_buffering: wish[3],
                fragment_size: 0,
            };
            let [max, target, step, prebuf] = lengths(negotiate(asked, &spec));
            prop_assert!(max <= BUFFER_BYTES_MAX);
            prop_assert!(target <= max && target >= us_to_bytes(20_000, &spec));
            prop_assert!(step > 0 && 2 * step <= target);
            prop_assert!(prebuf <= target - step);
            let frame = frame_bytes(&spec);
            prop_assert!([max, target, step, prebuf].iter().all(|n| n % frame == 0));
        }
    }
}
