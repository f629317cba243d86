//! Frames of the PulseAudio wire, checked before anything is made of them.
//!
//! A frame is a descriptor of five big-endian words (length, channel, offset in two, flags) and its
//! payload. On channel -1 the payload is a tagstruct, a list of values with a tag each; on another
//! it is samples. The `pulseaudio` crate reads tagstructs but trusts the lengths in them (it would
//! allocate 4 GiB for a cookie that claims so, and multiply a timestamp past 32 bits), so every
//! payload is walked by [`screen`] first.

use crate::limits::{BLOCK_BYTES_MAX, COMMAND_BYTES_MAX};

/// Bytes of a descriptor.
const DESCRIPTOR: usize = 20;
/// The channel of commands.
const COMMANDS: u32 = u32::MAX;
/// Flag bits that announce shared memory, which was never negotiated.
const SHARED_MEMORY: u32 = 0xff00_0000;

/// A whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A command with its number and its sequence number; the payload is a sound tagstruct.
    Command {
        tag: u32,
        seq: u32,
        payload: &'a [u8],
    },
    /// Samples for a stream.
    Block {
        channel: u32,
        seek: Seek,
        offset: i64,
        samples: &'a [u8],
    },
}

/// Where samples go in a stream, relative to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    /// The end of what was written last.
    Write,
    /// The stream's start.
    Start,
    /// What is played next.
    Read,
    /// The end of all that was written.
    End,
}

/// Why bytes are no frame. The client is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes is over the limit")]
    Length(u32),
    #[error("frame flags {0:#x} are not allowed here")]
    Flags(u32),
    #[error("a malformed command")]
    Malformed,
}

/// The frame at the front of `bytes` and its length, once all of it is there.
pub(crate) fn split(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<DESCRIPTOR>() else {
        return Ok(None);
    };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, channel, flags) = (word(0), word(4), word(16));
    let limit = match channel {
        COMMANDS => COMMAND_BYTES_MAX,
        _ => BLOCK_BYTES_MAX,
    };
    if length as usize > limit {
        return Err(FrameError::Length(length));
    }
    if flags & SHARED_MEMORY != 0 {
        return Err(FrameError::Flags(flags));
    }
    let Some(payload) = rest.get(..length as usize) else {
        return Ok(None);
    };
    let frame = if channel == COMMANDS {
        command(payload).ok_or(FrameError::Malformed)?
    } else {
        Frame::Block {
            channel,
            seek: match flags & 0xff {
                0 => Seek::Write,
                1 => Seek::Start,
                2 => Seek::Read,
                3 => Seek::End,
                _ => return Err(FrameError::Flags(flags)),
            },
            offset: (u64::from(word(8)) << 32 | u64::from(word(12))) as i64,
            samples: payload,
        }
    };
    Ok(Some((frame, DESCRIPTOR + length as usize)))
}

fn command(payload: &[u8]) -> Option<Frame<'_>> {
    screen(payload)?;
    let word = |at: usize| {
        let (tag, value) = payload.get(at..at + 5)?.split_first()?;
        (*tag == b'L').then(|| u32::from_be_bytes([value[0], value[1], value[2], value[3]]))
    };
    Some(Frame::Command {
        tag: word(0)?,
        seq: word(5)?,
        payload,
    })
}

/// Whether every value of a tagstruct ends within it and is in range.
fn screen(mut bytes: &[u8]) -> Option<()> {
    while let Some((tag, rest)) = bytes.split_first() {
        let size = match tag {
            // A property list and a format are headed by a tag and made of tagged values.
            b'N' | b'1' | b'0' | b'P' | b'f' => 0,
            b'B' => 1,
            b'L' | b'V' => 4,
            b'a' => 6,
            b'R' | b'r' | b'U' => 8,
            b'T' => {
                let micros = rest.get(4..8)?.first_chunk::<4>()?;
                (u32::from_be_bytes(*micros) < 1_000_000).then_some(8)?
            }
            b't' => rest.iter().position(|byte| *byte == 0)? + 1,
            b'x' => 4 + u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize,
            b'm' => 1 + usize::from(*rest.first()?),
            b'v' => 1 + 4 * usize::from(*rest.first()?),
            _ => return None,
        };
        bytes = rest.get(size..)?;
    }
    Some(())
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;
    use pulseaudio::protocol::{self, AuthParams, Command};
    use std::io::Cursor;

    fn auth() -> Vec<u8> {
        let mut bytes = Vec::new();
        let command = Command::Auth(AuthParams {
            version: 35,
            supports_shm: true,
            supports_memfd: true,
            cookie: vec![7; 256],
        });
        protocol::write_command_message(&mut bytes, 3, &command, 35).unwrap();
        bytes
    }

    #[test]
    fn a_frame_is_split_only_when_whole() {
        let bytes = auth();
        for cut in 0..bytes.len() {
            assert_eq!(split(&bytes[..cut]), Ok(None), "{cut}");
        }
        let (frame, len) = split(&bytes).unwrap().unwrap();
        assert_eq!(len, bytes.len());
        assert!(matches!(frame, Frame::Command { tag: 8, seq: 3, .. }));
    }

    #[test]
    fn lengths_are_refused_before_the_payload_comes() {
        let check = |channel: u32, length: u32, flags: u32, expected: Result<_, _>| {
            let mut head = Vec::new();
            for word in [length, channel, 0, 0, flags] {
                head.extend(word.to_be_bytes());
            }
            assert_eq!(split(&head).map(|frame| frame.is_some()), expected);
        };
        check(COMMANDS, u32::MAX, 0, Err(FrameError::Length(u32::MAX)));
        check(0, u32::MAX, 0, Err(FrameError::Length(u32::MAX)));
        check(0, 64, 0x8000_0000, Err(FrameError::Flags(0x8000_0000)));
        check(0, 0, 9, Err(FrameError::Flags(9)));
        check(COMMANDS, 0, 0, Err(FrameError::Malformed));
        check(0, 0, 3, Ok(true));
    }

    #[test]
    fn claims_that_the_payload_does_not_hold_are_refused() {
        let refused: [&[u8]; 6] = [
            b"x\xff\xff\xff\xff",
            b"tno end",
            b"m\xff",
            b"v\x02\0\0\0\0",
            b"T\0\0\0\0\xff\xff\xff\xff",
            b"?",
        ];
        for payload in refused {
            assert_eq!(screen(payload), None, "{payload:?}");
        }
    }

    proptest! {
        /// Whatever passes [`split`] is read without a panic and without a large allocation.
        #[test]
        fn nothing_that_passes_upsets_the_reader(
            tag in 0u32..110,
            values in proptest::collection::vec(any::<u8>(), 0..200),
            version in 13u16..36,
        ) {
            let mut payload = b"L".to_vec();
            payload.extend(tag.to_be_bytes());
            payload.extend(b"L\0\0\0\0");
            payload.extend(&values);
            if screen(&payload).is_some() {
                let _ = Command::read_tag_prefixed(&mut Cursor::new(&payload), version);
            }
            let _ = split(&values);
        }

        /// Values that are well-formed one by one, in any order.
        #[test]
        fn no_order_of_values_upsets_the_reader(
            tag in 0u32..110,
            values in proptest::collection::vec(value(), 0..40),
            version in 13u16..36,
        ) {
            let mut payload = b"L".to_vec();
            payload.extend(tag.to_be_bytes());
            payload.extend(b"L\0\0\0\0");
            payload.extend(values.concat());
            prop_assert!(screen(&payload).is_some());
            let _ = Command::read_tag_prefixed(&mut Cursor::new(&payload), version);
        }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let tagged = |tag: u8, value: Vec<u8>| [vec![tag], value].concat();
        prop_oneof![
            any::<u32>().prop_map(move |n| tagged(b'L', n.to_be_bytes().to_vec())),
            (0u32..6).prop_map(move |n| tagged(b'L', n.to_be_bytes().to_vec())),
            any::<u8>().prop_map(move |n| tagged(b'B', vec![n])),
            any::<bool>().prop_map(|n| vec![if n { b'1' } else { b'0' }]),
            Just(b"N".to_vec()),
            Just(b"tname\0".to_vec()),
            Just(b"PN".to_vec()),
            Just(b"Ptkey\0L\0\0\0\x02x\0\0\0\x02v\0N".to_vec()),
            Just(b"fB\x01PN".to_vec()),
            Just(b"m\x02\x01\x02".to_vec()),
            Just(b"v\x02\0\x01\0\0\0\x01\0\0".to_vec()),
            Just(b"a\x03\x02\0\0\xbb\x80".to_vec()),
            any::<u64>().prop_map(move |n| tagged(b'U', n.to_be_bytes().to_vec())),
            any::<i64>().prop_map(move |n| tagged(b'r', n.to_be_bytes().to_vec())),
            any::<u32>().prop_map(|secs| {
                [b"T".to_vec(), secs.to_be_bytes().to_vec(), vec![0, 1, 2, 3]].concat()
            }),
        ]
    }
}
