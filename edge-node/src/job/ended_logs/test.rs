use super::*;
use futures_util::stream;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

fn logs(data: &Path, days: u32, mib: u32) -> EndedLogs {
    EndedLogs::new(data, Bounds { days, mib })
}

fn parts(lines: &[(Source, &str)]) -> Parts {
    let part = |(source, text): &(Source, &str)| (*source, Bytes::copy_from_slice(text.as_bytes()));
    lines.iter().map(part).collect()
}

async fn read(logs: &EndedLogs, session: &SessionId) -> Option<Parts> {
    let mut kept = logs.log_of(session).await.unwrap()?;
    Some(whole(&mut kept).await.unwrap())
}

async fn whole(kept: &mut Kept) -> io::Result<Parts> {
    kept.rewind().await?;
    let mut parts = Parts::new();
    while let Some(part) = kept.part().await? {
        parts.push_back(part);
    }
    Ok(parts)
}

fn aged(logs: &EndedLogs, session: &SessionId, by: Duration) {
    let file = File::options().write(true).open(logs.path(session));
    let at = SystemTime::now() - by;
    file.unwrap().set_modified(at).unwrap();
}

#[tokio::test]
async fn a_log_comes_back_as_it_was_and_a_later_run_of_the_session_has_its_own() {
    let data = tempfile::tempdir().unwrap();
    let logs = logs(data.path(), 1, 1);
    let session = nearlight_kit::ids::session();
    assert_eq!(read(&logs, &session).await, None);
    let first = parts(&[
        (Source::Stdout, "T1 one\n"),
        (Source::Stderr, "T2 two"),
        (Source::Stdout, "T3 \n"),
    ]);
    logs.write(&session, &first).unwrap();
    assert_eq!(read(&logs, &session).await, Some(first));
    let mode = fs::metadata(logs.path(&session)).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600, "it may have printed its secrets");
    logs.write(&session, &parts(&[])).unwrap();
    assert_eq!(
        read(&logs, &session).await,
        Some(parts(&[])),
        "it said nothing"
    );
}

#[tokio::test]
async fn the_oldest_go_first_and_what_goes_is_written_over() {
    let data = tempfile::tempdir().unwrap();
    let logs = logs(data.path(), 3, 1);
    let line = "x".repeat(400 * 1024);
    // In pieces, as the engine cuts them.
    let pieces: Vec<_> = line.as_bytes().chunks(16 * 1024).collect();
    let log: Parts = pieces
        .iter()
        .map(|piece| (Source::Stdout, Bytes::copy_from_slice(piece)))
        .collect();
    let sessions: Vec<_> = (0..3).map(|_| nearlight_kit::ids::session()).collect();
    logs.write(&sessions[0], &log).unwrap();
    aged(&logs, &sessions[0], Duration::from_secs(7200));
    let other_name = data.path().join("still-looked-at");
    fs::hard_link(logs.path(&sessions[0]), &other_name).unwrap();
    logs.write(&sessions[1], &log).unwrap();
    aged(&logs, &sessions[1], Duration::from_secs(3600));
    assert!(read(&logs, &sessions[0]).await.is_some(), "both fit");
    logs.write(&sessions[2], &log).unwrap();
    assert_eq!(read(&logs, &sessions[0]).await, None);
    assert!(read(&logs, &sessions[1]).await.is_some());
    let bytes = fs::read(&other_name).unwrap();
    assert!(!bytes.is_empty() && bytes.iter().all(|byte| *byte == 0));
    aged(&logs, &sessions[1], Duration::from_secs(3 * 24 * 3600 + 60));
    logs.sweep().unwrap();
    assert_eq!(read(&logs, &sessions[1]).await, None, "it is too old");
    assert_eq!(read(&logs, &sessions[2]).await, Some(log));
}

#[tokio::test]
async fn a_draft_goes_at_the_start_and_what_is_no_log_is_none() {
    let data = tempfile::tempdir().unwrap();
    let logs = logs(data.path(), 3, 1);
    logs.remove_drafts().unwrap();
    let session = nearlight_kit::ids::session();
    logs.write(&session, &parts(&[(Source::Stdout, "T a\n")]))
        .unwrap();
    let draft = logs.dir.join(format!(".{session}.log.0123456789abcdef"));
    fs::write(&draft, b"half").unwrap();
    logs.remove_drafts().unwrap();
    assert!(!draft.exists() && logs.path(&session).exists());
    let broken = |bytes: &[u8]| fs::write(logs.path(&session), bytes).unwrap();
    for bytes in [&b""[..], b"some other file, which is long enough"] {
        broken(bytes);
        let mut kept = logs.log_of(&session).await.unwrap().unwrap();
        assert!(whole(&mut kept).await.is_err());
    }
    let zeros = [MAGIC, &[0; 64]].concat();
    let cut = [MAGIC, b"o\0\0\0\x05abc"].concat();
    let long = [MAGIC, b"o\xff\0\0\x05abc"].concat();
    for bytes in [zeros, cut, long] {
        broken(&bytes);
        let mut kept = logs.log_of(&session).await.unwrap().unwrap();
        assert!(whole(&mut kept).await.is_err());
    }
}

/// The engine's word for what it cannot read.
fn failed() -> Error {
    Error::DockerResponseServerError {
        status_code: 500,
        message: "error from daemon in stream: unexpected EOF".to_owned(),
    }
}

#[tokio::test]
async fn an_engine_that_fails_or_hangs_holds_up_no_end_and_what_it_said_is_kept() {
    let data = tempfile::tempdir().unwrap();
    let logs = logs(data.path(), 1, 1);
    let session = nearlight_kit::ids::session();
    let first = || Ok((Source::Stdout, Bytes::from_static(b"T1 one\n")));
    let one = parts(&[(Source::Stdout, "T1 one\n")]);
    let soon = (Duration::from_millis(100), KEEP_WITHIN);
    // It hangs in the middle.
    let hangs = || stream::iter([first()]).chain(stream::pending());
    logs.keep_within(soon, &session, hangs).await;
    assert_eq!(read(&logs, &session).await, Some(one.clone()));
    // It fails before the first word: what was kept before stays.
    let fails = || stream::iter([Err(failed())]);
    logs.keep_within(soon, &session, fails).await;
    assert_eq!(read(&logs, &session).await, Some(one));
    // It fails in the middle, each time earlier.
    let left = AtomicUsize::new(3);
    let damaged = || {
        let said = left.fetch_sub(1, Ordering::Relaxed);
        let parts = std::iter::repeat_with(first).take(said);
        stream::iter(parts.chain([Err(failed())]))
    };
    logs.keep_within((KEEP_PAUSE * 5 / 2, KEEP_WITHIN), &session, damaged)
        .await;
    assert_eq!(read(&logs, &session).await.unwrap().len(), 3, "the most");
    assert!(left.into_inner() < 2, "it is asked again");
    // Others have all the room there is, of an engine that hangs.
    let all = u32::try_from(ENDED_LOGS_GATHERED_MAX).unwrap();
    let room = logs.gathering.clone().acquire_many_owned(all).await;
    let other = nearlight_kit::ids::session();
    let whole = || stream::iter([first()]);
    logs.keep_within(soon, &other, whole).await;
    assert_eq!(read(&logs, &other).await, None);
    drop(room);
    logs.keep_within((READ_WITHIN, KEEP_WITHIN), &other, whole)
        .await;
    assert!(read(&logs, &other).await.is_some());
}

#[test]
fn a_sweep_takes_no_log_that_came_in_the_place_of_an_old_one() {
    let data = tempfile::tempdir().unwrap();
    let logs = logs(data.path(), 1, 64);
    let session = nearlight_kit::ids::session();
    let log = parts(&[(Source::Stdout, "T a\n")]);
    for round in 0..100 {
        logs.write(&session, &log).unwrap();
        aged(&logs, &session, Duration::from_secs(2 * 24 * 3600));
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                both.wait();
                logs.sweep().unwrap();
            });
            both.wait();
            logs.write(&session, &log).unwrap();
        });
        assert!(logs.path(&session).exists(), "in round {round}");
    }
}
