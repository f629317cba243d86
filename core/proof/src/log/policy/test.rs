use super::*;
use crate::key::{PublicKey, SecretKey};

fn witness(name: &str, seed: u8) -> (String, SecretKey) {
    let secret = SecretKey::from_seed(&[seed; 32]);
    let key = VerifierKey::new(name, Algorithm::CosignatureV1, secret.public()).unwrap();
    (key.to_string(), secret)
}

fn log() -> (String, SecretKey) {
    let secret = SecretKey::from_seed(&[100; 32]);
    let key = VerifierKey::new("log.example", Algorithm::Ed25519, secret.public()).unwrap();
    (key.to_string(), secret)
}

fn note() -> Note {
    let checkpoint = Checkpoint {
        origin: "log.example".to_owned(),
        size: 5,
        root: [3; 32],
    };
    checkpoint.sign(&log().1).unwrap()
}

/// The example of the specification: two of the Xs and any of the Ys.
fn example() -> String {
    let mut text = format!("# ours\n log {} \thttps://log.example/\n", log().0);
    for (index, name) in ["X1", "X2", "X3", "Y1", "Y2", "Y3"].iter().enumerate() {
        let key = witness(&format!("w.example/{name}"), index as u8).0;
        text.push_str(&format!("witness {name} {key}\n"));
    }
    text + "\ngroup X 2 X1 X2 X3\ngroup Y any Y1 Y2 Y3\ngroup both all X Y\nquorum both\n"
}

fn cosigned(by: &[usize]) -> Note {
    let mut note = note();
    for index in by {
        let name = ["X1", "X2", "X3", "Y1", "Y2", "Y3"][*index];
        let name = format!("w.example/{name}");
        let secret = witness(&name, *index as u8).1;
        note.add(cosignature::sign(note.text(), &name, &secret, 1000 + *index as u64).unwrap());
    }
    note
}

#[test]
fn the_quorum_of_the_example() {
    let policy = Policy::parse(&example()).unwrap();
    for (by, enough) in [
        (&[][..], false),
        (&[0, 1], false),
        (&[0, 3, 4, 5], false),
        (&[0, 2, 5], true),
        (&[0, 1, 2, 3, 4, 5], true),
    ] {
        let checked = policy.check(&cosigned(by));
        assert_eq!(checked.is_ok(), enough, "{by:?}");
        match checked {
            Ok(witnessed) => assert_eq!(witnessed.witnesses.len(), by.len()),
            Err(error) => assert_eq!(error, Unsatisfied::Quorum),
        }
    }
}

#[test]
fn a_line_twice_is_one_witness() {
    let policy = Policy::parse(&example()).unwrap();
    assert_eq!(
        policy.check(&cosigned(&[0, 0, 3])),
        Err(Unsatisfied::Quorum)
    );
}

#[test]
fn the_rule_of_the_sigsum_test_log() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/public.json")).unwrap();
    let vector = &vectors["sigsum"];
    let mut text = String::new();
    for (name, key) in vector["witnesses"].as_object().unwrap() {
        let key = PublicKey::from_hex(key.as_str().unwrap()).unwrap();
        let key = VerifierKey::new(name, Algorithm::CosignatureV1, key).unwrap();
        text.push_str(&format!("witness {name} {key}\n"));
    }
    let policy = Policy::parse(&(text + vector["groups"].as_str().unwrap())).unwrap();
    assert_eq!(policy.witnesses().len(), 8);
    assert!(!policy.asks_nobody());
    // Four of: the three's group by two, and five others.
    let at = |name: &str| {
        policy
            .witnesses
            .iter()
            .position(|w| w.name == name)
            .unwrap()
    };
    let agree = |names: &[&str]| {
        let mut times = vec![None; 8];
        names.iter().for_each(|name| times[at(name)] = Some(1));
        policy.agrees(policy.quorum.unwrap(), &times)
    };
    let three = [
        "witness.navigli.sunlight.geomys.org",
        "remora.n621.de",
        "witness.stagemole.eu",
    ];
    assert!(!agree(&three));
    assert!(!agree(&[&three[..], &["rgdd.se/poc-witness"]].concat()));
    assert!(agree(
        &[&three[..], &["rgdd.se/poc-witness", "poc.sigsum.org/nisse"]].concat()
    ));
}

#[test]
fn a_forged_line_of_a_known_witness_spoils_the_checkpoint() {
    let policy = Policy::parse(&example()).unwrap();
    let mut note = cosigned(&[0, 1, 3]);
    let mut line = note.signatures()[1].clone();
    line.bytes[20] ^= 1;
    note.add(line);
    assert_eq!(policy.check(&note), Err(Unsatisfied::Witness));
}

#[test]
fn another_log_is_refused() {
    let policy = Policy::parse("quorum none\n").unwrap();
    assert!(policy.asks_nobody());
    let missing = CheckpointError::Note(NoteError::Missing);
    assert_eq!(policy.check(&note()), Err(Unsatisfied::Log(missing)));
}

#[test]
fn what_is_no_policy() {
    let (log_key, (a, _)) = (log().0, witness("a", 1));
    for (text, error) in [
        (String::new(), PolicyError::Quorum),
        ("quorum none\nquorum none\n".to_owned(), PolicyError::Quorum),
        ("quorum a\n".to_owned(), PolicyError::Unknown(1)),
        (
            format!("witness a {a}\nwitness b {a}\n"),
            PolicyError::Twice(2),
        ),
        (format!("witness none {a}\n"), PolicyError::Twice(1)),
        (
            format!("log {log_key}\nlog {log_key}\n"),
            PolicyError::Twice(2),
        ),
        (format!("log {a}\n"), PolicyError::Line(1)),
        (format!("witness a {log_key}\n"), PolicyError::Line(1)),
        (
            format!("witness a {a}\ngroup g 2 a\n"),
            PolicyError::Line(2),
        ),
        (
            format!("witness a {a}\ngroup g 0 a\n"),
            PolicyError::Line(2),
        ),
        (
            format!("witness a {a}\ngroup g all\n"),
            PolicyError::Line(2),
        ),
        (
            format!("witness a {a}\ngroup g any g\n"),
            PolicyError::Unknown(2),
        ),
        (
            format!("witness a {a}\ngroup g any a a\n"),
            PolicyError::Twice(2),
        ),
        (
            format!("witness a {a}\ngroup g any a\ngroup h any a\n"),
            PolicyError::Twice(3),
        ),
        ("quorum none\r\n".to_owned(), PolicyError::Form),
        ("whatever\n".to_owned(), PolicyError::Line(1)),
    ] {
        assert_eq!(Policy::parse(&text), Err(error), "{text:?}");
    }
}
