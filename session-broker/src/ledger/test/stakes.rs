//! Accounts: what is debited is credited, whatever comes in whatever order, and nothing moves twice.

use super::*;
use crate::ledger::{
    Amount, DisputeReads, DisputeRow, Folded, Move, OUTSIDE, POOL, RoundOf, SLASHED, StakeReads,
    Transfer,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

fn transfer(id: &str, does: Move, (debit, credit): (&str, &str), amount: Amount) -> Transfer {
    Transfer {
        id: id.to_owned(),
        does,
        debit: debit.to_owned(),
        credit: credit.to_owned(),
        amount,
        receipts: vec![3, 4],
        reason: "late\u{0}".to_owned(),
        at_ms: 5,
        round: Some(RoundOf {
            node: "n".to_owned(),
            round: 7,
            gpu: "cpu".to_owned(),
        }),
    }
}

fn op(transfer: Transfer) -> Op {
    Op::Log {
        change: LogChange::Transfer(Box::new(transfer)),
        audit: None,
    }
}

fn pending(until_ms: u64) -> Move {
    Move::Pending {
        until_ms,
        holds_with: "fail".to_owned(),
    }
}

pub(super) async fn a_transfer_moves_once_and_never_more_than_there_is(place: Place) {
    let store = Store::open(place).await;
    let stake = "operator/host";
    let deposit = || {
        op(transfer(
            "d",
            Move::Posted,
            (OUTSIDE, stake),
            Amount::Micro(1_000),
        ))
    };
    assert_eq!(store.write(deposit()).await, Applied::Done);
    assert_eq!(
        store.write(deposit()).await,
        Applied::Skipped,
        "the same id"
    );
    let slash = || {
        op(transfer(
            "s",
            pending(9),
            (stake, SLASHED),
            Amount::Permille(105),
        ))
    };
    assert_eq!(store.write(slash()).await, Applied::Done);
    let out = |id: &str, micro| {
        op(transfer(
            id,
            Move::Posted,
            (stake, OUTSIDE),
            Amount::Micro(micro),
        ))
    };
    assert_eq!(
        store.write(out("w", 896)).await,
        Applied::QuotaUsedUp,
        "105 are held"
    );
    assert_eq!(
        store.write(out("w", 895)).await,
        Applied::Done,
        "the id was not used up"
    );
    let nothing = op(transfer(
        "n",
        pending(9),
        (stake, SLASHED),
        Amount::Permille(999),
    ));
    assert_eq!(store.write(nothing).await, Applied::Skipped, "of nothing");

    waits_for_disputes(&store).await;
    post_once(&store).await;
    let accounts = store.ledger.accounts().await.unwrap();
    let has = |id: &str| {
        let row = accounts.iter().find(|row| row.id == id).unwrap();
        (row.credits_micro, row.debits_micro, row.held_micro)
    };
    assert_eq!(has(stake), (1_000, 1_000, 0));
    assert_eq!(has(SLASHED), (105, 0, 0));
    assert_eq!(has(OUTSIDE), (895, 1_001, 0));
    let rows = store.ledger.transfers(SLASHED.to_owned(), 9).await.unwrap();
    let kinds: BTreeSet<_> = rows.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["pending", "post"].into());
}

/// While a dispute over its round is open nothing of it is due. Open ones are read page by page, and those over a round the
/// node's first.
async fn waits_for_disputes(store: &Store) {
    let of = RoundOf {
        node: "n".to_owned(),
        round: 7,
        gpu: "cpu".to_owned(),
    };
    let dispute = |place: u64, issuer: &str| DisputeRow {
        place,
        leaf: format!("dispute {place}"),
        issuer: issuer.to_owned(),
        target: 3,
        of: of.clone(),
        claim: "no".to_owned(),
        deadline_s: 50,
        verdict: None,
    };
    let fold = |from, to, disputes, ended| Op::Log {
        change: LogChange::Fold(Box::new(Folded {
            from,
            to,
            disputes,
            ended,
            ..Folded::default()
        })),
        audit: None,
    };
    let begun = vec![dispute(1, "c"), dispute(2, "n"), dispute(4, "n")];
    let begins = fold(0, 5, begun, Vec::new());
    assert_eq!(store.write(begins).await, Applied::Done);
    let ledger = &store.ledger;
    assert!(ledger.due_transfers(9, 9).await.unwrap().is_empty());
    let places = |rows: Vec<DisputeRow>| rows.iter().map(|of| of.place).collect::<Vec<_>>();
    let page = async |after| places(ledger.open_disputes(after, 2).await.unwrap());
    assert_eq!(page((0, 0)).await, [1, 2]);
    assert_eq!(page((50, 2)).await, [4]);
    assert!(page((50, 4)).await.is_empty());
    let over = ledger.disputes_of(of.clone(), 2).await.unwrap();
    assert_eq!(places(over), [2, 4]);
    assert!(ledger.has_disputed("c".to_owned(), 3).await.unwrap());
    assert!(!ledger.has_disputed("c".to_owned(), 4).await.unwrap());
    let ends = fold(5, 6, Vec::new(), vec![(1, 5), (2, 5), (4, 5)]);
    assert_eq!(store.write(ends).await, Applied::Done);
    assert!(page((0, 0)).await.is_empty());
}

/// What is pending is posted or voided, and once.
async fn post_once(store: &Store) {
    let due = store.ledger.due_transfers(9, 9).await.unwrap();
    assert_eq!((due.len(), due[0].amount_micro), (1, 105));
    assert_eq!(
        (due[0].receipts.as_slice(), due[0].holds_with.as_str()),
        (&[3, 4][..], "fail")
    );
    assert!(store.ledger.due_transfers(8, 9).await.unwrap().is_empty());
    let round = due[0].round.clone().unwrap();
    assert_eq!(store.ledger.pending_of(round.clone()).await.unwrap(), due);
    let end = |id: &str, does: Move| op(transfer(id, does, ("x", "y"), Amount::Micro(0)));
    let of = || "s".to_owned();
    assert_eq!(store.write(end("e", Move::Post(of()))).await, Applied::Done);
    assert_eq!(
        store.write(end("v", Move::Void(of()))).await,
        Applied::Skipped,
        "it is ended"
    );
    assert_eq!(
        store.write(end("o", Move::Post("d".to_owned()))).await,
        Applied::Skipped
    );
    let pending = store.ledger.pending_of(round.clone()).await.unwrap();
    assert!(pending.is_empty());
    // What moved is known, until it is given back.
    assert_eq!(store.ledger.moved_of(round.clone()).await.unwrap(), due);
    let back = transfer("back/s", Move::Posted, (OUTSIDE, POOL), Amount::Micro(1));
    assert_eq!(store.write(op(back)).await, Applied::Done);
    assert!(store.ledger.moved_of(round).await.unwrap().is_empty());
}

/// A shadow of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shadow {
    credits: u64,
    debits: u64,
    held: u64,
}

impl Shadow {
    fn free(&self) -> u64 {
        self.credits - self.debits - self.held
    }
}

/// What was moved, by whom to whom, how much, and whether it is held.
type Moved = (String, String, u64, bool);

/// A ledger that is kept by hand.
#[derive(Debug, Default)]
struct Books {
    accounts: BTreeMap<String, Shadow>,
    used: BTreeMap<String, Moved>,
    ended: BTreeSet<String>,
}

impl Books {
    fn of(&mut self, account: &str) -> &mut Shadow {
        self.accounts.entry(account.to_owned()).or_default()
    }

    /// What the ledger has to answer.
    fn take(
        &mut self,
        id: &str,
        does: &Move,
        (debit, credit): (&str, &str),
        micro: u64,
    ) -> Applied {
        if self.used.contains_key(id) {
            return Applied::Skipped;
        }
        let moved = match does {
            Move::Posted | Move::Pending { .. } if debit == credit => return Applied::Skipped,
            Move::Posted | Move::Pending { .. } => {
                let is_held = !matches!(does, Move::Posted);
                if debit != OUTSIDE && self.of(debit).free() < micro {
                    return Applied::QuotaUsedUp;
                }
                match is_held {
                    true => self.of(debit).held += micro,
                    false => {
                        self.of(debit).debits += micro;
                        self.of(credit).credits += micro;
                    }
                }
                (debit.to_owned(), credit.to_owned(), micro, is_held)
            }
            Move::Post(of) | Move::Void(of) => {
                let Some((debit, credit, micro, true)) = self.used.get(of).cloned() else {
                    return Applied::Skipped;
                };
                if !self.ended.insert(of.clone()) {
                    return Applied::Skipped;
                }
                self.of(&debit).held -= micro;
                if matches!(does, Move::Post(_)) {
                    self.of(&debit).debits += micro;
                    self.of(&credit).credits += micro;
                }
                (debit, credit, micro, false)
            }
        };
        self.used.insert(id.to_owned(), moved);
        Applied::Done
    }
}

/// Whatever is asked, in whatever order: debits are credits, held is what is pending, and accounts are those of a
/// ledger that was kept by hand.
pub(super) async fn debits_are_credits_under_every_sequence(place: Place) {
    let store = Store::open(place).await;
    let names = [OUTSIDE, POOL, SLASHED, "operator/a", "checker/b"];
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let accounts = names.map(|name| format!("{name}{seed}"));
        let name = |at: usize| {
            if at == 0 {
                OUTSIDE
            } else {
                accounts[at].as_str()
            }
        };
        let mut books = Books::default();
        for step in 0..120 {
            // Some ids come again.
            let id = format!("{seed}-{}", rng.random_range(0..=step));
            let (debit, credit) = (rng.random_range(0..5), rng.random_range(0..5));
            let micro = rng.random_range(1..50);
            let target = format!("{seed}-{}", rng.random_range(0..=step));
            let does = match rng.random_range(0..6) {
                0..=2 => Move::Posted,
                3 => pending(9),
                4 => Move::Post(target.clone()),
                _ => Move::Void(target.clone()),
            };
            let applied = store
                .write(op(transfer(
                    &id,
                    does.clone(),
                    (name(debit), name(credit)),
                    Amount::Micro(micro),
                )))
                .await;
            let expected = books.take(&id, &does, (name(debit), name(credit)), micro);
            assert_eq!(
                applied, expected,
                "seed {seed}, step {step}: {does:?} as {id}"
            );
        }
        let rows = store.ledger.accounts().await.unwrap();
        let (credits, debits): (u64, u64) = rows.iter().fold((0, 0), |(c, d), row| {
            (c + row.credits_micro, d + row.debits_micro)
        });
        assert_eq!(credits, debits, "seed {seed}");
        for (id, shadow) in books.accounts.iter().filter(|(id, _)| *id != OUTSIDE) {
            let row = rows.iter().find(|row| row.id == *id).unwrap();
            let has = Shadow {
                credits: row.credits_micro,
                debits: row.debits_micro,
                held: row.held_micro,
            };
            assert_eq!(has, *shadow, "seed {seed}: {id}");
        }
    }
}
