use super::super::reading::Process;
use super::*;
use std::sync::Arc;
use tokio::task::JoinSet;

fn board(uuids: &[&str]) -> Board {
    let gpu = |uuid: &&str| Gpu {
        uuid: (*uuid).to_owned(),
        vram_mib: 24_000,
        ..Gpu::default()
    };
    Board::new(uuids.iter().map(gpu).collect())
}

fn names(uuids: &[&str]) -> Vec<String> {
    uuids.iter().map(|uuid| (*uuid).to_owned()).collect()
}

/// A look at one GPU: memory in use, a program on it or not, an XID or none.
fn look(uuid: &str, used_mib: u64, pid: Option<u32>, xid: Option<u64>) -> Look {
    let processes = pid.map(|pid| Process {
        pid,
        used_mib: None,
    });
    let reading = Reading {
        used_mib: Some(used_mib),
        total_mib: Some(24_000),
        processes: Some(processes.into_iter().collect()),
        busy_percent: Some(50),
        ..Reading::default()
    };
    [(uuid.to_owned(), (reading, xid.into_iter().collect()))].into()
}

#[test]
fn a_gpu_is_given_to_one_session_and_refused_where_it_cannot_be() {
    let board = board(&["a", "b"]);
    let session = nearlight_kit::ids::session();
    board.check(&names(&["a", "b"]), 2).unwrap();
    let unnamed = board.check(&[], 1).unwrap_err();
    assert!(matches!(unnamed, NotGiven::Unnamed { named: 0, asked: 1 }));
    let lacks = board.check(&names(&["c"]), 1).unwrap_err();
    assert_eq!(lacks, NotGiven::Lacks("c".to_owned()));
    board.check(&names(&["a", "a"]), 2).unwrap_err();
    board.take(&session, &names(&["a"]));
    let held = board.check(&names(&["a"]), 1).unwrap_err();
    assert!(matches!(held, NotGiven::Held { by, .. } if by == session));
    board.check(&names(&["b"]), 1).unwrap();
    board.look(&look("b", 4, None, Some(48)));
    let sick = board.check(&names(&["b"]), 1).unwrap_err();
    assert!(sick.to_string().contains("XID 48"), "{sick}");
}

#[test]
fn a_sick_gpu_is_told_once_and_ends_the_job_on_it_only_where_it_must() {
    let board = board(&["a", "b"]);
    let both = |a: Option<u64>, b: Option<u64>| {
        let mut both = look("a", 900, Some(7), a);
        both.extend(look("b", 4, None, b));
        both
    };
    let session = nearlight_kit::ids::session();
    board.take(&session, &names(&["a"]));
    assert_eq!(board.look(&both(None, None)), News::default());
    let news = board.look(&both(Some(94), None));
    let offer = news.offer.unwrap();
    assert!(offer[0].sick.contains("XID 94") && offer[1].sick.is_empty());
    assert!(news.lost.is_empty(), "it goes on");
    // Who has a bug of its own harms nobody, and an XID of the hardware is not forgotten.
    assert_eq!(board.look(&both(None, Some(31))), News::default());
    assert_eq!(board.fault_of(&session), None);
    let news = board.look(&both(Some(79), None));
    assert_eq!(news.lost, std::slice::from_ref(&session));
    let why = board.fault_of(&session).unwrap();
    assert!(why.contains("GPU a: XID 79"), "{why}");
}

#[test]
fn a_driver_that_hangs_keeps_jobs_away_and_ends_none() {
    let board = board(&["a"]);
    let session = nearlight_kit::ids::session();
    board.take(&session, &names(&["a"]));
    board.look(&look("a", 900, Some(7), None));
    let news = board.look(&Look::new());
    assert!(news.offer.unwrap()[0].sick.contains("does not answer"));
    assert!(news.lost.is_empty() && board.fault_of(&session).is_none());
    let news = board.look(&look("a", 900, Some(7), None));
    assert_eq!(news.offer.unwrap()[0].sick, "");
}

#[tokio::test]
async fn a_gpu_comes_back_once_its_memory_is_and_what_was_used_is_told() {
    let board = Arc::new(board(&["a"]));
    let session = nearlight_kit::ids::session();
    board.look(&look("a", 240, None, None));
    board.take(&session, &names(&["a"]));
    board.look(&look("a", 9_000, Some(7), None));
    board.look(&look("a", 8_000, Some(7), None));
    let (own, id) = (board.clone(), session.clone());
    let mut back = JoinSet::new();
    back.spawn(async move { own.give_back(&id, Duration::from_secs(600)).await });
    while !board.is_waited_for() {
        tokio::task::yield_now().await;
    }
    // That look may have begun while the job still ran.
    assert_eq!(board.look(&look("a", 250, None, None)), News::default());
    assert!(board.is_waited_for());
    // The container is gone, its memory not yet: the broker hears nothing of that, and nobody gets it.
    assert_eq!(board.look(&look("a", 8_000, None, None)), News::default());
    board.check(&names(&["a"]), 1).unwrap_err();
    assert!(board.is_waited_for() && back.try_join_next().is_none());
    board.look(&look("a", 250, None, None));
    let used = back.join_next().await.unwrap().unwrap();
    // Of 240 MiB was known that no program has them.
    let facts = UsageFacts {
        gpu_mem_mib_peak: Some(8_760),
        gpu_mem_mib_mean: Some(8_260),
        gpu_busy_percent_mean: Some(50),
        ..UsageFacts::default()
    };
    assert_eq!(Used::facts(&used), facts);
    board.check(&names(&["a"]), 1).unwrap();
    assert!(board.give_back(&session, Duration::ZERO).await.is_empty());
}

#[tokio::test]
async fn a_gpu_whose_memory_does_not_come_back_is_held_back_until_it_does() {
    let board = board(&["a"]);
    let session = nearlight_kit::ids::session();
    board.look(&look("a", 240, None, None));
    board.take(&session, &names(&["a"]));
    board.look(&look("a", 9_000, Some(7), None));
    // Nobody looks any more, as where the driver hangs: the wait has an end all the same.
    board.give_back(&session, Duration::ZERO).await;
    let news = board.look(&look("a", 5_000, None, None));
    let sick = news.offer.unwrap()[0].sick.clone();
    assert!(sick.contains("5000 MiB"), "{sick}");
    board.check(&names(&["a"]), 1).unwrap_err();
    let news = board.look(&look("a", 245, None, None));
    assert_eq!(news.offer.unwrap()[0].sick, "");
    board.check(&names(&["a"]), 1).unwrap();
    // A program of the host's, beside every job.
    let news = board.look(&look("a", 700, Some(9), None));
    assert!(news.offer.unwrap()[0].sick.contains("process 9"));
}

#[test]
fn memory_is_what_programs_have_and_what_no_driver_tells_is_not_made_up() {
    let programs = |all: &[Option<u64>]| {
        let program = |used_mib: &Option<u64>| Process {
            pid: 7,
            used_mib: *used_mib,
        };
        Some(all.iter().map(program).collect::<Vec<_>>())
    };
    for (processes, used_mib, before_mib, expected) in [
        (
            programs(&[Some(100), Some(200)]),
            Some(900),
            Some(240),
            Some(300),
        ),
        (
            programs(&[Some(100), None]),
            Some(900),
            Some(240),
            Some(660),
        ),
        (programs(&[]), Some(900), Some(240), Some(660)),
        (None, Some(900), None, Some(900)),
        (None, Some(200), Some(240), Some(0)),
        (programs(&[None]), None, Some(240), None),
        (None, None, None, None),
    ] {
        let reading = Reading {
            processes,
            used_mib,
            ..Reading::default()
        };
        let found = memory(&reading, before_mib);
        assert_eq!(found, expected, "{reading:?}");
    }
    let used = |mib: Option<u64>, busy_percent| {
        let mut used = Used::default();
        let reading = Reading {
            used_mib: mib,
            busy_percent,
            ..Reading::default()
        };
        used.add(&reading, None);
        used
    };
    let facts = |all: &[Used]| {
        let facts = Used::facts(all);
        (
            facts.gpu_mem_mib_peak,
            facts.gpu_mem_mib_mean,
            facts.gpu_busy_percent_mean,
        )
    };
    let (whole, slice) = (used(Some(100), Some(40)), used(Some(50), None));
    assert_eq!(facts(&[]), (None, None, None));
    assert_eq!(facts(&[whole, whole]), (Some(200), Some(200), Some(40)));
    assert_eq!(facts(&[whole, slice]), (Some(150), Some(150), None));
    assert_eq!(facts(&[whole, Used::default()]), (None, None, None));
}

#[test]
fn a_gpu_that_must_be_reset_is_not_well_for_the_next_agent() {
    let data = tempfile::tempdir().unwrap();
    let former = board(&["a", "b"]).keeping(Xids::open(data.path()));
    former.look(&look("a", 0, None, Some(95)));
    let next = board(&["a", "b"]).keeping(Xids::open(data.path()));
    let sick = |gpu: Gpu| !gpu.sick.is_empty();
    assert_eq!(
        next.offer().into_iter().map(sick).collect::<Vec<_>>(),
        [true, false]
    );
    next.check(&names(&["a"]), 1).unwrap_err();
    next.check(&names(&["b"]), 1).unwrap();
}
