use super::*;
use crate::receipt::fixture::{key, porc, statement};
use crate::receipt::predicate::{Dispute, Finding, Porw, Revoke, Verdict};
use crate::receipt::quality::Quality;
use crate::receipt::session::{EdgeSide, Session};
use serde_json::{Value, json};

const ID: KeyId = KeyId([3; 32]);

/// One of each kind, with nothing left empty that can be something.
fn one_of_each() -> Vec<Statement> {
    let quality = || Quality {
        seconds: 60,
        frames: 3600,
        encoder: "x264".to_owned(),
        ..Quality::default()
    };
    let edge = EdgeSide {
        node: ID,
        started_at_s: 1,
        stopped_at_s: 61,
        segments: ID,
        quality: quality(),
    };
    let sample = super::super::quality::PlayerSample::signed(quality(), &key(5));
    let verdict = |dispute| Verdict {
        receipts: vec![ID],
        dispute,
        finding: Finding::Fail,
        score_permille: 1,
        liars: vec![ID, ID],
        step: "step".to_owned(),
        reason: "it says \"so\"\n".to_owned(),
    };
    let played = |signs| Porw {
        session: ID,
        app: "app".to_owned(),
        input: ID,
        markers: [1, 2],
        quality: quality(),
        finding: Finding::Inconclusive,
        reason: "é".to_owned(),
        signs,
    };
    let kinds = [
        Predicate::Porc(Box::new(porc(Finding::Pass))),
        Predicate::Porw(played(None)),
        Predicate::Porw(played(Some([3, 1, 5]))),
        Predicate::Session(Box::new(Session::new(edge, vec![sample]))),
        Predicate::Verdict(verdict(Some(ID))),
        Predicate::Verdict(verdict(None)),
        Predicate::Revoke(Revoke {
            reason: "r".to_owned(),
            from_s: 5,
        }),
        Predicate::Dispute(Dispute {
            claim: "c".to_owned(),
            deadline_s: crate::INTEGER_MAX,
        }),
    ];
    let said = |predicate| {
        let mut said = statement(&key(1), ID, 100, predicate);
        said.head.countersign = Countersign::Refused("why".to_owned());
        said.head.evidence = vec![Evidence {
            sha256: ID,
            bytes: 1,
            kept_until_s: 2,
        }];
        said
    };
    kinds.into_iter().map(said).collect()
}

fn parse(payload: Vec<u8>) -> Result<Statement, StatementError> {
    Statement::parse(&Envelope::new(IN_TOTO, payload))
}

#[test]
fn each_kind_is_written_in_the_one_form_and_read_again() {
    let mut kinds = Vec::new();
    for said in one_of_each() {
        let envelope = said.envelope().unwrap();
        let value = canon::strict(&envelope.payload).expect("the one form");
        assert_eq!(canon::to_bytes(&value), envelope.payload);
        assert_eq!(Statement::parse(&envelope), Ok(said.clone()));
        let other = Envelope::new("text/plain", envelope.payload);
        assert_eq!(Statement::parse(&other), Err(StatementError::Shape));
        kinds.push(said.predicate.kind());
    }
    kinds.dedup();
    assert_eq!(kinds, KINDS);
}

/// Visits every value in a document, each with the document as `change` has made it there.
fn changed(document: &Value, change: &dyn Fn(&mut Value) -> bool, seen: &mut dyn FnMut(&Value)) {
    fn paths(value: &Value, at: String, all: &mut Vec<String>) {
        match value {
            Value::Object(of) => of
                .iter()
                .for_each(|(name, value)| paths(value, format!("{at}/{name}"), all)),
            Value::Array(of) => of
                .iter()
                .enumerate()
                .for_each(|(n, value)| paths(value, format!("{at}/{n}"), all)),
            _ => {}
        }
        all.push(at);
    }
    let mut all = Vec::new();
    paths(document, String::new(), &mut all);
    for path in all {
        let mut other = document.clone();
        if change(other.pointer_mut(&path).expect("it is there")) {
            seen(&other);
        }
    }
}

/// What is JSON in the one form is no statement as soon as anything in it is more, less or of another type.
#[test]
fn a_statement_has_one_shape() {
    let more = |value: &mut Value| match value {
        Value::Object(of) => of.insert("zz".to_owned(), json!(0)).is_none(),
        Value::Array(of) => {
            of.push(json!({}));
            true
        }
        _ => false,
    };
    let less = |value: &mut Value| match value {
        Value::Object(of) => of
            .keys()
            .next()
            .cloned()
            .is_some_and(|name| of.remove(&name).is_some()),
        _ => false,
    };
    // The fields of a struct as a list, which serde would take.
    let listed = |value: &mut Value| {
        let of = value.as_object().cloned();
        of.is_some_and(|of| {
            *value = of.into_iter().map(|(_, value)| value).collect();
            true
        })
    };
    let other = |value: &mut Value| {
        *value = json!(true);
        true
    };
    let changes: [&dyn Fn(&mut Value) -> bool; 4] = [&more, &less, &listed, &other];
    let mut count = 0;
    for said in one_of_each() {
        let payload = said.envelope().unwrap().payload;
        let value: Value = serde_json::from_slice(&payload).unwrap();
        for change in changes {
            changed(&value, change, &mut |document| {
                count += 1;
                let read = parse(canon::to_bytes(document));
                assert_eq!(read, Err(StatementError::Shape), "{document}");
            });
        }
    }
    assert!(count > 500, "{count}");
}

#[test]
fn a_statement_has_one_spelling() {
    let payload = one_of_each().remove(0).envelope().unwrap().payload;
    let text = String::from_utf8(payload).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        parse(text.replacen(from, to, 1).into_bytes())
    };
    let form = |error| Err(StatementError::Form(error));
    let kind = "\"predicateType\":\"https://nearlight.dev/porc/v1\"";
    assert_eq!(
        with(kind, "\"predicateType\":\"https://nearlight.dev/porc/v9\""),
        Err(StatementError::Kind)
    );
    assert_eq!(
        with(kind, "\"predicateType\":\"porc/v1\""),
        Err(StatementError::Kind)
    );
    let twice = "\"round\":7,\"round\":7";
    assert_eq!(with("\"round\":7", twice), form(CanonError::Form));
    assert_eq!(with("\"round\":7", "\"round\": 7"), form(CanonError::Form));
    assert_eq!(with("\"round\":7", "\"round\":07"), form(CanonError::Json));
    assert_eq!(
        with("\"round\":7", "\"round\":7.5"),
        form(CanonError::Number)
    );
    assert_eq!(
        with("\"round\":7", "\"round\":9007199254740992"),
        form(CanonError::Number)
    );
    assert_eq!(
        with("\"round\":7", "\"round\":-7"),
        Err(StatementError::Shape)
    );
    assert_eq!(
        with("\"gpu\":\"cpu\"", "\"gpu\":\"\\u0063pu\""),
        form(CanonError::Form)
    );
    let swapped = "\"finding\":\"pass\",\"fill_root\"";
    assert_eq!(with("\"fill_root\"", swapped), form(CanonError::Form));
    assert_eq!(parse(text.as_bytes()[1..].to_vec()), form(CanonError::Json));
    assert_eq!(
        parse(format!("{text}\n").into_bytes()),
        form(CanonError::Form)
    );
    let mut large = one_of_each().remove(0);
    large.head.issued_at_s = crate::INTEGER_MAX + 1;
    assert_eq!(
        large.envelope().unwrap_err(),
        StatementError::Form(CanonError::Number)
    );
}
