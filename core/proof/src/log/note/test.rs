use super::*;
use proptest::prelude::*;

fn vectors() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../vectors/public.json")).unwrap()
}

#[test]
fn the_example_of_the_specification() {
    let vector = &vectors()["note"];
    let key = VerifierKey::parse(vector["vkey"].as_str().unwrap()).unwrap();
    let text = vector["note"].as_str().unwrap();
    let note = Note::parse(text.as_bytes()).unwrap();
    assert_eq!(note.verify(&key), Ok(()));
    assert_eq!(note.to_string(), text);
    assert_eq!(key.to_string(), vector["vkey"].as_str().unwrap());
}

#[test]
fn checkpoints_of_the_go_sum_database() {
    let vector = &vectors()["sumdb"];
    let key = VerifierKey::parse(vector["vkey"].as_str().unwrap()).unwrap();
    for note in vector["notes"].as_array().unwrap() {
        let note = Note::parse(note.as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(note.verify(&key), Ok(()));
    }
}

#[test]
fn a_line_of_a_known_key_that_does_not_verify_spoils_the_note() {
    let secret = SecretKey::from_seed(&[1; 32]);
    let key = VerifierKey::new("log.example", Algorithm::Ed25519, secret.public()).unwrap();
    let mut note = Note::sign("hello\n", "log.example", &secret).unwrap();
    assert_eq!(note.verify(&key), Ok(()));
    let mut forged = note.signatures()[0].clone();
    forged.bytes[0] ^= 1;
    note.add(forged);
    assert_eq!(note.verify(&key), Err(NoteError::Forged));
    let other = VerifierKey::new("other.example", Algorithm::Ed25519, secret.public()).unwrap();
    assert_eq!(note.verify(&other), Err(NoteError::Missing));
}

#[test]
fn what_is_no_note() {
    for text in [
        "",
        "text\n",
        "text\n\n",
        "text\n\n\u{2014} name AAAAAAA=",
        "text\n\n\u{2014} name AAAAAAA=\nmore\n",
        "text\n\n- name AAAAAAA=\n",
        "text\n\n\u{2014} na+me AAAAAAA=\n",
        "text\n\n\u{2014}  AAAAAAA=\n",
        "text\n\n\u{2014} name AAAAAA==\n",
        "text\r\n\n\u{2014} name AAAAAAA=\n",
    ] {
        assert!(Note::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(Note::parse("text\n\n\u{2014} name AAAAAAA=\n".as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn what_is_taken_is_written_as_it_was_read(text in "\\PC{0,20}\n\n\u{2014} [a-z]{1,3} [AQgw]{6}A=\n") {
        if let Ok(note) = Note::parse(text.as_bytes()) {
            prop_assert_eq!(note.to_string(), text);
        }
    }
}
