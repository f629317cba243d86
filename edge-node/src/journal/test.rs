use super::*;
use nearlight_session::Denial;
use proptest::prelude::*;

fn slot(n: u8) -> SlotId {
    SlotId::from_parts(1, [n; 10])
}

fn session(n: u8) -> SessionId {
    SessionId::from_parts(1, [n; 10])
}

#[derive(Clone, Debug)]
enum Step {
    Admit { slot: u8, epoch: u64, session: u8 },
    Release { session: u8 },
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..3, 0_u64..8, 0_u8..5).prop_map(|(slot, epoch, session)| Step::Admit {
            slot,
            epoch,
            session
        }),
        2 => (0_u8..5).prop_map(|session| Step::Release { session }),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// I2, over crashes: a slot never has two live sessions, and its epoch never falls.
    #[test]
    fn an_edge_never_runs_two_epochs_of_a_slot(steps in proptest::collection::vec(step(), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let slots = [slot(0), slot(1), slot(2)];
        let mut journal = Journal::open(dir.path(), &slots).unwrap();
        let mut highest = [0_u64; 3];
        let mut running: [Option<u8>; 3] = [None; 3];
        for step in steps {
            match step {
                Step::Admit { slot: at, epoch, session: who } => {
                    let admission =
                        journal.admit(&slot(at), Epoch(epoch), &session(who)).unwrap();
                    let at = usize::from(at);
                    match admission {
                        Admission::Admit => {
                            prop_assert!(epoch > highest[at]);
                            prop_assert_eq!(running[at], None);
                            highest[at] = epoch;
                            running[at] = Some(who);
                        }
                        Admission::Already => prop_assert_eq!(epoch, highest[at]),
                        Admission::Deny(Denial::EpochOld) => prop_assert!(epoch <= highest[at]),
                        Admission::Deny(Denial::SlotBusy) => {
                            prop_assert!(running[at].is_some());
                        }
                    }
                }
                Step::Release { session: who } => {
                    journal.release(&session(who)).unwrap();
                    // One slot at a time: the machine releases the first that runs it.
                    if let Some(at) = running.iter().position(|r| *r == Some(who)) {
                        running[at] = None;
                    }
                }
                Step::Crash => journal = Journal::open(dir.path(), &slots).unwrap(),
            }
            let on_disk = Journal::open(dir.path(), &slots).unwrap();
            let entries: Vec<_> = journal.entries().collect();
            prop_assert_eq!(on_disk.entries().collect::<Vec<_>>(), entries);
            prop_assert_eq!(
                journal.live().len(),
                running.iter().filter(|r| r.is_some()).count()
            );
        }
    }
}

#[test]
fn a_write_that_fails_admits_nothing_and_burns_the_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), &[slot(0)]).unwrap();
    // A directory in the file's place: the rename fails, for root too.
    let path = dir.path().join("epochs.json");
    std::fs::create_dir_all(path.join("in-the-way")).unwrap();
    journal.admit(&slot(0), Epoch(1), &session(1)).unwrap_err();
    std::fs::remove_dir_all(&path).unwrap();
    assert!(journal.live().is_empty());
    let again = journal.admit(&slot(0), Epoch(1), &session(2)).unwrap();
    assert_eq!(again, Admission::Deny(Denial::EpochOld));
    let next = journal.admit(&slot(0), Epoch(2), &session(2)).unwrap();
    assert_eq!(next, Admission::Admit);
}

#[test]
fn a_damaged_journal_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("epochs.json"), b"[{\"slot\":").unwrap();
    let error = Journal::open(dir.path(), &[]).unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}
