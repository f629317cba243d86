//! `checker receipt revoke`: what it signs, and to whom it shows itself.

use crate::scripted::{Member, Scripted, done};
use nearlight_proof::encoding::from_base64;
use serde_json::{Value, json};

#[test]
fn a_receipt_is_taken_back_with_the_checkers_own_key() {
    let broker = Scripted::start();
    let member = Member::new(&broker);
    let leaf = "cd".repeat(32);
    let words = ["receipt", "revoke", &leaf, "--reason", "its key was stolen"];
    let said = done(member.dir.path(), &words);
    assert!(said.contains(&leaf) && said.contains("receipt 1"), "{said}");
    let asked = broker.until("the revocation", |asked| {
        asked.iter().any(|of| of.path == "/v1/receipts")
    });
    let sent = asked.iter().find(|of| of.path == "/v1/receipts").unwrap();
    assert!(sent.certified && sent.method == "POST", "{sent:?}");
    let payload = sent.body["payload"].as_str().unwrap();
    let statement: Value = serde_json::from_slice(&from_base64(payload).unwrap()).unwrap();
    assert_eq!(
        statement["predicateType"],
        "https://nearlight.dev/revoke/v1"
    );
    assert_eq!(statement["subject"][0]["digest"]["sha256"], leaf);
    let body = &statement["predicate"]["body"];
    assert_eq!(
        *body,
        json!({ "from_s": 0, "reason": "its key was stolen" })
    );
    let own = done(member.dir.path(), &["key"]);
    let issuer = statement["predicate"]["head"]["issuer"].as_str().unwrap();
    assert!(own.contains(issuer), "{own}: {issuer}");
    assert_eq!(sent.body["signatures"][0]["keyid"], issuer);
}
