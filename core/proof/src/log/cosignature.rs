//! Cosignatures (c2sp.org/tlog-cosignature, Ed25519): a witness saw this checkpoint, at a time.
//!
//! The signature line is the key's short id, the time (seconds since the Unix epoch, 8 bytes big
//! endian) and the signature over header, time and the checkpoint's text.

use super::note::{Algorithm, Note, NoteError, NoteSignature, VerifierKey};
use crate::key::SecretKey;

/// The latest time that a cosignature may have, seconds.
const TIME_MAX: u64 = i64::MAX as u64;

/// The time (Unix seconds) of a witness's cosignature, the latest if there are several. Every line
/// that claims to be of this witness must verify.
///
/// # Errors
/// [`NoteError::Missing`] or [`NoteError::Forged`].
pub fn verify(note: &Note, witness: &VerifierKey) -> Result<u64, NoteError> {
    let mut latest = None;
    for line in note.by(witness) {
        let time = verify_line(note.text(), line, witness).ok_or(NoteError::Forged)?;
        latest = latest.max(Some(time));
    }
    latest.ok_or(NoteError::Missing)
}

/// A witness's line for a checkpoint's text, or `None` if the name is no name for a key.
#[must_use]
pub fn sign(text: &str, name: &str, secret: &SecretKey, unix_s: u64) -> Option<NoteSignature> {
    let key = VerifierKey::new(name, Algorithm::CosignatureV1, secret.public())?;
    let signature = secret.sign(&message(text, unix_s));
    let bytes = [&unix_s.to_be_bytes()[..], &signature].concat();
    Some(NoteSignature {
        name: name.to_owned(),
        id: key.id(),
        bytes,
    })
}

/// What a witness signs.
#[must_use]
pub fn message(text: &str, unix_s: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {unix_s}\n{text}").into_bytes()
}

fn verify_line(text: &str, line: &NoteSignature, witness: &VerifierKey) -> Option<u64> {
    let (time, signature) = line.bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let signature = signature.try_into().ok()?;
    let signed = witness.algorithm() == Algorithm::CosignatureV1
        && time <= TIME_MAX
        && witness.key().verifies(&message(text, time), signature);
    signed.then_some(time)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::encoding::{array_from_hex, base64, sha256};
    use crate::key::PublicKey;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../vectors/public.json")).unwrap()
    }

    #[test]
    fn cosignatures_of_sunlight() {
        for (name, pair) in vectors()["sunlight"]["cosigned"].as_object().unwrap() {
            let seed = sha256(&[pair[0].as_str().unwrap().as_bytes()]);
            let key = SecretKey::from_seed(&seed).public();
            let key = VerifierKey::new(name, Algorithm::CosignatureV1, key).unwrap();
            let note = Note::parse(pair[1].as_str().unwrap().as_bytes()).unwrap();
            assert_eq!(verify(&note, &key), Ok(0x6954_6780), "{name}");
        }
    }

    #[test]
    fn cosignatures_of_the_sigsum_test_log() {
        let vector = &vectors()["sigsum"];
        let root: [u8; 32] = array_from_hex(vector["root"].as_str().unwrap()).unwrap();
        let size = vector["size"].as_u64().unwrap();
        let log = vector["log"].as_str().unwrap();
        let text = format!("sigsum.org/v1/tree/{log}\n{size}\n{}\n", base64(&root));
        let keys: Vec<_> = vector["witnesses"]
            .as_object()
            .unwrap()
            .values()
            .map(|key| PublicKey::from_hex(key.as_str().unwrap()).unwrap())
            .collect();
        let mut verified = 0;
        for line in vector["cosignatures"].as_array().unwrap() {
            let fields: Vec<_> = line.as_str().unwrap().split(' ').collect();
            let time = fields[1].parse().unwrap();
            let signature = array_from_hex(fields[2]).unwrap();
            if let Some(key) = keys.iter().find(|key| key.id().to_string() == fields[0]) {
                assert!(
                    key.verifies(&message(&text, time), &signature),
                    "{}",
                    fields[0]
                );
                verified += 1;
            }
        }
        assert_eq!(
            (verified, keys.len()),
            (8, 8),
            "the ninth is nobody's that we know"
        );
        let signature = array_from_hex(vector["signature"].as_str().unwrap()).unwrap();
        let logs: Vec<_> = vector["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| PublicKey::from_hex(key.as_str().unwrap()).unwrap())
            .collect();
        let signer = logs.iter().find(|key| key.id().to_string() == log).unwrap();
        assert!(signer.verifies(text.as_bytes(), &signature));
    }

    #[test]
    fn a_changed_time_is_a_forgery() {
        let log = SecretKey::from_seed(&[1; 32]);
        let witness = SecretKey::from_seed(&[2; 32]);
        let mut note = Note::sign("log\n1\nx\n", "log", &log).unwrap();
        let mut line = sign(note.text(), "w", &witness, 1000).unwrap();
        let key = VerifierKey::new("w", Algorithm::CosignatureV1, witness.public()).unwrap();
        assert_eq!(verify(&note, &key), Err(NoteError::Missing));
        let mut signed = note.clone();
        signed.add(line.clone());
        assert_eq!(verify(&signed, &key), Ok(1000));
        line.bytes[7] ^= 1;
        note.add(line);
        assert_eq!(verify(&note, &key), Err(NoteError::Forged));
    }
}
