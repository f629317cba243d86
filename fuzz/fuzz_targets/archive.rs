//! Tar archives, of a job or for one: what is taken is within its bounds, and written again it is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use tar::{END, Kind, NAME_BYTES_MAX, Reader, header, padding};

#[allow(dead_code, unreachable_pub, reason = "a module of the kit")]
#[path = "../../kit/src/tar.rs"]
mod tar;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new(bytes);
    while let Ok(Some(entry)) = reader.next_entry() {
        assert!(entry.path.len() <= NAME_BYTES_MAX);
        assert_eq!(entry.mode & !0o777, 0);
        if let Kind::File(size) = entry.kind {
            let mut content = Vec::new();
            if (&mut reader).take(size).read_to_end(&mut content).is_err() {
                return;
            }
            assert_eq!(content.len() as u64, size, "no more and no less");
            assert_eq!((content.len() + padding(size)) % 512, 0);
        }
        let text = |bytes: &[u8]| bytes.contains(&b'\n') || bytes.contains(&0);
        if text(&entry.path) || entry.path.is_empty() {
            continue;
        }
        let mut again = header(&entry);
        again.extend(END);
        let mut reader = Reader::new(again.as_slice());
        let found = reader.next_entry();
        let found = found.expect("what is written is read").expect("an entry");
        let bare = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path).to_vec();
        assert_eq!(bare(&found.path), bare(&entry.path));
        assert_eq!(found.mode, entry.mode);
    }
});
