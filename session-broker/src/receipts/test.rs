//! The log under crashes, pauses, races and a ledger that lost its last moments. A witness looks at every
//! checkpoint that anybody could see.

use super::edge::Edge;
use super::objects::server::Server;
use super::sequencer::Sequencer;
use super::store::Object;
use super::*;
use crate::ledger::{
    DirectoryKey, Fault, FaultyLedger, LedgerAt, LogChange, LogRow, Member, Op, ReceiptRow,
    SqlLedger, copy_file,
};
use fragile::{Ends, Fragile};
use nearlight_proof::encoding::hex;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::tile;
use nearlight_proof::log::tree::{Hash, LogHasher, extends, leaf, root};
use nearlight_proof::receipt::directory::{Directory as KeyDirectory, Role};
use nearlight_proof::receipt::envelope::Envelope;
use nearlight_proof::receipt::predicate::{Dispute, Predicate};
use nearlight_proof::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use sqlx::Connection;
use std::path::Path;
use std::sync::mpsc as std_mpsc;
use tempfile::TempDir;

mod directory;
mod entries;
mod fragile;

const PATIENCE: Duration = Duration::from_secs(20);

/// A log in a directory, or in a bucket, and what was seen of it.
struct Log {
    dir: TempDir,
    store: Arc<dyn Store>,
    ledger: FaultyLedger,
    shutdown: Shutdown,
    /// Leaves by place, as they were answered.
    answered: Vec<(u64, Hash)>,
    seen: Vec<Published>,
}

impl Log {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Directory::new(dir.path().join("log")));
        Self::on(dir, store).await
    }

    /// In a bucket of a store that lives as long as it is named.
    async fn in_bucket(server: &Server) -> Self {
        let store = Objects::new(&server.settings("log")).unwrap();
        Self::on(tempfile::tempdir().unwrap(), Arc::new(store)).await
    }

    async fn on(dir: TempDir, store: Arc<dyn Store>) -> Self {
        let (ledger, shutdown) = open(&dir.path().join("ledger.sqlite")).await;
        Self {
            dir,
            store,
            ledger,
            shutdown,
            answered: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn tiles(&self) -> std::path::PathBuf {
        self.dir.path().join("log")
    }

    fn replica(&self, store: Arc<Fragile>) -> Replica {
        let (published, shown) = watch::channel(None);
        let ledger: Arc<dyn Ledger> = Arc::new(self.ledger.clone());
        let keys = Arc::new(Keys::of(&[1; 32]));
        let store: Arc<dyn Store> = store;
        let origin = "log.example".to_owned();
        let parts = ((store, ledger), (keys, origin));
        let seen_max: Arc<AtomicU64> = Arc::default();
        Replica {
            seen_max: seen_max.clone(),
            sequencer: Sequencer::new(parts.0, parts.1, Clock::start(), (published, seen_max)),
            shown,
        }
    }

    /// What a standby that lagged has of it.
    async fn go_back_to(&self, row: &LogRow) {
        let back = format!(
            "UPDATE receipt_log SET size = {}, root = '{}'; DELETE FROM receipt WHERE place >= {0}",
            row.size, row.root
        );
        self.change(back).await;
    }

    /// Past the ledger.
    async fn change(&self, sql: String) {
        let file = self.dir.path().join("ledger.sqlite");
        let url = format!("sqlite://{}", file.display());
        let mut beside = sqlx::AnyConnection::connect(&url).await.unwrap();
        let sql = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        sql.execute(&mut beside).await.unwrap();
    }

    fn healthy(&self) -> Replica {
        self.replica(Fragile::new(self.store.clone()))
    }

    /// Notes what a replica answered and showed.
    fn note(&mut self, replica: &Replica, answers: &[Option<(u64, Hash)>]) {
        self.answered.extend(answers.iter().flatten());
        let shown = replica.shown.borrow().clone();
        self.seen.extend(shown.map(|shown| (*shown).clone()));
    }

    /// All that was shown is one history, and all that was answered stands in it, once.
    fn check(&self) {
        let store = &*self.store;
        let mut seen = self.seen.clone();
        seen.sort_by_key(|shown| shown.size);
        for pair in seen.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            let proof = reader::consistency(store, old.size, new.size)
                .unwrap()
                .unwrap();
            let extended =
                extends::<LogHasher>((old.size, &old.root), (new.size, &new.root), &proof);
            assert!(
                extended,
                "{} and {} are not one history",
                old.size, new.size
            );
        }
        let last = seen.last().unwrap();
        let mut places = std::collections::BTreeMap::new();
        for (place, hash) in &self.answered {
            assert!(*place < last.size, "{place} was answered and is not there");
            let entry = reader::entry(store, last.size, *place).unwrap().unwrap();
            assert_eq!(leaf(&entry), *hash, "{place}");
            let before = places.insert(*hash, *place);
            assert!(before.is_none_or(|before| before == *place));
        }
        let edge = Edge::load(last.size, store).unwrap().unwrap();
        assert_eq!(edge.root(), last.root);
    }
}

/// A broker's part of it.
struct Replica {
    sequencer: Sequencer,
    shown: watch::Receiver<Option<Arc<Published>>>,
    seen_max: Arc<AtomicU64>,
}

impl Replica {
    /// What was answered to each.
    async fn append(&mut self, entries: &[Entry]) -> Vec<Option<(u64, Hash)>> {
        let (jobs, answers): (Vec<_>, Vec<_>) = entries
            .iter()
            .map(|entry| {
                let (reply, answer) = oneshot::channel();
                let entry = entry.clone();
                (Job { entry, reply }, answer)
            })
            .unzip();
        self.sequencer.round(jobs).await;
        let mut places = Vec::new();
        for (entry, answer) in entries.iter().zip(answers) {
            let answer = answer.await.unwrap();
            places.push(answer.ok().map(|logged| (logged.place, leaf(&entry.bytes))));
        }
        places
    }
}

async fn open(file: &Path) -> (FaultyLedger, Shutdown) {
    let shutdown = Shutdown::new();
    let me = Member {
        id: "broker".parse().unwrap(),
        address: String::new(),
        jwk: String::new(),
    };
    let at = LedgerAt::File(file.to_owned());
    let ledger = SqlLedger::open(&at, me, Clock::start(), &shutdown).await;
    (FaultyLedger::new(Arc::new(ledger.unwrap())), shutdown)
}

/// Entries of which nobody reads what they say.
fn plain(range: std::ops::Range<u32>) -> Vec<Entry> {
    let entry = |n: u32| {
        let bytes = format!("entry {n}").into_bytes();
        Entry {
            row: ReceiptRow {
                place: 0,
                leaf: hex(&leaf(&bytes)),
                kind: "porc/v1".to_owned(),
                issuer: "0".repeat(64),
                about: "0".repeat(64),
                issued_at_s: 0,
            },
            bytes,
            evidence: Vec::new(),
        }
    };
    range.map(entry).collect()
}

fn dispute(n: u64) -> Statement {
    let node = Keys::of(&[2; 32]).broker.public().id();
    Statement {
        subject: Subject {
            name: "receipt".to_owned(),
            sha256: node,
        },
        head: Head {
            issuer: node,
            issued_at_s: 1_800_000_000,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: Vec::new(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Dispute(Dispute {
            claim: format!("claim {n}"),
            deadline_s: 1_800_000_060,
        }),
    }
}

fn signed(statement: &Statement) -> Vec<u8> {
    let mut envelope: Envelope = statement.envelope().unwrap();
    envelope.sign(&Keys::of(&[2; 32]).broker);
    envelope.to_bytes()
}

/// A process that dies at any of its writes, before or after it: the next one goes on where it was.
#[tokio::test]
async fn a_crash_at_any_write_loses_nothing_and_contradicts_nothing() {
    crash_at_writes(Log::new().await, &[Ends::Before, Ends::After], 1).await;
}

#[tokio::test]
async fn nor_does_one_with_a_log_in_a_bucket() {
    if let Some(server) = Server::start() {
        crash_at_writes(Log::in_bucket(&server).await, &[Ends::After], 3).await;
    }
}

async fn crash_at_writes(mut log: Log, ends: &[Ends], step: usize) {
    let mut next = 0;
    for &ends in ends {
        for write in (0..).step_by(step) {
            let batch = plain(next..next + 150);
            next += 150;
            let store = Fragile::new(log.store.clone());
            let mut replica = log.replica(store.clone());
            replica.sequencer.look().await;
            let writes = store.state.lock().unwrap().writes;
            store.state.lock().unwrap().dies_at = Some((writes + write, ends));
            let answers = replica.append(&batch).await;
            log.note(&replica, &answers);
            let died = store.state.lock().unwrap().dead;
            let mut again = log.healthy();
            again.sequencer.look().await;
            log.note(&again, &[]);
            let answers = again.append(&batch).await;
            assert!(answers.iter().all(Option::is_some), "{ends:?} {write}");
            log.note(&again, &answers);
            log.check();
            if !died {
                assert!(write > 6, "the append writes more than {write} times");
                break;
            }
        }
    }
    assert_eq!(
        log.seen.last().unwrap().size,
        u64::from(next),
        "each entry once"
    );
}

/// A replica stands still at any of its writes while another one goes on, and then goes on as if nothing
/// had been.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_replica_never_forks_the_log() {
    pause_at_writes(Log::new().await, &[Ends::Before, Ends::After], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_with_a_log_in_a_bucket_that_is_paused() {
    if let Some(server) = Server::start() {
        pause_at_writes(Log::in_bucket(&server).await, &[Ends::Before], 3).await;
    }
}

async fn pause_at_writes(mut log: Log, ends: &[Ends], step: usize) {
    let mut next = 0;
    for &ends in ends {
        for write in (0..8).step_by(step) {
            let store = Fragile::new(log.store.clone());
            let (mut paused, mut other) = (log.replica(store.clone()), log.healthy());
            paused.sequencer.look().await;
            let (told, reached) = std_mpsc::channel();
            let (go, wait) = std_mpsc::channel();
            let at = store.state.lock().unwrap().writes + write;
            store.state.lock().unwrap().pauses_at = Some((at, ends, told, wait));
            let (mine, theirs) = (plain(next..next + 70), plain(next + 35..next + 230));
            next += 230;
            let pausing = Shutdown::new().spawn(async move {
                let answers = paused.append(&mine).await;
                (paused, answers)
            });
            tokio::task::spawn_blocking(move || reached.recv_timeout(PATIENCE).unwrap())
                .await
                .unwrap();
            let answers = other.append(&theirs).await;
            assert!(answers.iter().all(Option::is_some), "{ends:?} {write}");
            log.note(&other, &answers);
            go.send(()).unwrap();
            let (paused, answers) = pausing.await.unwrap();
            assert!(answers.iter().all(Option::is_some), "{ends:?} {write}");
            log.note(&paused, &answers);
            other.sequencer.look().await;
            log.note(&other, &[]);
            log.check();
        }
    }
    assert_eq!(
        log.seen.last().unwrap().size,
        u64::from(next),
        "each entry once"
    );
}

/// A swap that failed, and one of which nobody knows.
#[tokio::test]
async fn a_swap_in_doubt_is_looked_up_and_never_guessed() {
    let mut log = Log::new().await;
    let mut replica = log.healthy();
    replica.sequencer.look().await;
    for (n, fault) in [Fault::Fails, Fault::FailsButApplied]
        .into_iter()
        .enumerate()
    {
        let first = n as u32 * 10;
        log.ledger.arm_log(fault);
        let answers = replica.append(&plain(first..first + 10)).await;
        let places: Vec<_> = answers.iter().flatten().map(|(place, _)| *place).collect();
        let expected: Vec<u64> = (u64::from(first)..u64::from(first) + 10).collect();
        assert_eq!(places, expected, "{fault:?}");
        log.note(&replica, &answers);
    }
    let twice = [plain(0..1), plain(30..31), plain(30..31)].concat();
    let places = replica.append(&twice).await;
    let places: Vec<_> = places
        .into_iter()
        .flatten()
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places, [0, 20, 20], "the same entry has one place");
    log.check();
}

/// The ledger is restored from a copy, or fails over to one that was behind; the tiles are whole.
#[tokio::test]
async fn a_ledger_that_is_behind_catches_up_from_the_tiles_or_signs_nothing() {
    let mut log = Log::new().await;
    let mut replica = log.healthy();
    let real = |range: std::ops::Range<u64>| -> Vec<Entry> {
        range
            .map(|n| Entry::read(signed(&dispute(n))).unwrap())
            .collect()
    };
    let answers = replica.append(&real(0..3)).await;
    log.note(&replica, &answers);
    let files = ["ledger.sqlite", "copy.sqlite", "older.sqlite"];
    let [live, copy, older] = files.map(|name| log.dir.path().join(name));
    copy_file(&live, &copy).await.unwrap();
    copy_file(&live, &older).await.unwrap();
    let answers = replica.append(&real(3..8)).await;
    log.note(&replica, &answers);
    drop(replica);

    let (restored, _tasks) = open(&copy).await;
    let former = std::mem::replace(&mut log.ledger, restored);
    let mut again = log.healthy();
    again.sequencer.look().await;
    let shown = again.shown.borrow().clone().unwrap();
    assert_eq!(shown.size, 8, "what was published is there");
    let known = log
        .ledger
        .logged(vec![real(6..7)[0].row.leaf.clone()])
        .await
        .unwrap();
    assert_eq!(known[0].1, 6);
    let answers = again.append(&real(5..10)).await;
    log.note(&again, &answers);
    log.check();
    drop((former, again));

    // Another entry in the bundle, under the tiles that were published.
    let bundle = |range| tile::bundle(real(range).iter().map(|entry| &*entry.bytes)).unwrap();
    let path = Tile::within(10, 0, 0).unwrap().bundle_path();
    let good = bundle(0..10);
    let bad = [bundle(0..9), bundle(90..91)].concat();
    let store = Directory::new(log.tiles());
    assert_eq!(store.get(&path).unwrap(), Some(good.clone()));
    store.put(&[Object::new(path.clone(), bad)]).unwrap();
    let (ledger, _tasks) = open(&older).await;
    log.ledger = ledger;
    let mut behind = log.healthy();
    behind.sequencer.look().await;
    assert!(behind.shown.borrow().is_none(), "it signs nothing");
    assert_eq!(log.ledger.receipt_log().await.unwrap().unwrap().size, 3);
    drop(behind);
    store.put(&[Object::new(path, good)]).unwrap();
    let mut again = log.healthy();
    again.sequencer.look().await;
    assert_eq!(again.shown.borrow().clone().unwrap().size, 10);
    drop(again);

    // A checkpoint alone, without what it speaks of.
    let keys = Keys::of(&[1; 32]);
    let note = Checkpoint {
        origin: "log.example/before".to_owned(),
        size: 4000,
        root: [9; 32],
    };
    let note = note.sign(&keys.log).unwrap().to_string();
    let object = Object::new("checkpoints/4000".to_owned(), note.into_bytes());
    Directory::new(log.tiles()).put(&[object]).unwrap();
    let (ledger, _tasks) = open(&copy).await;
    log.ledger = ledger;
    let mut behind = log.healthy();
    behind.sequencer.look().await;
    assert!(behind.shown.borrow().is_none(), "it signs nothing");
    assert_eq!(behind.append(&real(20..21)).await, [None]);
}

/// The database of a running broker fails over, and nothing is appended: verdicts wait for what is missing.
#[tokio::test]
async fn a_ledger_that_goes_back_beside_a_log_that_stands_still_catches_up() {
    let mut log = Log::new().await;
    let mut replica = log.healthy();
    let real = |range: std::ops::Range<u64>| -> Vec<Entry> {
        range
            .map(|n| Entry::read(signed(&dispute(n))).unwrap())
            .collect()
    };
    let answers = replica.append(&real(0..3)).await;
    log.note(&replica, &answers);
    let before = log.ledger.receipt_log().await.unwrap().unwrap();
    let answers = replica.append(&real(3..8)).await;
    log.note(&replica, &answers);
    log.go_back_to(&before).await;
    replica.sequencer.look().await;
    log.note(&replica, &[]);
    let now = log.ledger.receipt_log().await.unwrap().unwrap();
    assert_eq!(now.size, 8);
    let last = real(7..8)[0].row.leaf.clone();
    let known = log.ledger.logged(vec![last.clone()]).await.unwrap();
    assert_eq!(known, [(last, 7)]);
    log.check();
}

#[tokio::test]
async fn tiles_that_are_not_the_ledgers_are_damage() {
    let log = Log::new().await;
    let mut replica = log.healthy();
    assert!(
        replica
            .append(&plain(0..5))
            .await
            .iter()
            .all(Option::is_some)
    );
    let object = Object::new("tile/0/000.p/5".to_owned(), vec![7; 160]);
    Directory::new(log.tiles()).put(&[object]).unwrap();
    let mut again = log.healthy();
    again.sequencer.look().await;
    assert!(again.shown.borrow().is_none());
}

#[test]
fn what_is_not_signed_by_a_key_of_the_directory_is_not_admitted() {
    let key = Keys::of(&[2; 32]).broker.public();
    let authority = Keys::of(&[3; 32]).directory;
    let listed = nearlight_proof::receipt::directory::Entry {
        key: hex(key.as_bytes()),
        role: Role::Checker,
        operator: "east".to_owned(),
        licence: None,
        from_s: 0,
        until_s: 4_000_000_000,
        revoked_at_s: None,
    };
    let with = |keys| {
        let bytes = KeyDirectory::sign(1, 1, keys, &authority).unwrap();
        KeyDirectory::open(&bytes, &authority.public()).unwrap()
    };
    let (known, nobody) = (with(vec![listed]), with(Vec::new()));
    let now = 1_800_000_000;
    let good = signed(&dispute(1));
    assert!(Entry::admitted(good.clone(), &known, now).is_ok());
    let unknown = Entry::admitted(good.clone(), &nobody, now);
    assert!(matches!(unknown, Err(NotAdmitted::Keys(_))), "{unknown:?}");
    let early = Entry::admitted(good.clone(), &known, now - 400);
    assert!(matches!(early, Err(NotAdmitted::Form(_))), "{early:?}");
    let mut flipped = signed(&dispute(2));
    let at = flipped.len() - 20;
    flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
    assert!(Entry::admitted(flipped, &known, now).is_err());
    assert!(Entry::admitted(b"{}".to_vec(), &known, now).is_err());
    // Of what nobody reads, the tree is still the plain one.
    assert_eq!(root::<LogHasher>(&[leaf(&good)]), leaf(&good));
}
