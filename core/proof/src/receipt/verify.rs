//! What a stranger can conclude from a receipt, its proof, a policy and a directory.
//!
//! The checks run in the order of [`CheckName`] and stop at the first that fails. Later entries of
//! the log (revocations, disputes, verdicts), each with its own proof, change VALID into DISPUTED or
//! REVOKED; one that does not verify is left out, with a warning. That none was given does not prove
//! that none exists: an audit of the whole log does.
//!
//! **What it does not know:** what time it is now, where the files came from.

use super::directory::{Directory, Entry, Role};
use super::envelope::Envelope;
use super::predicate::Predicate;
use super::report::{Check, CheckName, Outcome, Report, Warning};
use super::statement::{Countersign, Statement};
use crate::key::{KeyId, PublicKey};
use crate::log::policy::{Policy, Unsatisfied, Witnessed};
use crate::log::proof::LogProof;
use crate::log::tree::{LogHasher, includes, leaf};
use std::borrow::Borrow;

/// How much later a receipt may say that it was issued than a witness saw it, seconds: clocks.
pub const SKEW_S: u64 = 300;
/// The longest time that a network may have for disputes, days after the receipt.
pub const DISPUTE_DAYS_MAX: u64 = 30;
const DAY_S: u64 = 24 * 3600;
/// The most later entries that are looked at.
pub const LATER_MAX: usize = 256;

/// Where the policy is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// The verifier chose it.
    Own,
    /// The log's operator gave it.
    LogOperator,
}

/// What a verifier is given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Whom to believe about logs.
    pub policy: &'a Policy,
    /// Where that came from.
    pub policy_source: PolicySource,
    /// Whose keys are whose.
    pub directory: &'a Directory,
    /// Later entries of the log, each with its `.tlog-proof`.
    pub later: &'a [(&'a [u8], &'a [u8])],
}

/// Verifies an entry (`envelope`) and its `.tlog-proof`.
#[must_use]
pub fn verify(envelope: &[u8], proof: &[u8], given: &Given<'_>) -> Report {
    let mut run = Run::new(given);
    let outcome = match run.receipt(envelope, proof) {
        Ok((statement, _)) => run.standing(&statement, envelope),
        Err(outcome) => outcome,
    };
    run.finish(outcome)
}

/// What a log asks before it takes an entry: its form, whose keys, and their signatures. The report of
/// one that it does not take ends with the check that failed.
///
/// # Errors
/// The report.
pub fn admit(envelope: &[u8], directory: &Directory) -> Result<Statement, Box<Report>> {
    Later::admitted(envelope, directory).map(|admitted| admitted.statement)
}

/// The same of an entry that the caller knows, by its leaf, to be one that was admitted: its form and whose keys.
/// Signatures that were good are, whatever became of the directory, and are not verified once more.
///
/// # Errors
/// The report.
pub fn readmit(envelope: &[u8], directory: &Directory) -> Result<Statement, Box<Report>> {
    Later::taken(envelope, directory, true).map(|taken| taken.statement)
}

struct Run<'a> {
    given: &'a Given<'a>,
    /// Whether its signatures are known to be good.
    readmits: bool,
    checks: Vec<Check>,
    warnings: Vec<Warning>,
    witnessed: Option<Witnessed>,
}

impl<'a> Run<'a> {
    fn new(given: &'a Given<'a>) -> Self {
        Self {
            given,
            readmits: false,
            checks: Vec::new(),
            warnings: Vec::new(),
            witnessed: None,
        }
    }

    fn finish(mut self, outcome: Outcome) -> Report {
        self.warnings.sort_unstable();
        self.warnings.dedup();
        let as_of = self.witnessed.as_ref();
        let latest = as_of.and_then(|w| w.witnesses.iter().map(|(_, time)| *time).max());
        Report {
            outcome,
            as_of_size: as_of.map(|w| w.checkpoint.size),
            as_of_s: latest,
            checks: self.checks,
            warnings: self.warnings,
        }
    }

    fn pinned(&self) -> String {
        format!(
            "directory {} of key {}",
            self.given.directory.serial, self.given.directory.pinned_by
        )
    }

    fn pass(&mut self, name: CheckName, keys: Vec<String>, pinned_by: String, found: &str) {
        self.checks.push(Check {
            name,
            passed: true,
            keys,
            pinned_by,
            found: found.to_owned(),
        });
    }

    fn fail<T>(&mut self, name: CheckName, found: &str, outcome: Outcome) -> Result<T, Outcome> {
        let (keys, pinned_by) = (Vec::new(), String::new());
        self.checks.push(Check {
            name,
            passed: false,
            keys,
            pinned_by,
            found: found.to_owned(),
        });
        Err(outcome)
    }

    /// Every check but the standing.
    fn receipt(&mut self, envelope: &[u8], proof: &[u8]) -> Result<(Statement, Role), Outcome> {
        let (statement, entry) = self.signed(envelope)?;
        self.log(envelope, proof)?;
        self.time(&statement, &entry)?;
        self.warn_of_operators(&entry);
        Ok((statement, entry.role))
    }

    /// The checks that need no log.
    fn signed(&mut self, envelope: &[u8]) -> Result<(Statement, Entry), Outcome> {
        let (opened, statement) = self.form(envelope)?;
        let (issuer, entry) = self.issuer_key(&statement)?;
        self.issuer_signature(&opened, &statement, &issuer)?;
        self.countersignature(&opened, &statement)?;
        Ok((statement, entry))
    }

    fn form(&mut self, bytes: &[u8]) -> Result<(Envelope, Statement), Outcome> {
        let read = Envelope::parse(bytes)
            .map_err(|e| e.to_string())
            .and_then(|envelope| {
                let statement = Statement::parse(&envelope).map_err(|e| e.to_string())?;
                Ok((envelope, statement))
            });
        match read {
            Ok((envelope, statement)) => {
                let found = format!("a {} receipt in its one form", statement.predicate.kind());
                self.pass(CheckName::Form, Vec::new(), String::new(), &found);
                Ok((envelope, statement))
            }
            Err(why) => self.fail(CheckName::Form, &why, Outcome::Malformed),
        }
    }

    fn issuer_key(&mut self, statement: &Statement) -> Result<(PublicKey, Entry), Outcome> {
        let (head, directory) = (&statement.head, self.given.directory);
        let roles = issuers(&statement.predicate);
        let found = roles
            .iter()
            .find_map(|role| directory.find(&head.issuer, *role));
        let Some((key, entry)) = found else {
            let why = "the issuer's key is not in the directory for this kind of receipt";
            return self.fail(CheckName::IssuerKey, why, Outcome::UnknownKey);
        };
        if !entry.covers(head.issued_at_s) {
            let why = "the issuer's key did not count when the receipt says it was issued";
            return self.fail(CheckName::IssuerKey, why, Outcome::UnknownKey);
        }
        let (key, entry) = (*key, entry.clone());
        let found = format!("a key of {}, in its window", entry.operator);
        self.pass(
            CheckName::IssuerKey,
            vec![head.issuer.to_string()],
            self.pinned(),
            &found,
        );
        Ok((key, entry))
    }

    fn is_signed(&self, envelope: &Envelope, key: &PublicKey) -> bool {
        self.readmits || envelope.signed_by(key)
    }

    fn issuer_signature(
        &mut self,
        envelope: &Envelope,
        statement: &Statement,
        issuer: &PublicKey,
    ) -> Result<(), Outcome> {
        let first = envelope
            .signatures
            .first()
            .is_some_and(|(id, _)| *id == issuer.id());
        if !first || !self.is_signed(envelope, issuer) {
            let why = "the issuer's signature is missing or does not fit; do not use the receipt";
            return self.fail(CheckName::IssuerSignature, why, Outcome::Forged);
        }
        let keys = vec![statement.head.issuer.to_string()];
        self.pass(
            CheckName::IssuerSignature,
            keys,
            self.pinned(),
            "the issuer signed it",
        );
        Ok(())
    }

    fn countersignature(
        &mut self,
        envelope: &Envelope,
        statement: &Statement,
    ) -> Result<(), Outcome> {
        let name = CheckName::Countersignature;
        let wanted = match &statement.head.countersign {
            Countersign::Node(id) => Some(id),
            Countersign::Refused(_) | Countersign::None => None,
        };
        if envelope.signatures.len() != 1 + usize::from(wanted.is_some()) {
            let why = "the receipt has other signatures than its statement says";
            return self.fail(name, why, Outcome::Forged);
        }
        let Some(id) = wanted else {
            let found = match &statement.head.countersign {
                Countersign::Refused(reason) => {
                    self.warnings.push(Warning::NodeRefused);
                    format!("the node did not sign: {reason}")
                }
                Countersign::Node(_) | Countersign::None => "none is asked for".to_owned(),
            };
            self.pass(name, Vec::new(), String::new(), &found);
            return Ok(());
        };
        let directory = self.given.directory;
        let known = directory
            .find(id, Role::Node)
            .filter(|(_, e)| e.covers(statement.head.issued_at_s));
        let Some((key, entry)) = known else {
            let why = "the node's key is not in the directory for that time";
            return self.fail(name, why, Outcome::UnknownKey);
        };
        let second = envelope
            .signatures
            .get(1)
            .is_some_and(|(signer, _)| signer == id);
        if !second || !self.is_signed(envelope, key) {
            let why = "the node's signature does not fit; do not use the receipt";
            return self.fail(name, why, Outcome::Forged);
        }
        let found = format!("the node of {} signed it, too", entry.operator);
        self.pass(name, vec![id.to_string()], self.pinned(), &found);
        Ok(())
    }

    fn log(&mut self, envelope: &[u8], proof: &[u8]) -> Result<(), Outcome> {
        let proof = match LogProof::parse(proof) {
            Ok(proof) => proof,
            Err(why) => {
                return self.fail(CheckName::Checkpoint, &why.to_string(), Outcome::Malformed);
            }
        };
        let checked = self.given.policy.check(&proof.checkpoint);
        let (name, outcome) = match &checked {
            Ok(_) => (CheckName::Checkpoint, Outcome::Valid),
            Err(Unsatisfied::Log(_)) => (CheckName::Checkpoint, Outcome::NotLogged),
            Err(Unsatisfied::Witness) => (CheckName::Witnesses, Outcome::Forged),
            Err(Unsatisfied::Quorum) => (CheckName::Witnesses, Outcome::NotWitnessed),
        };
        let witnessed = match checked {
            Ok(witnessed) => witnessed,
            Err(why) => return self.fail(name, &why.to_string(), outcome),
        };
        let checkpoint = &witnessed.checkpoint;
        let found = format!("{} signed {} entries", checkpoint.origin, checkpoint.size);
        let pinned = "the policy".to_owned();
        self.pass(
            name,
            vec![witnessed.log.to_string()],
            pinned.clone(),
            &found,
        );
        let (root, size) = (&checkpoint.root, checkpoint.size);
        if !includes::<LogHasher>(root, size, proof.index, &leaf(envelope), &proof.path) {
            let why = "the receipt is not where the proof says; ask the log for another proof";
            return self.fail(CheckName::Inclusion, why, Outcome::NotLogged);
        }
        let found = format!("it is entry {}", proof.index);
        self.pass(CheckName::Inclusion, Vec::new(), String::new(), &found);
        let keys = witnessed
            .witnesses
            .iter()
            .map(|(w, _)| w.key.to_string())
            .collect();
        let found = format!("{} witnesses saw this log", witnessed.witnesses.len());
        self.pass(CheckName::Witnesses, keys, pinned, &found);
        self.witnessed = Some(witnessed);
        Ok(())
    }

    fn time(&mut self, statement: &Statement, issuer: &Entry) -> Result<(), Outcome> {
        let issued = statement.head.issued_at_s;
        let times = self
            .witnessed
            .iter()
            .flat_map(|w| w.witnesses.iter().map(|(_, time)| *time));
        if times
            .clone()
            .any(|time| time.saturating_add(SKEW_S) < issued)
        {
            let why = "a witness saw the receipt before it says it was issued";
            return self.fail(CheckName::Time, why, Outcome::Forged);
        }
        if issuer.revoked_at_s.is_some() {
            self.warnings.push(Warning::KeyRevokedLater);
        }
        let found = match times.max() {
            Some(_) => "issued before the witnesses saw it",
            None => "no witness says when: the time is the issuer's word",
        };
        self.pass(CheckName::Time, Vec::new(), String::new(), found);
        Ok(())
    }

    fn warn_of_operators(&mut self, issuer: &Entry) {
        let given = self.given;
        if given.policy_source == PolicySource::LogOperator {
            self.warnings.push(Warning::PolicyFromLog);
        }
        if given.policy.asks_nobody() {
            self.warnings.push(Warning::NoQuorum);
        }
        let Some(witnessed) = &self.witnessed else {
            return;
        };
        let log = given.directory.operator(witnessed.log.key());
        let operators: Vec<_> = witnessed
            .witnesses
            .iter()
            .map(|(w, _)| given.directory.operator(w.key.key()))
            .collect();
        if operators.iter().any(Option::is_none) {
            self.warnings.push(Warning::WitnessUnknown);
        }
        // Who is not known may be the log's own.
        if operators
            .iter()
            .all(|operator| operator.is_none() || *operator == log)
        {
            self.warnings.push(Warning::WitnessesOfLog);
        }
        if log.is_none() || log == Some(issuer.operator.as_str()) {
            self.warnings.push(Warning::IssuerOfLog);
        }
    }

    /// What later entries make of a receipt that verified.
    fn standing(&mut self, statement: &Statement, envelope: &[u8]) -> Outcome {
        let target = KeyId(leaf(envelope));
        let mut later = Vec::new();
        for (bytes, proof) in self.given.later.iter().take(LATER_MAX) {
            match Run::new(self.given).receipt(bytes, proof) {
                Ok((statement, role)) => later.push(Later {
                    leaf: KeyId(leaf(bytes)),
                    statement,
                    role,
                }),
                Err(_) => self.warnings.push(Warning::LaterIgnored),
            }
        }
        if self.given.later.len() > LATER_MAX {
            self.warnings.push(Warning::LaterIgnored);
        }
        let (outcome, found) = judge(&target, statement, &later);
        self.pass(CheckName::Standing, Vec::new(), String::new(), found);
        outcome
    }
}

/// Which roles may issue a kind of receipt.
const fn issuers(predicate: &Predicate) -> &'static [Role] {
    match predicate {
        Predicate::Porc(_) | Predicate::Porw(_) => &[Role::Checker],
        Predicate::Session(_) => &[Role::Broker],
        Predicate::Verdict(_) => &[Role::Referee, Role::Broker],
        Predicate::Revoke(_) => &[Role::Referee, Role::Broker, Role::Checker],
        Predicate::Dispute(_) => &[Role::Node, Role::Checker, Role::Broker],
    }
}

/// A later entry that verified, with the role of its issuer.
#[derive(Clone, Debug)]
pub struct Later {
    /// Its leaf.
    pub leaf: KeyId,
    /// What it says.
    pub statement: Statement,
    /// In which role its issuer says so.
    pub role: Role,
}

impl Later {
    /// An entry of a log that was read whole, which needs no proof: its form, keys and signatures.
    ///
    /// # Errors
    /// The report of one that does not count ends with the check that failed.
    pub fn admitted(envelope: &[u8], directory: &Directory) -> Result<Self, Box<Report>> {
        Self::taken(envelope, directory, false)
    }

    fn taken(envelope: &[u8], directory: &Directory, again: bool) -> Result<Self, Box<Report>> {
        let policy = Policy::default();
        let given = Given {
            policy: &policy,
            policy_source: PolicySource::Own,
            directory,
            later: &[],
        };
        let mut run = Run::new(&given);
        run.readmits = again;
        match run.signed(envelope) {
            Ok((statement, entry)) => Ok(Self {
                leaf: KeyId(leaf(envelope)),
                statement,
                role: entry.role,
            }),
            Err(outcome) => Err(Box::new(run.finish(outcome))),
        }
    }
}

/// A referee and the broker may revoke anything; anybody else what is its own.
fn revokes(later: &Later, from_s: u64, target: &KeyId, receipt: &Statement) -> bool {
    let (subject, issuer) = (
        &later.statement.subject.sha256,
        &later.statement.head.issuer,
    );
    let may = matches!(later.role, Role::Referee | Role::Broker) || *issuer == receipt.head.issuer;
    let key = *subject == receipt.head.issuer && receipt.head.issued_at_s >= from_s;
    may && (subject == target || key)
}

/// Whether an entry contests a receipt: a dispute over a check, of whom that concerns (the node, who issued it, or a broker).
fn contests(later: &Later, receipt: &Statement) -> bool {
    let said = &later.statement.head;
    let concerns = [receipt.subject.sha256, receipt.head.issuer].contains(&said.issuer);
    matches!(receipt.predicate, Predicate::Porc(_)) && (concerns || later.role == Role::Broker)
}

/// Whether a dispute that nobody has decided came while one may: others would contest for ever. Of one that a referee decided
/// the broker knew that it came in time, by the log and not by the receipt's own word.
fn is_timely(later: &Later, receipt: &Statement) -> bool {
    let said_s = receipt.head.issued_at_s;
    later.statement.head.issued_at_s <= said_s.saturating_add(DISPUTE_DAYS_MAX * DAY_S)
}

/// What later entries make of a receipt that verified, whose leaf is `target`; and why, as a sentence.
#[must_use]
pub fn judge<L: Borrow<Later>>(
    target: &KeyId,
    receipt: &Statement,
    later: &[L],
) -> (Outcome, &'static str) {
    let entries = || later.iter().map(|of| -> &Later { of.borrow() });
    let settled = |dispute: &KeyId| {
        entries().find_map(|later| match &later.statement.predicate {
            Predicate::Verdict(verdict)
                if later.role == Role::Referee && verdict.dispute == Some(*dispute) =>
            {
                Some(verdict)
            }
            _ => None,
        })
    };
    let mut outcome = (Outcome::Valid, "nothing that was given contests it");
    for entry in entries() {
        match &entry.statement.predicate {
            Predicate::Revoke(revoke) if revokes(entry, revoke.from_s, target, receipt) => {
                return (Outcome::Revoked, "a later entry revokes it");
            }
            Predicate::Dispute(_)
                if entry.statement.subject.sha256 == *target && contests(entry, receipt) =>
            {
                match settled(&entry.leaf) {
                    Some(verdict) if verdict.liars.contains(&receipt.head.issuer) => {
                        return (Outcome::Revoked, "a dispute over it was upheld");
                    }
                    None if is_timely(entry, receipt) => {
                        outcome = (Outcome::Disputed, "a dispute over it is open");
                    }
                    Some(_) | None => {}
                }
            }
            _ => {}
        }
    }
    outcome
}

#[cfg(test)]
#[path = "verify/test.rs"]
mod test;
