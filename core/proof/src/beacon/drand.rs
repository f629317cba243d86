//! drand's quicknet: a threshold of the League of Entropy signs each round's number (BLS12-381,
//! unchained, signatures on G1, RFC 9380), every 3 s. The beacon is the SHA-256 of the signature.

use crate::encoding::{array_from_hex, sha256};
use bls12_381::hash_to_curve::{ExpandMsgXmd, HashToCurve};
use bls12_381::{G1Affine, G1Projective, G2Affine, pairing};
use sha2::Sha256;

/// The network's public key, of its chain 52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971.
const QUICKNET: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c\
     8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb\
     5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
/// When round 1 was due, Unix seconds.
pub const GENESIS_S: u64 = 1_692_803_367;
/// Seconds from one round to the next.
pub const PERIOD_S: u64 = 3;
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// Why a signature is no beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrandError {
    /// No compressed point of the group, or none at all.
    #[error("the beacon's signature is no point of the curve's group")]
    Point,
    /// A point that is not this round's signature.
    #[error("the beacon's signature is not quicknet's for this round; ask another relay")]
    Forged,
}

/// The beacon of a round of quicknet, from its 48 signature bytes.
///
/// # Errors
/// Every [`DrandError`].
pub fn verify(round: u64, signature: &[u8; 48]) -> Result<[u8; 32], DrandError> {
    let point: Option<G1Affine> = G1Affine::from_compressed(signature).into();
    let point = point
        .filter(|point| !bool::from(point.is_identity()))
        .ok_or(DrandError::Point)?;
    let key = array_from_hex(QUICKNET).and_then(|bytes| G2Affine::from_compressed(&bytes).into());
    let key: G2Affine = key.ok_or(DrandError::Point)?;
    let message = sha256(&[&round.to_be_bytes()]);
    let hashed = <G1Projective as HashToCurve<ExpandMsgXmd<Sha256>>>::hash_to_curve(
        [message].as_slice(),
        DOMAIN,
    );
    let signed = pairing(&point, &G2Affine::generator()) == pairing(&hashed.into(), &key);
    if signed {
        Ok(sha256(&[signature]))
    } else {
        Err(DrandError::Forged)
    }
}

/// The round that is due at a time, `None` before the first.
#[must_use]
pub const fn round_at(unix_s: u64) -> Option<u64> {
    match unix_s.checked_sub(GENESIS_S) {
        Some(since) => Some(since / PERIOD_S + 1),
        None => None,
    }
}

/// When a round is due, Unix seconds; `None` for round 0 and for rounds that no clock reaches.
#[must_use]
pub const fn due_s(round: u64) -> Option<u64> {
    match round.checked_sub(1) {
        Some(before) => match before.checked_mul(PERIOD_S) {
            Some(seconds) => seconds.checked_add(GENESIS_S),
            None => None,
        },
        None => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// Rounds that quicknet published.
    const ROUNDS: [(u64, &str); 2] = [
        (
            123,
            "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482e26cd02df835d3546d23c4b13e0dfc92",
        ),
        (
            1000,
            "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39",
        ),
    ];

    #[test]
    fn rounds_of_quicknet() {
        for (round, signature) in ROUNDS {
            let bytes: [u8; 48] = array_from_hex(signature).unwrap();
            assert_eq!(verify(round, &bytes), Ok(sha256(&[&bytes])), "{round}");
            assert_eq!(verify(round + 1, &bytes), Err(DrandError::Forged));
            for position in [0, 1, 20, 47] {
                let mut flipped = bytes;
                flipped[position] ^= 1;
                assert!(verify(round, &flipped).is_err(), "byte {position}");
            }
        }
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        assert_eq!(verify(1, &infinity), Err(DrandError::Point));
    }

    /// docs/verify/verify.py checks the same ones with another pairing.
    #[test]
    fn a_round_is_what_the_vectors_say_of_it() {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../vectors/quicknet.json")).unwrap();
        let cases = file["quicknet"]["cases"].as_array().unwrap();
        for case in cases {
            let signature: Option<[u8; 48]> = array_from_hex(case["signature"].as_str().unwrap());
            let round = case["round"].as_u64().unwrap();
            let value = signature.and_then(|signature| verify(round, &signature).ok());
            let value = value.map(|value| crate::encoding::hex(&value));
            assert_eq!(
                value.as_deref(),
                case["beacon"].as_str(),
                "{}",
                case["name"]
            );
        }
        let right = cases.iter().filter(|case| case["beacon"].is_string());
        assert_eq!(right.count(), 2);
    }

    #[test]
    fn rounds_and_times() {
        assert_eq!(
            (due_s(1), due_s(0), due_s(u64::MAX)),
            (Some(GENESIS_S), None, None)
        );
        assert_eq!(round_at(GENESIS_S - 1), None);
        assert_eq!(
            (round_at(GENESIS_S + 2), round_at(GENESIS_S + 3)),
            (Some(1), Some(2))
        );
    }
}
