//! Reading a log whole: each entry makes a leaf, and all leaves have to make the root that was signed.

use super::{AuditError, Finding, Oddity, Source};
use nearlight_proof::log::checkpoint::Checkpoint;
use nearlight_proof::log::note::Note;
use nearlight_proof::log::policy::{Policy, Witnessed};
use nearlight_proof::log::tile::{self, TILE_WIDTH, Tile};
use nearlight_proof::log::tree::{Frontier, LogHasher, leaf};

/// The newest checkpoint of a log; nothing of it is verified yet.
#[derive(Clone, Debug)]
pub struct Newest {
    pub(super) note: Note,
    pub(super) bytes: Vec<u8>,
}

impl Newest {
    /// Asks for it.
    ///
    /// # Errors
    /// The source, or it says something else.
    pub fn ask<S: Source>(source: &mut S) -> Result<Self, AuditError<S::Error>> {
        let path = "/log/checkpoint";
        let bytes = source.read(path)?;
        let note = Note::parse(&bytes).map_err(|error| garbled(path, &error.to_string()))?;
        Ok(Self { note, bytes })
    }

    /// The name of the log that it says it is of: what one remembers it by.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.note.text().lines().next().unwrap_or_default()
    }
}

/// The checkpoint that was remembered, if the same log signed it.
pub(super) fn remembered(
    policy: &Policy,
    now: &Witnessed,
    bytes: Option<&[u8]>,
) -> Result<Option<Checkpoint>, ()> {
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let note = Note::parse(bytes).map_err(|_| ())?;
    let same = policy
        .logs()
        .iter()
        .filter(|log| log.name() == now.log.name());
    let opened = same.filter_map(|log| Checkpoint::open(&note, log).ok());
    opened.into_iter().next().map(Some).ok_or(())
}

/// Every entry in order, handed to `each`. What contradicts the checkpoint, or what was remembered.
pub(super) fn replay<S: Source>(
    source: &mut S,
    signed: &Checkpoint,
    before: Option<&Checkpoint>,
    mut each: impl FnMut(u64, &[u8]),
) -> Result<Option<Finding>, AuditError<S::Error>> {
    if let Some(before) = before.filter(|before| before.size > signed.size) {
        return Ok(Some(contradiction(format!(
            "the log had {} entries when it was read last, and shows {} now: it was rolled back, or this server is behind; ask again, and if it stays, keep both checkpoints",
            before.size, signed.size
        ))));
    }
    let mut tree = Frontier::<LogHasher>::default();
    let mut forked = before.is_some_and(|before| before.size == 0 && before.root != tree.root());
    for bundle in 0..signed.size.div_ceil(TILE_WIDTH) {
        let Some(part) = Tile::within(signed.size, 0, bundle) else {
            break;
        };
        let path = format!("/log/{}", part.bundle_path());
        let bytes = source.read(&path)?;
        let entries = tile::entries(&bytes).filter(|of| of.len() as u64 == part.width);
        let entries = entries.ok_or_else(|| garbled(&path, "not the entries of that bundle"))?;
        for entry in entries {
            each(tree.size(), entry);
            tree.push(leaf(entry));
            let here = before.is_some_and(|before| before.size == tree.size());
            forked |= here && before.is_some_and(|before| before.root != tree.root());
        }
    }
    let words = if tree.root() != signed.root {
        "the entries that the log serves do not make the tree that it signed"
    } else if forked {
        "the log does not go on from what it had when it was read last: it is forked; keep both checkpoints, they prove it"
    } else {
        return Ok(None);
    };
    Ok(Some(contradiction(words.to_owned())))
}

fn contradiction(words: String) -> Finding {
    Finding {
        oddity: Oddity::Contradiction,
        entries: Vec::new(),
        words,
    }
}

pub(super) fn garbled<E: std::error::Error + 'static>(path: &str, why: &str) -> AuditError<E> {
    AuditError::Garbled {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}
