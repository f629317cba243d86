//! Directories in pages: what a reader takes, and what it refuses.

use super::{NOW, secret};
use nearlight_proof::canon;
use nearlight_proof::encoding::{hex, sha256};
use nearlight_proof::receipt::Directory;
use nearlight_proof::receipt::directory::{DIRECTORY_PAGE, DIRECTORY_PAGED, Role};
use nearlight_proof::receipt::envelope::Envelope;
use serde_json::{Value, json};

/// The key that signs directories.
const AUTHORITY: u8 = 99;

fn signed(kind: &str, value: &Value, by: u8) -> String {
    let mut envelope = Envelope::new(kind, canon::to_bytes(value));
    envelope.sign(&secret(by));
    String::from_utf8(envelope.to_bytes()).expect("JSON is text")
}

fn page(seeds: &[u8], by: u8) -> String {
    let key = |seed: &u8| {
        json!({
            "key": hex(secret(*seed).public().as_bytes()), "role": "checker", "operator": format!("o{seed}"),
            "licence": null, "from_s": NOW - 1000, "until_s": NOW + 1000, "revoked_at_s": null,
        })
    };
    let keys: Vec<Value> = seeds.iter().map(key).collect();
    signed(DIRECTORY_PAGE, &json!({ "keys": keys }), by)
}

/// An edition that names these.
fn edition(pages: &[&String], by: u8) -> String {
    let named: Vec<String> = pages
        .iter()
        .map(|page| hex(&sha256(&[page.as_bytes()])))
        .collect();
    let value = json!({ "serial": 7, "issued_at_s": NOW, "pages": named });
    signed(DIRECTORY_PAGED, &value, by)
}

pub(crate) fn pages() -> Value {
    let (one, two) = (page(&[1, 2], AUTHORITY), page(&[3], AUTHORITY));
    let foreign = page(&[4], 98);
    let both = edition(&[&one, &two], AUTHORITY);
    let cases = [
        ("two pages", vec![&both, &one, &two]),
        ("a page is left out", vec![&both, &one]),
        ("no page at all", vec![&both]),
        ("pages in another order", vec![&both, &two, &one]),
        ("a page more than is named", vec![&both, &one, &two, &two]),
        ("a page alone", vec![&one]),
        (
            "a page of another key",
            vec![&edition(&[&foreign], AUTHORITY), &foreign],
        ),
        (
            "an edition of another key",
            vec![&edition(&[&one], 98), &one],
        ),
    ]
    .map(|(name, lines)| case(name, &lines));
    json!({ "authority": hex(secret(AUTHORITY).public().as_bytes()), "cases": cases })
}

/// How many keys it has; none if it is refused.
fn case(name: &str, lines: &[&String]) -> Value {
    let text: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
    let text = text.join("\n");
    let read = Directory::open(text.as_bytes(), &secret(AUTHORITY).public());
    let keys = read.ok().map(|read| read.of(Role::Checker).count());
    json!({ "name": name, "directory": text, "keys": keys })
}
