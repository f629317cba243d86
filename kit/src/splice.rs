//! Two connections joined, once both have changed their protocol: bytes go through as they come.
//!
//! **Invariants.** It ends when either side breaks off, a while after either side has closed its half,
//! or when it is told to. 32 KiB are held at most.
//!
//! **What it does not know:** what the bytes mean.

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio_util::sync::CancellationToken;

/// From the answer to the changed protocol: the answer has to leave first.
const CHANGED_WITHIN: Duration = Duration::from_secs(10);
/// For the second half to close after the first.
const CLOSED_WITHIN: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 16 * 1024;

/// Joins two connections until they end or `stop`; `seen` counts up with what moves.
///
/// # Errors
/// A side that broke off.
pub async fn splice(
    (one, other): (OnUpgrade, OnUpgrade),
    seen: &AtomicU64,
    stop: CancellationToken,
) -> io::Result<()> {
    let changed = async { tokio::try_join!(one, other).map_err(io::Error::other) };
    let joined = async {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let changed = tokio::time::timeout(CHANGED_WITHIN, changed).await;
        let (one, other) = changed.map_err(late)??;
        join(one, other, seen).await
    };
    tokio::select! {
        joined = joined => joined,
        () = stop.cancelled() => Ok(()),
    }
}

async fn join(one: Upgraded, other: Upgraded, seen: &AtomicU64) -> io::Result<()> {
    let (mut one_reads, mut one_writes) = split(TokioIo::new(one));
    let (mut other_reads, mut other_writes) = split(TokioIo::new(other));
    let there = carry(&mut one_reads, &mut other_writes, seen);
    let back = carry(&mut other_reads, &mut one_writes, seen);
    tokio::pin!(there, back);
    let rest = async {
        tokio::select! {
            done = &mut there => done.map(|()| true),
            done = &mut back => done.map(|()| false),
        }
    };
    let is_there_done = rest.await?;
    // Whoever has closed its half may still be answered.
    let rest = async {
        if is_there_done {
            back.await
        } else {
            there.await
        }
    };
    tokio::time::timeout(CLOSED_WITHIN, rest)
        .await
        .unwrap_or(Ok(()))
}

async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    seen: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        seen.fetch_add(1, Ordering::Relaxed);
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}
