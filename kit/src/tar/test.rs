//! Archives as they are made here and elsewhere, and such as nobody should make.

use super::*;

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o640,
        mtime_s: 1_700_000_000,
    }
}

fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (entry, content) in entries {
        out.extend(header(entry));
        out.extend_from_slice(content);
        out.resize(out.len() + padding(content.len() as u64), 0);
    }
    out.extend(END);
    out
}

/// All entries with their content.
fn read(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        all.push((entry, content));
    }
    Ok(all)
}

#[test]
fn what_is_written_is_read() {
    let long = format!("{}/file", "directory-with-a-name".repeat(8));
    let entries = [
        (entry("a", Kind::Directory), &b""[..]),
        (entry("a/empty", Kind::File(0)), b""),
        (entry("a/ümlaut", Kind::File(3)), b"abc"),
        (entry(&long, Kind::File(600)), &[7; 600]),
        (entry("a/link", Kind::Symlink(b"empty".to_vec())), b""),
        (entry("a/far", Kind::Symlink(long.clone().into())), b""),
    ];
    let bytes = archive(&entries);
    assert_eq!(bytes.len() % BLOCK, 0);
    let found = read(&bytes).unwrap();
    for ((written, content), (read, came)) in entries.iter().zip(&found) {
        let path = read.path.strip_suffix(b"/").unwrap_or(&read.path);
        assert_eq!(path, written.path);
        assert_eq!((&read.kind, read.mode), (&written.kind, 0o640));
        assert_eq!(read.mtime_s, 1_700_000_000);
        assert_eq!(came, content);
    }
    assert_eq!(found.len(), entries.len());
}

#[test]
fn gnu_tar_reads_what_is_written_and_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let name = "n".repeat(150);
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d").join(&name), "content").unwrap();
    std::os::unix::fs::symlink(&name, dir.path().join("d/link")).unwrap();
    for format in ["gnu", "posix"] {
        let packed = std::process::Command::new("tar")
            .args(["--format", format, "-C"])
            .arg(dir.path())
            .args(["-c", "d"])
            .output()
            .unwrap();
        let found = read(&packed.stdout).unwrap();
        assert_eq!(found.len(), 3, "{format}: {found:?}");
        let file = found.iter().find(|(_, content)| content == b"content");
        assert!(file.unwrap().0.path.ends_with(name.as_bytes()), "{format}");
    }
    let bytes = archive(&[(entry(&format!("d/{name}"), Kind::File(2)), b"hi")]);
    let file = dir.path().join("a.tar");
    std::fs::write(&file, bytes).unwrap();
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap().trim(),
        format!("d/{name}")
    );
}

#[test]
fn a_size_beyond_octal_is_said_in_an_extended_header() {
    let size = OCTAL_MAX + 1;
    let head = header(&entry("big", Kind::File(size)));
    let mut reader = Reader::new(head.as_slice());
    let found = reader.next_entry().unwrap().unwrap();
    assert_eq!(found.kind, Kind::File(size));
}

/// A header of this flag, with a right sum.
fn flagged(flag: u8, size: u64) -> Vec<u8> {
    block(b"name", (flag, size, b"target"), 0o644, 0).to_vec()
}

#[test]
fn hard_links_devices_pipes_and_sparse_files_are_refused() {
    for (flag, word) in [
        (b'1', "hard link"),
        (b'3', "device"),
        (b'4', "device"),
        (b'6', "pipe"),
        (b'S', "sparse"),
        (b'V', "unknown"),
    ] {
        let said = read(&flagged(flag, 0)).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
    let mut sparse = flagged(b'x', 28);
    sparse.extend(b"28 GNU.sparse.realsize=9999\n");
    sparse.resize(2 * BLOCK, 0);
    assert!(read(&sparse).unwrap_err().to_string().contains("sparse"));
}

#[test]
fn what_is_garbled_or_cut_off_is_no_archive() {
    let whole = archive(&[(entry("a", Kind::File(700)), &[1; 700])]);
    for cut in [0, 1, 511, 512, 600, 1535, 1536] {
        assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(read(&whole).is_ok());
    let mut wrong = whole.clone();
    wrong[0] = b'b';
    assert!(read(&wrong).is_err(), "the sum is wrong");
    for size in [EXTENDED_BYTES_MAX + 1, OCTAL_MAX] {
        assert!(
            read(&flagged(b'L', size)).is_err(),
            "a long name of {size} bytes"
        );
    }
    for text in [
        "x",
        "9999 path=a\n",
        "5 a\n",
        "0 a=b\n",
        " path=a\n",
        "6 a=b",
    ] {
        let mut bytes = flagged(b'x', text.len() as u64);
        bytes.extend(text.as_bytes());
        bytes.resize(2 * BLOCK, 0);
        bytes.extend(flagged(b'0', 0));
        bytes.extend(END);
        assert!(read(&bytes).is_err(), "{text:?}");
    }
    let size = format!("{}", u64::MAX);
    let text = format!("29 size={size}\n");
    assert_eq!(text.len(), 29);
    let mut bytes = flagged(b'x', 29);
    bytes.extend(text.as_bytes());
    bytes.resize(2 * BLOCK, 0);
    bytes.extend(flagged(b'0', 0));
    bytes.extend(END);
    assert!(read(&bytes).is_err(), "a size beyond any sum");
    let mut huge = flagged(b'0', 0);
    huge[124..136].fill(0xff);
    let sum: u32 = huge
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    huge[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert!(read(&huge).is_err(), "a number beyond 64 bits");
}
