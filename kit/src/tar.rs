//! Tar archives (POSIX.1-2001, and GNU's long names and sizes): files, directories and symbolic links.
//!
//! **Invariants.** What an archive says is bounded before anything is allocated or read: names, sizes, headers. Hard
//! links, devices, pipes and sparse files are refused, so that an archive never makes more than it carries, and
//! never names what was there before it. Nothing is followed here, for nothing is opened.
//!
//! **What it does not know:** where names lead; [`crate::tree`] does.

use std::io::{self, Read};

/// All sizes are of so many bytes.
pub const BLOCK: usize = 512;
/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Longest name or link.
pub const NAME_BYTES_MAX: usize = 4096;
/// Largest extended header.
const EXTENDED_BYTES_MAX: u64 = 64 * 1024;
/// Largest size of a file that is believed.
const SIZE_MAX: u64 = 1 << 62;
/// Largest size that twelve octal digits of a header say.
const OCTAL_MAX: u64 = 0o77_777_777_777;

/// One thing in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, parts separated by `/`, as the archive has it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, the lowest nine bits.
    pub mode: u32,
    /// When it was changed, seconds since the Unix epoch.
    pub mtime_s: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file of so many bytes, which follow.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Its source.
    #[error("the archive broke off")]
    Io(#[from] io::Error),
    /// It is none.
    #[error("this is no tar archive: {0}")]
    Garbled(&'static str),
    /// It has something that is never taken.
    #[error("`{path}` is {what}, which is not copied")]
    Refused {
        /// Which.
        path: String,
        /// What it is.
        what: &'static str,
    },
}

/// The header of an entry, extended ones before it.
pub fn header(entry: &Entry) -> Vec<u8> {
    let (flag, size, link): (u8, u64, &[u8]) = match &entry.kind {
        Kind::File(size) => (b'0', *size, b""),
        Kind::Directory => (b'5', 0, b""),
        Kind::Symlink(link) => (b'2', 0, link),
    };
    let mut path = entry.path.clone();
    if flag == b'5' && !path.ends_with(b"/") {
        path.push(b'/');
    }
    let mut records = Vec::new();
    let is_long = |name: &[u8]| name.len() > 100 || !name.is_ascii();
    if is_long(&path) {
        records.extend(record("path", &path));
    }
    if is_long(link) {
        records.extend(record("linkpath", link));
    }
    if size > OCTAL_MAX {
        records.extend(record("size", size.to_string().as_bytes()));
    }
    let mut out = Vec::new();
    if !records.is_empty() {
        let length = u64::try_from(records.len()).unwrap_or(u64::MAX);
        out.extend(block(b"PaxHeaders/x", (b'x', length, b""), 0o644, 0));
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(length), 0);
    }
    out.extend(block(
        &path,
        (flag, size, link),
        entry.mode & 0o777,
        entry.mtime_s,
    ));
    out
}

/// Zeros after so many bytes of a file.
pub fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if over == 0 { 0 } else { BLOCK - over }
}

fn block(
    path: &[u8],
    (flag, size, link): (u8, u64, &[u8]),
    mode: u32,
    mtime_s: u64,
) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], max: usize| {
        let length = bytes.len().min(max);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, path, 100);
    put(100, format!("{mode:07o}").as_bytes(), 7);
    put(108, b"0000000", 7);
    put(116, b"0000000", 7);
    // A larger one stands in the extended header.
    put(124, format!("{:011o}", size.min(OCTAL_MAX)).as_bytes(), 11);
    let mtime = mtime_s.min(OCTAL_MAX);
    put(136, format!("{mtime:011o}").as_bytes(), 11);
    put(148, b"        ", 8);
    put(156, &[flag], 1);
    put(157, link, 100);
    put(257, b"ustar\x0000", 8);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A record of an extended header: its own length in decimal, a space, `key=value` and a line end.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let start = format!("{length} {key}=");
    [start.as_bytes(), value, b"\n"].concat()
}

/// Reads an archive, entry by entry. What it is read from is a file's content until the next entry is asked
/// for.
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    /// Of the file that is being read.
    left: u64,
    padding: usize,
}

#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// Of the bytes of `inner`.
    pub const fn new(inner: R) -> Self {
        Self {
            inner,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; `None` at the end. What was not read of a file is passed over.
    ///
    /// # Errors
    /// [`TarError`]; nothing more is read after one.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.pass()?;
        let mut extended = Extended::default();
        loop {
            let block = self.block()?;
            if block == [0; BLOCK] {
                // A reader on the other side of a pipe is to get rid of all of it.
                io::copy(
                    &mut (&mut self.inner).take(EXTENDED_BYTES_MAX),
                    &mut io::sink(),
                )?;
                return Ok(None);
            }
            check_sum(&block)?;
            let flag = block[156];
            let size = number(&block[124..136])?;
            match flag {
                b'x' => self.extended(size, &mut extended)?,
                b'g' => drop(self.text(size)?),
                b'L' => extended.path = Some(until_zero(&self.text(size)?).to_vec()),
                b'K' => extended.link = Some(until_zero(&self.text(size)?).to_vec()),
                _ => return self.entry(&block, extended).map(Some),
            }
        }
    }

    fn entry(&mut self, block: &[u8; BLOCK], extended: Extended) -> Result<Entry, TarError> {
        let path = extended.path.unwrap_or_else(|| short_path(block));
        let link = || extended.link.unwrap_or_else(|| field(block, 157, 100));
        let size = match extended.size {
            Some(size) => size,
            None => number(&block[124..136])?,
        };
        let refused = |what| TarError::Refused {
            path: String::from_utf8_lossy(&path).into_owned(),
            what,
        };
        let kind = match block[156] {
            // Of old, a name with a slash at its end is a directory.
            0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File(size),
            b'5' => Kind::Directory,
            b'2' => Kind::Symlink(link()),
            b'1' => return Err(refused("a hard link")),
            b'3' | b'4' => return Err(refused("a device")),
            b'6' => return Err(refused("a named pipe")),
            b'S' => return Err(refused("a sparse file")),
            _ => return Err(refused("of an unknown kind")),
        };
        if path.len() > NAME_BYTES_MAX {
            return Err(TarError::Garbled("a name is too long"));
        }
        if let Kind::File(size) = kind {
            // Sums with it stay numbers.
            if size > SIZE_MAX {
                return Err(TarError::Garbled("a size is beyond any file"));
            }
            self.left = size;
            self.padding = padding(size);
        }
        Ok(Entry {
            path,
            kind,
            mode: u32::try_from(number(&block[100..108])? & 0o777).unwrap_or(0o600),
            mtime_s: number(&block[136..148])?,
        })
    }

    /// Passes over the rest of a file.
    fn pass(&mut self) -> Result<(), TarError> {
        let rest = self.left + self.padding as u64;
        let passed = io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())?;
        (self.left, self.padding) = (0, 0);
        if passed == rest {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())
    }

    /// The next block. An archive that ends without its end was cut off, or could not be told from a whole one.
    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block)?;
        Ok(block)
    }

    /// The content of an extended header.
    fn text(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > EXTENDED_BYTES_MAX {
            return Err(TarError::Garbled("an extended header is too long"));
        }
        let mut text = Vec::new();
        let whole = size + padding(size) as u64;
        (&mut self.inner).take(whole).read_to_end(&mut text)?;
        if text.len() as u64 != whole {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        text.truncate(usize::try_from(size).unwrap_or(0));
        Ok(text)
    }

    fn extended(&mut self, size: u64, extended: &mut Extended) -> Result<(), TarError> {
        const WRONG: TarError = TarError::Garbled("an extended header is none");
        let text = self.text(size)?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(WRONG)?;
            let length = std::str::from_utf8(&rest[..space]).map_err(|_| WRONG)?;
            let length: usize = length.parse().map_err(|_| WRONG)?;
            let line = rest.get(space + 1..length).ok_or(WRONG)?;
            let line = line.strip_suffix(b"\n").ok_or(WRONG)?;
            let equals = line.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
            let (key, value) = (&line[..equals], &line[equals + 1..]);
            match key {
                b"path" => extended.path = Some(value.to_vec()),
                b"linkpath" => extended.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).map_err(|_| WRONG)?;
                    extended.size = Some(size.parse().map_err(|_| WRONG)?);
                }
                _ if key.starts_with(b"GNU.sparse") => {
                    return Err(TarError::Garbled("sparse files are not copied"));
                }
                _ => {}
            }
            rest = &rest[length..];
        }
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let read = (&mut self.inner).take(self.left).read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn check_sum(block: &[u8; BLOCK]) -> Result<(), TarError> {
    let of = |(at, byte): (usize, &u8)| match at {
        148..156 => u64::from(b' '),
        _ => u64::from(*byte),
    };
    let sum: u64 = block.iter().enumerate().map(of).sum();
    if number(&block[148..156])? == sum {
        return Ok(());
    }
    Err(TarError::Garbled("a header's sum is wrong"))
}

/// A number in octal, or in GNU's binary.
fn number(field: &[u8]) -> Result<u64, TarError> {
    const WRONG: TarError = TarError::Garbled("a number is none");
    if field[0] & 0x80 != 0 {
        let mut bytes = field.iter().copied();
        let first = u64::from(bytes.next().unwrap_or(0) & 0x7f);
        return bytes.try_fold(first, |number, byte| {
            let shifted = number.checked_mul(256).ok_or(WRONG)?;
            Ok(shifted | u64::from(byte))
        });
    }
    let text = until_zero(field).trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    u64::from_str_radix(text, 8).map_err(|_| WRONG)
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn field(block: &[u8; BLOCK], at: usize, length: usize) -> Vec<u8> {
    until_zero(&block[at..at + length]).to_vec()
}

fn short_path(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = field(block, 0, 100);
    let is_posix = &block[257..263] == b"ustar\0";
    let prefix = if is_posix {
        field(block, 345, 155)
    } else {
        Vec::new()
    };
    match prefix.is_empty() {
        true => name,
        false => [prefix.as_slice(), b"/", &name].concat(),
    }
}

#[cfg(test)]
#[path = "tar/test.rs"]
mod test;
