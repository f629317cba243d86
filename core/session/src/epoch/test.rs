use super::*;
use proptest::prelude::*;

fn slot(n: u64) -> SlotId {
    SlotId::from_parts(n, [0; 10])
}

fn session(n: u64) -> SessionId {
    SessionId::from_parts(n, [0; 10])
}

#[test]
fn a_slot_runs_one_session_after_the_other() {
    let mut journal = EpochJournal::default();
    let admit = |j: &mut EpochJournal, e, s| j.admit(&slot(1), Epoch(e), &session(s));
    let old = Admission::Deny(Denial::EpochOld);
    let busy = Admission::Deny(Denial::SlotBusy);

    assert_eq!(admit(&mut journal, 0, 1), old, "zero is no epoch");
    assert_eq!(admit(&mut journal, 5, 1), Admission::Admit);
    assert_eq!(admit(&mut journal, 5, 1), Admission::Already, "sent again");
    assert_eq!(admit(&mut journal, 5, 2), old, "one epoch, one session");
    assert_eq!(admit(&mut journal, 4, 2), old);
    assert_eq!(admit(&mut journal, 6, 2), busy, "the first still runs");
    assert_eq!(admit(&mut journal, 6, 1), busy, "it keeps its epoch");

    assert!(journal.release(&session(2)).is_none(), "it runs nowhere");
    let left = journal.release(&session(1)).unwrap();
    assert_eq!(left.occupant, Occupant::Left(session(1)));
    assert!(journal.release(&session(1)).is_none(), "once");
    assert_eq!(admit(&mut journal, 5, 1), Admission::Already, "not twice");
    assert_eq!(admit(&mut journal, 6, 2), Admission::Admit);
}

#[test]
fn a_restored_journal_goes_on_where_it_was() {
    let mut journal = EpochJournal::default();
    journal.add_slot(slot(2));
    journal.admit(&slot(1), Epoch(7), &session(1));
    let mut restored = EpochJournal::restore(journal.entries());
    assert_eq!(*restored.occupant(&slot(1)), Occupant::Live(session(1)));
    assert_eq!(*restored.occupant(&slot(2)), Occupant::Vacant);
    assert_eq!(
        restored.admit(&slot(1), Epoch(7), &session(1)),
        Admission::Already
    );
    assert_eq!(
        restored.admit(&slot(1), Epoch(6), &session(2)),
        Admission::Deny(Denial::EpochOld)
    );
}

#[test]
fn of_two_entries_for_a_slot_the_newer_epoch_counts() {
    let entry = |epoch, s| JournalEntry {
        slot: slot(1),
        epoch: Epoch(epoch),
        occupant: Occupant::Live(session(s)),
    };
    let journal = EpochJournal::restore([entry(9, 2), entry(8, 1)]);
    assert_eq!(*journal.occupant(&slot(1)), Occupant::Live(session(2)));
}

#[derive(Clone, Debug)]
enum Op {
    Admit { slot: u64, epoch: u64, session: u64 },
    Release { session: u64 },
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3u64, 0..12u64, 0..6u64)
            .prop_map(|(slot, epoch, session)| Op::Admit { slot, epoch, session }),
        3 => (0..6u64).prop_map(|session| Op::Release { session }),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    /// I2, against a history that only remembers what was admitted and what was released.
    #[test]
    fn i2_an_edge_never_runs_two_epochs_of_a_slot(ops in prop::collection::vec(op(), 0..60)) {
        let mut journal = EpochJournal::default();
        let mut admitted: Vec<(u64, u64, u64)> = Vec::new(); // slot, epoch, session
        let mut live: Vec<(u64, u64)> = Vec::new(); // slot, session
        for op in ops {
            match op {
                Op::Admit { slot: s, epoch, session: who } => {
                    let highest = admitted.iter().filter(|a| a.0 == s).map(|a| a.1).max();
                    match journal.admit(&slot(s), Epoch(epoch), &session(who)) {
                        Admission::Admit => {
                            prop_assert!(epoch > highest.unwrap_or(0), "epochs only rise");
                            prop_assert!(!live.iter().any(|l| l.0 == s), "one at a time");
                            admitted.push((s, epoch, who));
                            live.push((s, who));
                        }
                        Admission::Already => {
                            prop_assert!(admitted.contains(&(s, epoch, who)));
                            prop_assert_eq!(Some(epoch), highest);
                        }
                        Admission::Deny(Denial::SlotBusy) => {
                            prop_assert!(live.iter().any(|l| l.0 == s));
                        }
                        Admission::Deny(Denial::EpochOld) => {
                            prop_assert!(epoch <= highest.unwrap_or(0));
                        }
                    }
                }
                Op::Release { session: who } => {
                    // A session may hold several slots in this test; each release frees one.
                    if let Some(entry) = journal.release(&session(who)) {
                        let at = live.iter().position(|l| slot(l.0) == entry.slot && l.1 == who);
                        prop_assert!(at.is_some());
                        live.remove(at.unwrap_or_default());
                    } else {
                        prop_assert!(!live.iter().any(|l| l.1 == who));
                    }
                }
                Op::Restart => journal = EpochJournal::restore(journal.entries()),
            }
        }
    }
}
