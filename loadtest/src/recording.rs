//! Recorded access units: what a real worker encoded, to be replayed as if one did.
//!
//! ```text
//! file   = "NLAU" version=1 unit*
//! unit   = [key u8][bytes u32 little-endian][access unit]
//! ```

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const HEAD: &[u8] = b"NLAU\x01";
/// No encoder of ours makes a larger picture.
const UNIT_BYTES_MAX: usize = 8 << 20;

/// An access unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether it refers to nothing before it.
    pub key: bool,
    /// Annex B for H.264.
    pub data: Vec<u8>,
}

/// Writes a recording.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
}

impl Recorder {
    /// A new file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot write to {}", path.display()))?;
        let mut file = BufWriter::new(file);
        file.write_all(HEAD)?;
        Ok(Self { file })
    }

    /// Adds a unit.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, key: bool, data: &[u8]) -> Result<()> {
        let bytes = u32::try_from(data.len()).context("an access unit of 4 GiB")?;
        self.file.write_all(&[u8::from(key)])?;
        self.file.write_all(&bytes.to_le_bytes())?;
        Ok(self.file.write_all(data)?)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The disk is full.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}

/// Reads a recording, from its first key frame on.
///
/// # Errors
/// It is none, or has no key frame.
pub fn read(path: &Path) -> Result<Vec<Unit>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let units = parse(&bytes).with_context(|| {
        format!(
            "{} is no recording of `loadtest stream --record`",
            path.display()
        )
    })?;
    let units: Vec<Unit> = units.into_iter().skip_while(|unit| !unit.key).collect();
    ensure!(!units.is_empty(), "{} has no key frame", path.display());
    Ok(units)
}

fn parse(bytes: &[u8]) -> Result<Vec<Unit>> {
    let mut rest = bytes.strip_prefix(HEAD).context("it begins otherwise")?;
    let mut units = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<5>() {
        let [key, length @ ..] = *head;
        let length = u32::from_le_bytes(length) as usize;
        if length > UNIT_BYTES_MAX || key > 1 || length > after.len() {
            bail!("unit {} is cut off or no unit", units.len());
        }
        let (data, next) = after.split_at(length);
        units.push(Unit {
            key: key == 1,
            data: data.to_vec(),
        });
        rest = next;
    }
    ensure!(rest.is_empty(), "it ends within a unit's head");
    Ok(units)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_recording_is_read_back_from_its_key_frame_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("units");
        let mut recorder = Recorder::create(&path).unwrap();
        for (key, data) in [(false, &b"old"[..]), (true, b"key"), (false, b"")] {
            recorder.add(key, data).unwrap();
        }
        recorder.finish().unwrap();
        let unit = |key, data: &[u8]| Unit {
            key,
            data: data.to_vec(),
        };
        assert_eq!(read(&path).unwrap(), [unit(true, b"key"), unit(false, b"")]);
        let mut torn = std::fs::read(&path).unwrap();
        torn.pop();
        std::fs::write(&path, &torn).unwrap();
        assert!(read(&path).is_err());
        std::fs::write(&path, b"NLAU\x02").unwrap();
        assert!(read(&path).is_err());
    }
}
