//! What the log takes of others: a share of bytes for each issuer, and nothing while the disk has no more than a reserve.
//!
//! An entry is in everybody's audit for ever, and names evidence that is kept for months: both count, by the key that signed the
//! entry, when it is handed in. What the log did not take, or had already, costs nothing. The broker's own entries (sessions,
//! verdicts, directories) count nowhere, and have the reserve.
//!
//! **What it does not know:** whose keys are whose, what other brokers of the ledger took.

use super::entry::Entry;
use super::store::Store;
use super::{LogError, Logged, Receipts, blocking};
use crate::ledger::ReceiptQuery;
use crate::rate::RateLimit;
use nearlight_proof::key::KeyId;
use nearlight_proof::receipt::directory::{Directory, Role};
use nearlight_protocol::unit::MonoTime;
use std::sync::{Arc, Mutex, PoisonError};

/// What is counted in.
const UNIT_BYTES: u64 = 1024;
/// Units that an issuer may hand in at once: 1 GiB, or 60 failures of full size, each with its opening.
const BURST: u32 = 1024 * 1024;
/// Units a second that come back: 4.3 GB a day.
const PER_S: u32 = 50;
/// A piece of evidence is no larger, whatever a receipt says of it.
const PIECE_BYTES_MAX: u64 = 64 * 1024;
/// Left for the broker's own entries.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// For how long what was free is believed, microseconds.
const LOOK_EVERY_US: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Shares {
    taken: RateLimit<String>,
    /// When the disk was looked at, and what was free.
    free: Mutex<Option<(MonoTime, u64)>>,
}

/// What an entry takes of its issuer's share.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    issuer: String,
    units: u32,
}

impl Share {
    fn of(entry: &Entry) -> Self {
        let pieces = entry.evidence.iter();
        let pieces = pieces.map(|of| of.bytes.min(PIECE_BYTES_MAX));
        let bytes = entry.bytes.len() as u64 + pieces.sum::<u64>();
        Self {
            issuer: entry.row.issuer.clone(),
            units: u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX),
        }
    }
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            taken: RateLimit::per_second(PER_S, BURST),
            free: Mutex::default(),
        }
    }
}

impl Shares {
    /// Counts an entry that somebody hands in, or says after how many seconds to come back.
    fn take(&self, entry: &Entry, now: MonoTime) -> Result<Share, u32> {
        let share = Share::of(entry);
        let taken = self.taken.take_many(share.issuer.clone(), share.units, now);
        taken.map(|()| share)
    }

    fn give_back(&self, share: &Share) {
        self.taken.give_back(&share.issuer, share.units);
    }

    /// Whether there is more than the reserve.
    pub(super) async fn room(&self, store: &Arc<dyn Store>, now: MonoTime) -> Result<(), LogError> {
        let known = *self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.filter(|(at, _)| now.micros_since(*at) < LOOK_EVERY_US);
        let free = match known {
            Some((_, free)) => free,
            None => {
                let free = blocking(store, |store: &dyn Store| store.free_bytes()).await?;
                *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, free));
                free
            }
        };
        match free > RESERVE_BYTES {
            true => Ok(()),
            false => Err(LogError::Full),
        }
    }
}

impl Receipts {
    /// Appends an entry that somebody hands in, if there is room for it: `Err` inside after how many seconds its issuer has a
    /// share again.
    pub(crate) async fn append_given(
        &self,
        entry: Entry,
        directory: &Directory,
    ) -> Result<Result<Logged, u32>, LogError> {
        let issuer = KeyId::from_hex(entry.issuer());
        let is = |role| issuer.is_some_and(|id| directory.find(&id, role).is_some());
        if is(Role::Broker) || is(Role::Referee) || self.stands(entry.leaf()).await? {
            return self.append(entry).await.map(Ok);
        }
        let now = self.clock.now();
        self.shares.room(&self.store, now).await?;
        let share = match self.shares.take(&entry, now) {
            Ok(share) => share,
            Err(after_s) => return Ok(Err(after_s)),
        };
        let logged = self.append(entry).await;
        // What is late may stand there in a moment.
        let counts = match &logged {
            Ok(logged) => logged.is_new,
            Err(error) => matches!(error, LogError::Late),
        };
        if !counts {
            self.shares.give_back(&share);
        }
        logged.map(Ok)
    }

    async fn stands(&self, leaf: &str) -> Result<bool, LogError> {
        let of = ReceiptQuery {
            about: None,
            leaf: Some(leaf.to_owned()),
            before: None,
            max: 1,
        };
        Ok(!self.ledger.receipts(of).await?.is_empty())
    }
}

#[cfg(test)]
mod test {
    use super::super::store::Object;
    use super::*;
    use crate::ledger::{EvidenceRow, ReceiptRow};
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn entry(issuer: &str, bytes: usize, evidence: &[u64]) -> Entry {
        let piece = |bytes: &u64| EvidenceRow {
            sha256: String::new(),
            bytes: *bytes,
            kept_until_s: 0,
        };
        Entry {
            bytes: vec![0; bytes],
            row: ReceiptRow {
                place: 0,
                leaf: String::new(),
                kind: "porc/v1".to_owned(),
                issuer: issuer.to_owned(),
                about: String::new(),
                issued_at_s: 0,
            },
            evidence: evidence.iter().map(piece).collect(),
        }
    }

    /// A key that is known could fill the disk, and everybody's audits, as fast as the log takes it.
    #[test]
    fn an_issuer_has_a_share_that_comes_back_and_takes_none_of_anothers() {
        let (shares, now) = (Shares::default(), MonoTime(1_000_000));
        let opening = entry("a", 4_000, &[60_000; 290]);
        let taken = (0..1000).take_while(|_| shares.take(&opening, now).is_ok());
        let taken = taken.count();
        assert!((60..64).contains(&taken), "{taken}");
        let later = shares.take(&opening, now).unwrap_err();
        assert!(
            (1..=350).contains(&later),
            "an opening a few minutes: {later}"
        );
        assert!(shares.take(&entry("b", 4_000, &[]), now).is_ok());
        let then = MonoTime(now.0 + u64::from(later) * 1_000_000);
        let share = shares.take(&opening, then).unwrap();
        // What nothing came of may be tried any number of times.
        for _ in 0..1000 {
            assert!(shares.take(&opening, then).is_err());
            shares.give_back(&share);
            assert_eq!(shares.take(&opening, then).as_ref(), Ok(&share));
        }
        // What a receipt only claims counts as what could be put.
        let claims = entry("c", 4_000, &[u64::MAX; 320]);
        assert!(shares.take(&claims, now).is_ok());
    }

    /// A disk with so much room.
    #[derive(Debug)]
    struct Disk(AtomicU64);

    impl Store for Disk {
        fn put(&self, _: &[Object]) -> io::Result<()> {
            Ok(())
        }

        fn get(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn list(&self, _: &str) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn remove(&self, _: &str) -> io::Result<()> {
            Ok(())
        }

        fn free_bytes(&self) -> io::Result<u64> {
            Ok(self.0.load(Ordering::SeqCst))
        }
    }

    #[tokio::test]
    async fn the_last_of_the_disk_is_the_brokers_own() {
        let disk = Arc::new(Disk(AtomicU64::new(RESERVE_BYTES + 1)));
        let (shares, store) = (Shares::default(), disk.clone() as Arc<dyn Store>);
        let at = |seconds: u64| MonoTime(seconds * 1_000_000);
        assert!(shares.room(&store, at(1)).await.is_ok());
        disk.0.store(RESERVE_BYTES, Ordering::SeqCst);
        let full = shares.room(&store, at(3)).await;
        assert!(matches!(full, Err(LogError::Full)), "{full:?}");
        disk.0.store(u64::MAX, Ordering::SeqCst);
        assert!(shares.room(&store, at(5)).await.is_ok());
    }
}
