//! Policies (c2sp.org/tlog-policy): which logs, which witnesses, and how many of them must agree.
//!
//! A policy file is the verifier's own: one that came from a log proves what that log wants.

use super::checkpoint::{Checkpoint, CheckpointError};
use super::cosignature;
use super::note::{Algorithm, Note, NoteError, VerifierKey};
use crate::encoding::from_decimal;
use std::collections::BTreeMap;

/// The most lines of each kind that are read.
pub const LINES_MAX: usize = 256;

/// Why a text is no policy. Each has the number of the line, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Control characters, or more than [`LINES_MAX`] lines of a kind.
    #[error("the policy has control characters, or more than 256 lines of a kind")]
    Form,
    /// A line that is none of log, witness, group and quorum with what belongs to it.
    #[error("line {0} of the policy is malformed, or its key is of the wrong kind")]
    Line(usize),
    /// A name or key that an earlier line has, or a member of two groups.
    #[error("line {0} of the policy defines or uses something twice")]
    Twice(usize),
    /// A name that no earlier line defines.
    #[error("line {0} of the policy names something that no earlier line defines")]
    Unknown(usize),
    /// Not exactly one quorum line.
    #[error("the policy needs exactly one quorum line")]
    Quorum,
}

/// Why a checkpoint does not satisfy a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsatisfied {
    /// No log of the policy signed it.
    #[error("no log of the policy signed the checkpoint: {0}")]
    Log(CheckpointError),
    /// A known witness's line is forged.
    #[error("a cosignature of a known witness is forged or damaged")]
    Witness,
    /// Too few witnesses cosigned.
    #[error("the checkpoint has fewer cosignatures than the policy's quorum asks for")]
    Quorum,
}

/// A witness of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

/// A policy that was read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    /// `None` is `quorum none`.
    quorum: Option<Member>,
}

/// Who vouched for a checkpoint under a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The key of the log that signed it.
    pub log: VerifierKey,
    /// The witnesses that cosigned it, with their times (Unix seconds).
    pub witnesses: Vec<(Witness, u64)>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Every [`PolicyError`].
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text
            .bytes()
            .any(|b| (b < b' ' && b != b'\t' && b != b'\n') || b == 0x7f)
        {
            return Err(PolicyError::Form);
        }
        let mut reader = Reader::default();
        for (number, line) in text.split('\n').enumerate() {
            let fields: Vec<_> = line.split([' ', '\t']).filter(|f| !f.is_empty()).collect();
            if !fields.first().is_none_or(|first| first.starts_with('#')) {
                reader.line(number + 1, &fields)?;
            }
        }
        reader.finish()
    }

    /// The logs that it accepts.
    #[must_use]
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The witnesses that it knows, whether the quorum asks for them or not.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether it asks for no cosignature at all.
    #[must_use]
    pub const fn asks_nobody(&self) -> bool {
        self.quorum.is_none()
    }

    /// Who vouches for this checkpoint, if they are enough.
    ///
    /// # Errors
    /// Every [`Unsatisfied`].
    pub fn check(&self, note: &Note) -> Result<Witnessed, Unsatisfied> {
        let mut refused = CheckpointError::Note(NoteError::Missing);
        let mut opened = None;
        for log in &self.logs {
            match Checkpoint::open(note, log) {
                Ok(checkpoint) => opened = Some((checkpoint, log.clone())),
                Err(CheckpointError::Note(NoteError::Missing)) => {}
                Err(error) => refused = error,
            }
        }
        let (checkpoint, log) = opened.ok_or(Unsatisfied::Log(refused))?;
        let mut times = Vec::with_capacity(self.witnesses.len());
        for witness in &self.witnesses {
            times.push(match cosignature::verify(note, &witness.key) {
                Ok(time) => Some(time),
                Err(NoteError::Missing) => None,
                Err(_) => return Err(Unsatisfied::Witness),
            });
        }
        if !self.quorum.is_none_or(|member| self.agrees(member, &times)) {
            return Err(Unsatisfied::Quorum);
        }
        let named = self.witnesses.iter().zip(&times);
        let witnesses = named
            .filter_map(|(w, time)| Some((w.clone(), (*time)?)))
            .collect();
        Ok(Witnessed {
            checkpoint,
            log,
            witnesses,
        })
    }

    // Groups name earlier groups alone, and each is a member once: this ends.
    fn agrees(&self, member: Member, times: &[Option<u64>]) -> bool {
        match member {
            Member::Witness(index) => times[index].is_some(),
            Member::Group(index) => {
                let group = &self.groups[index];
                let agreeing = group
                    .members
                    .iter()
                    .filter(|m| self.agrees(**m, times))
                    .count();
                agreeing >= group.threshold
            }
        }
    }
}

#[derive(Default)]
struct Reader {
    policy: Policy,
    quorum_seen: bool,
    /// What each name is, and whether a group has it.
    names: BTreeMap<String, (Member, bool)>,
}

impl Reader {
    fn line(&mut self, number: usize, fields: &[&str]) -> Result<(), PolicyError> {
        let malformed = PolicyError::Line(number);
        match fields {
            ["log", key] | ["log", key, _] => {
                let key = VerifierKey::parse(key).ok_or(malformed)?;
                if key.algorithm() != Algorithm::Ed25519 {
                    return Err(malformed);
                }
                if self.policy.logs.iter().any(|log| log.key() == key.key()) {
                    return Err(PolicyError::Twice(number));
                }
                self.policy.logs.push(key);
            }
            ["witness", name, key] | ["witness", name, key, _] => {
                let key = VerifierKey::parse(key).ok_or(malformed)?;
                if key.algorithm() != Algorithm::CosignatureV1 {
                    return Err(malformed);
                }
                if self
                    .policy
                    .witnesses
                    .iter()
                    .any(|other| other.key.key() == key.key())
                {
                    return Err(PolicyError::Twice(number));
                }
                self.define(number, name, Member::Witness(self.policy.witnesses.len()))?;
                self.policy.witnesses.push(Witness {
                    name: (*name).to_owned(),
                    key,
                });
            }
            ["group", name, threshold, members @ ..] => {
                self.group(number, name, threshold, members)?;
            }
            ["quorum", name] if !self.quorum_seen => {
                self.quorum_seen = true;
                if *name != "none" {
                    let known = self.names.get(*name).ok_or(PolicyError::Unknown(number))?;
                    self.policy.quorum = Some(known.0);
                }
            }
            ["quorum", _] => return Err(PolicyError::Quorum),
            _ => return Err(malformed),
        }
        let Policy {
            logs,
            witnesses,
            groups,
            ..
        } = &self.policy;
        let most = logs.len().max(witnesses.len()).max(groups.len());
        if most > LINES_MAX {
            Err(PolicyError::Form)
        } else {
            Ok(())
        }
    }

    fn group(
        &mut self,
        number: usize,
        name: &str,
        threshold: &str,
        names: &[&str],
    ) -> Result<(), PolicyError> {
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let (member, used) = self
                .names
                .get_mut(*name)
                .ok_or(PolicyError::Unknown(number))?;
            if std::mem::replace(used, true) {
                return Err(PolicyError::Twice(number));
            }
            members.push(*member);
        }
        let threshold = match threshold {
            "any" => Some(1),
            "all" => Some(members.len()),
            count => from_decimal(count).and_then(|count| usize::try_from(count).ok()),
        };
        let threshold = threshold
            .filter(|count| (1..=members.len()).contains(count))
            .ok_or(PolicyError::Line(number))?;
        self.define(number, name, Member::Group(self.policy.groups.len()))?;
        self.policy.groups.push(Group { threshold, members });
        Ok(())
    }

    fn define(&mut self, number: usize, name: &str, what: Member) -> Result<(), PolicyError> {
        if name == "none" || self.names.insert(name.to_owned(), (what, false)).is_some() {
            return Err(PolicyError::Twice(number));
        }
        Ok(())
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        if self.quorum_seen {
            Ok(self.policy)
        } else {
            Err(PolicyError::Quorum)
        }
    }
}

#[cfg(test)]
#[path = "policy/test.rs"]
mod test;
