//! A stream that is read in large pieces, whatever its reader asks for.
//!
//! rustls reads four KiB at a time: five system calls for a record of sixteen. Where bodies go through by the
//! gigabyte it is told to read ahead; where a connection is silent for hours it is not, and holds nothing.
//!
//! **What it does not know:** what is read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream with what was read ahead of its reader.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    /// Empty while it does not read ahead.
    buffer: Box<[u8]>,
    /// What of `buffer` is still to be read.
    from: usize,
    to: usize,
}

impl<S> ReadAhead<S> {
    /// `inner` as it is, until it is told to read ahead.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            buffer: Box::default(),
            from: 0,
            to: 0,
        }
    }

    /// Reads up to so many bytes at a time from now on, and holds as many. Once.
    pub fn by(&mut self, bytes: usize) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; bytes].into();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            inner,
            buffer,
            from,
            to,
        } = self.get_mut();
        if from == to {
            if buf.remaining() >= buffer.len() {
                return Pin::new(inner).poll_read(cx, buf);
            }
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(inner).poll_read(cx, &mut read))?;
            (*from, *to) = (0, read.filled().len());
        }
        let part = buf.remaining().min(*to - *from);
        buf.put_slice(&buffer[*from..*from + part]);
        *from += part;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Counts how often it is asked.
    struct Asked<S>(S, usize);

    impl<S: AsyncRead + Unpin> AsyncRead for Asked<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    #[tokio::test]
    async fn small_reads_are_served_from_one_large_one_and_nothing_is_lost() {
        for (ahead, asked) in [(0, 16), (1024, 1)] {
            let (near, mut far) = tokio::io::duplex(4096);
            let sent: Vec<u8> = (0..=255).cycle().take(1024).collect();
            far.write_all(&sent).await.unwrap();
            let mut stream = ReadAhead::new(Asked(near, 0));
            stream.by(ahead);
            let mut read = [0; 1024];
            for piece in read.chunks_mut(64) {
                stream.read_exact(piece).await.unwrap();
            }
            assert_eq!(read[..], sent);
            assert_eq!(stream.inner.1, asked, "ahead by {ahead}");
        }
    }

    #[tokio::test]
    async fn what_was_read_before_it_began_is_followed_by_the_rest_and_the_end() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"one two").await.unwrap();
        drop(far);
        let mut stream = ReadAhead::new(near);
        let mut first = [0; 4];
        stream.read_exact(&mut first).await.unwrap();
        stream.by(32);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&first, rest.as_str()), (b"one ", "two"));
    }
}
