//! Who watches the log: witnesses that cosign its checkpoints, after C2SP tlog-witness.
//!
//! ```text
//!   every 2 s the newest checkpoint is a candidate
//!     witness with a URL:   POST URL/add-checkpoint (old size, consistency proof, checkpoint) -> its line
//!     witness that dials:   GET /v1/log/candidate?old=N, the same text; POST /v1/log/cosignatures: its line, or a whole
//!                           checkpoint that is larger than what the log has
//!   lines of a quorum -> kept in the ledger -> shown
//! ```
//!
//! **Invariants.** A line is kept if it is a known witness's and verifies. What is shown never gets smaller. A
//! witness that says that it saw a larger log than the ledger has is believed: the log signs nothing more.
//!
//! **What it does not know:** whether a witness is anybody else's than the log's operator.

use super::sequencer::Published;
use super::store::Store;
use super::{LogError, Receipts, blocking, reader};
use crate::config::WitnessSettings;
use crate::ledger::{LogChange, Op};
use futures_util::future::join_all;
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::cosignature;
use nearlight_proof::log::note::{Note, NoteSignature, VerifierKey};
use nearlight_proof::log::witness::Candidate;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use ureq::Agent;

/// How often there is a candidate.
const OFFER_EVERY: Duration = Duration::from_secs(2);
/// Candidates for which lines are taken: who answers within half a minute is in time.
const CANDIDATES_MAX: usize = 16;
/// For a witness's answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a witness's answer.
pub(crate) const LINES_BYTES_MAX: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Witnesses {
    known: Vec<WitnessSettings>,
    quorum: usize,
    agent: Agent,
    state: Mutex<State>,
    /// The largest size that a witness says it saw.
    seen_max: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    candidates: VecDeque<Offered>,
    witnessed: Option<(u64, Note)>,
    /// What each witness with a URL has seen, by its place in the settings.
    seen: BTreeMap<usize, u64>,
}

#[derive(Debug)]
struct Offered {
    published: Arc<Published>,
    /// By the witness's place in the settings.
    lines: BTreeMap<usize, NoteSignature>,
}

impl State {
    /// A checkpoint that is to be cosigned, if it is larger than the last one.
    fn offer(&mut self, published: Arc<Published>) {
        let last = self.candidates.back().map(|last| last.published.size);
        if last.is_some_and(|last| last >= published.size) {
            return;
        }
        if self.candidates.len() == CANDIDATES_MAX {
            self.candidates.pop_front();
        }
        self.candidates.push_back(Offered {
            published,
            lines: BTreeMap::new(),
        });
    }

    /// What is witnessed, if it is larger than what was.
    fn learn(&mut self, size: u64, note: Note) {
        let larger = self.witnessed.as_ref().is_none_or(|(seen, _)| *seen < size);
        if larger {
            self.witnessed = Some((size, note));
        }
    }

    /// Takes the lines that known witnesses have signed. How many of them were, and a larger checkpoint
    /// that is witnessed now.
    fn take(
        &mut self,
        lines: &str,
        known: &[VerifierKey],
        quorum: usize,
    ) -> (usize, Option<(u64, Note)>) {
        let (mut taken, mut newly) = (0, None);
        for candidate in &mut self.candidates {
            let text = candidate.published.note.text();
            let Ok(note) = Note::parse(format!("{text}\n{lines}").as_bytes()) else {
                continue;
            };
            for (place, key) in known.iter().enumerate() {
                if cosignature::verify(&note, key).is_err() {
                    continue;
                }
                // Of several lines of one witness the last is the newest that it sent.
                if let Some(line) = note.by(key).last() {
                    candidate.lines.insert(place, line.clone());
                    taken += 1;
                }
            }
            let size = candidate.published.size;
            let larger = self.witnessed.as_ref().is_none_or(|(seen, _)| *seen < size);
            if quorum > 0 && candidate.lines.len() >= quorum && larger {
                let mut note = candidate.published.note.clone();
                candidate
                    .lines
                    .values()
                    .cloned()
                    .for_each(|line| note.add(line));
                self.witnessed = Some((size, note.clone()));
                newly = Some((size, note));
            }
        }
        (taken, newly)
    }
}

impl Witnesses {
    pub(super) fn new(
        known: Vec<WitnessSettings>,
        quorum: usize,
        seen_max: Arc<AtomicU64>,
    ) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_WITHIN))
            .max_redirects(0)
            .user_agent("nearlight-log")
            .proxy(None)
            .build();
        Self {
            known,
            quorum,
            agent: Agent::new_with_config(config),
            state: Mutex::default(),
            seen_max,
        }
    }

    fn keys(&self) -> Vec<VerifierKey> {
        self.known.iter().map(|of| of.key.clone()).collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last checkpoint that a quorum cosigned, and its size.
    pub(super) fn witnessed(&self) -> Option<(u64, Note)> {
        self.with(|state| state.witnessed.clone())
    }

    /// What the operator says to believe, as a policy (c2sp.org/tlog-policy).
    pub(super) fn policy(&self, log: &VerifierKey) -> String {
        let mut text = format!("log {log}\n");
        for (n, witness) in self.known.iter().enumerate() {
            text.push_str(&format!("witness w{n} {}\n", witness.key));
        }
        if self.quorum == 0 {
            text.push_str("quorum none\n");
        } else {
            let names: String = (0..self.known.len()).map(|n| format!(" w{n}")).collect();
            text.push_str(&format!("group all {}{names}\nquorum all\n", self.quorum));
        }
        text
    }
}

impl Receipts {
    /// What a witness that has seen `old` entries is asked: the body of an add-checkpoint request. `None` if
    /// there is nothing to cosign, or it has seen more.
    pub(crate) async fn candidate(&self, old: u64) -> Result<Option<String>, LogError> {
        let newest = self.witnesses.with(|state| {
            let newest = state.candidates.back();
            newest.map(|candidate| candidate.published.clone())
        });
        let Some(published) = newest.filter(|newest| old <= newest.size) else {
            return Ok(None);
        };
        let size = published.size;
        let prove = move |store: &dyn Store| reader::consistency(store, old, size);
        let Some(proof) = blocking(&self.store, prove).await? else {
            return Ok(None);
        };
        let note = published.note.clone();
        Ok(Some(Candidate { old, proof, note }.to_string()))
    }

    /// Takes what witnesses signed. How many lines were of known ones, for a checkpoint of a moment ago, or for one that is
    /// larger than what the log has.
    pub(crate) async fn cosigned(&self, lines: &str) -> Result<usize, LogError> {
        if let Some(size) = self.has_signed(lines) {
            self.witnesses.seen_max.fetch_max(size, Ordering::SeqCst);
            return Ok(1);
        }
        let keys = self.witnesses.keys();
        let quorum = self.witnesses.quorum;
        let (taken, newly) = self
            .witnesses
            .with(|state| state.take(lines, &keys, quorum));
        if let Some((size, note)) = newly {
            let note = note.to_string();
            let change = LogChange::Witnessed { size, note };
            self.ledger
                .write(vec![Op::Log {
                    change,
                    audit: None,
                }])
                .await?;
        }
        Ok(taken)
    }

    /// The size of a checkpoint that this log signed and a known witness cosigned, if it is larger than what the log has:
    /// both signatures together nobody else can make.
    fn has_signed(&self, text: &str) -> Option<u64> {
        let note = Note::parse(text.as_bytes()).ok()?;
        let signed = Checkpoint::open(&note, &self.log_key()?).ok()?;
        let mut known = self.witnesses.known.iter();
        let cosigned = known.any(|of| cosignature::verify(&note, &of.key).is_ok());
        let has = self.published().map_or(0, |published| published.size);
        (cosigned && signed.size > has).then_some(signed.size)
    }

    /// Asks one witness, twice if it has seen something else than was thought.
    async fn ask(&self, place: usize) -> Result<(), String> {
        let witness = &self.witnesses.known[place];
        let Some(url) = &witness.url else {
            return Ok(());
        };
        for _ in 0..2 {
            let old = self.witnesses.with(|state| state.seen.get(&place).copied());
            let body = self.candidate(old.unwrap_or(0)).await;
            let Some(body) = body.map_err(|error| error.to_string())? else {
                return Ok(());
            };
            let request = self.witnesses.agent.post(format!("{url}/add-checkpoint"));
            let sent = tokio::task::spawn_blocking(move || {
                let mut answer = request.send(body).map_err(|error| error.to_string())?;
                let read = answer
                    .body_mut()
                    .with_config()
                    .limit(LINES_BYTES_MAX as u64);
                let text = read.read_to_string().map_err(|error| error.to_string())?;
                Ok::<_, String>((answer.status().as_u16(), text))
            });
            match sent.await.map_err(|error| error.to_string())?? {
                (200, lines) => {
                    let taken = self
                        .cosigned(&lines)
                        .await
                        .map_err(|error| error.to_string())?;
                    return match taken {
                        0 => Err("its line does not verify; is its key the right one?".to_owned()),
                        _ => Ok(()),
                    };
                }
                (409, size) => {
                    let size = nearlight_proof::encoding::from_decimal(size.trim());
                    let size = size.ok_or("it answered 409 without a size")?;
                    self.witnesses.seen_max.fetch_max(size, Ordering::SeqCst);
                    self.witnesses.with(|state| state.seen.insert(place, size));
                }
                (status, _) => return Err(format!("it answered {status}")),
            }
        }
        Ok(())
    }
}

impl Receipts {
    /// What the ledger has as witnessed: from before this broker was started, and what another one's witnesses signed.
    async fn read_witnessed(&self) {
        if let Ok(Some(row)) = self.ledger.receipt_log().await
            && let Ok(note) = Note::parse(row.witnessed.as_bytes())
        {
            self.witnesses
                .with(|state| state.learn(row.witnessed_size, note));
        }
    }
}

/// Has checkpoints cosigned.
pub(super) async fn keep(receipts: Arc<Receipts>, stop: CancellationToken) {
    if receipts.witnesses.known.is_empty() {
        return;
    }
    let mut pause = tokio::time::interval(OFFER_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = pause.tick() => {}
        }
        receipts.read_witnessed().await;
        let Some(published) = receipts.published() else {
            continue;
        };
        receipts.witnesses.with(|state| state.offer(published));
        let places = 0..receipts.witnesses.known.len();
        let asked = places.map(|place| {
            let receipts = &receipts;
            async move { (place, receipts.ask(place).await) }
        });
        let all = async { join_all(asked).await };
        let answers = tokio::select! {
            () = stop.cancelled() => return,
            answers = all => answers,
        };
        for (place, answer) in answers {
            if let Err(error) = answer {
                let witness = receipts.witnesses.known[place].key.name();
                tracing::debug!(witness, error, "a witness did not cosign");
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use nearlight_proof::key::SecretKey;
    use nearlight_proof::log::checkpoint::Checkpoint;
    use nearlight_proof::log::note::Algorithm;

    fn published(size: u64) -> Arc<Published> {
        let checkpoint = Checkpoint {
            origin: "log.example".to_owned(),
            size,
            root: [size as u8; 32],
        };
        let note = checkpoint.sign(&SecretKey::from_seed(&[1; 32])).unwrap();
        Arc::new(Published {
            origin: checkpoint.origin,
            size,
            root: checkpoint.root,
            note,
        })
    }

    fn line(of: &Published, seed: u8) -> String {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let name = format!("w{seed}");
        cosignature::sign(of.note.text(), &name, &secret, 1_800_000_000)
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_checkpoint_is_witnessed_by_a_quorum_and_never_goes_back() {
        let key = |seed: u8| {
            let key = SecretKey::from_seed(&[seed; 32]).public();
            VerifierKey::new(&format!("w{seed}"), Algorithm::CosignatureV1, key).unwrap()
        };
        let known = [key(21), key(22), key(23)];
        let mut state = State::default();
        let (five, seven) = (published(5), published(7));
        state.offer(five.clone());
        state.offer(seven.clone());
        state.offer(published(6));
        assert_eq!(state.candidates.len(), 2, "none is smaller than the last");
        assert_eq!(state.take(&line(&seven, 21), &known, 2), (1, None));
        assert_eq!(
            state.take(&line(&seven, 21), &known, 2),
            (1, None),
            "twice is once"
        );
        assert_eq!(
            state.take(&line(&seven, 24), &known, 2),
            (0, None),
            "a stranger"
        );
        assert_eq!(state.take("\u{2014} w22 AAAAAAA=\n", &known, 2), (0, None));
        assert_eq!(state.take("nonsense", &known, 2), (0, None));
        let (_, newly) = state.take(&line(&seven, 22), &known, 2);
        let (size, note) = newly.unwrap();
        assert_eq!((size, note.signatures().len()), (7, 3));
        for seed in [21, 22] {
            assert!(cosignature::verify(&note, &key(seed)).is_ok());
        }
        let both = line(&five, 21) + &line(&five, 22);
        assert_eq!(state.take(&both, &known, 2), (2, None), "it is older");
        assert_eq!(state.witnessed.as_ref().map(|(size, _)| *size), Some(7));
    }

    #[test]
    fn without_a_quorum_nothing_is_witnessed() {
        let mut state = State::default();
        let one = published(1);
        state.offer(one.clone());
        assert_eq!(state.take(&line(&one, 21), &[], 0), (0, None));
        assert!(state.witnessed.is_none());
    }
}
