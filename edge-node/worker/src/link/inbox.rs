//! The read half of one connection: bytes in, whole messages out.
//!
//! **Invariant:** holds at most one frame of [`LINK_FRAME_BYTES_MAX`] and one read beyond it.

use crate::limits::LINK_FRAME_BYTES_MAX;
use nearlight_protocol::worker::{FrameError, ToWorker, frame_len};
use std::io::{ErrorKind, Read};

/// Bytes taken from the socket in one round, so that a busy agent leaves the desktop its turn.
const READ_BYTES: usize = 32 * 1024;

/// Why the connection ends.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The agent closed it.
    #[error("the agent closed the connection")]
    Closed,
    /// It broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The agent does not speak the protocol.
    #[error("the agent broke the protocol: {0}")]
    Frame(#[from] FrameError),
}

/// Bytes that are not a whole message yet.
#[derive(Debug, Default)]
pub struct Inbox(Vec<u8>);

impl Inbox {
    /// Reads once and returns the messages that are whole.
    ///
    /// # Errors
    /// [`ReadError`] if the connection is over.
    pub fn read(&mut self, stream: &mut impl Read) -> Result<Vec<ToWorker>, ReadError> {
        let start = self.0.len();
        self.0.resize(start + READ_BYTES, 0);
        let read = stream.read(&mut self.0[start..]);
        self.0.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err(ReadError::Closed),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e.into()),
        }
        self.split()
    }

    fn split(&mut self) -> Result<Vec<ToWorker>, ReadError> {
        let mut messages = Vec::new();
        let mut rest = &self.0[..];
        while let Some(len) = frame_len(rest)? {
            if len > LINK_FRAME_BYTES_MAX {
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                return Err(FrameError::Length(len).into());
            }
            if rest.len() < len {
                break;
            }
            messages.push(ToWorker::decode(&rest[..len])?);
            rest = &rest[len..];
        }
        let used = self.0.len() - rest.len();
        self.0.drain(..used);
        Ok(messages)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let messages = [ToWorker::KeyFrame, ToWorker::Detach, ToWorker::Shutdown];
        let mut bytes = Vec::new();
        for message in &messages {
            message.encode_into(&mut bytes);
        }
        for cut in 1..bytes.len() {
            let mut inbox = Inbox::default();
            let mut got = inbox.read(&mut &bytes[..cut]).unwrap();
            got.extend(inbox.read(&mut &bytes[cut..]).unwrap());
            assert_eq!(got, messages, "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_that_no_agent_sends_ends_the_connection() {
        let huge = u32::try_from(LINK_FRAME_BYTES_MAX).unwrap().to_le_bytes();
        assert!(matches!(
            Inbox::default().read(&mut &[&huge[..], &[1]].concat()[..]),
            Err(ReadError::Frame(_))
        ));
        assert!(matches!(
            Inbox::default().read(&mut &[][..]),
            Err(ReadError::Closed)
        ));
        assert!(matches!(
            Inbox::default().read(&mut &[1, 0, 0, 0, 0x55][..]),
            Err(ReadError::Frame(_))
        ));
    }
}
