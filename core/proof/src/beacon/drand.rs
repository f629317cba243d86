//! drand: a threshold of a network's members signs each round's number (BLS12-381, unchained, signatures on G1, RFC 9380).
//! The beacon is the SHA-256 of the signature. [`QUICKNET`] is the League of Entropy's, with a round every 3 s; another
//! network of the same scheme is told by its key and its times.

use crate::encoding::{array_from_hex, hex, sha256};
use bls12_381::hash_to_curve::{ExpandMsgXmd, HashToCurve};
use bls12_381::{G1Affine, G1Projective, G2Affine, pairing};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;

#[cfg(any(test, feature = "fixtures"))]
pub mod fixture;

/// When round 1 of quicknet was due, Unix seconds.
pub const GENESIS_S: u64 = 1_692_803_367;
/// Seconds from one round of quicknet to the next.
pub const PERIOD_S: u64 = 3;
/// The longest period of a network, seconds.
const PERIOD_S_MAX: u64 = 3600;
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// The League of Entropy's network, of its chain 52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971.
pub const QUICKNET: Network = Network {
    key: unhex(
        b"83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c\
          8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb\
          5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a",
    ),
    genesis_s: GENESIS_S,
    period_s: PERIOD_S,
};
/// What text calls [`QUICKNET`].
const NAME: &str = "quicknet";
/// What begins the text of another network: its key, genesis and period follow.
const OTHER: &str = "drand";

/// Why a signature is no beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DrandError {
    /// No compressed point of the group, or none at all.
    #[error("the beacon's signature is no point of the curve's group")]
    Point,
    /// A point that is not this round's signature.
    #[error("the beacon's signature is not the network's for this round; ask another relay")]
    Forged,
}

/// Text that names no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a network of drand is `quicknet`, or `drand:KEY:GENESIS_S:PERIOD_S` with its key in 192 hex digits"
)]
pub struct NoNetwork;

/// A network of drand: whoever has its key and its times can verify each of its rounds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// A point of G2, compressed.
    key: [u8; 96],
    genesis_s: u64,
    period_s: u64,
}

impl Network {
    /// `None` for a key that is no point of the group, and for times that no clock keeps.
    #[must_use]
    pub fn new(key: [u8; 96], genesis_s: u64, period_s: u64) -> Option<Self> {
        let point: Option<G2Affine> = G2Affine::from_compressed(&key).into();
        let is_key = point.is_some_and(|point| !bool::from(point.is_identity()));
        let fits = is_key && (1..=PERIOD_S_MAX).contains(&period_s);
        fits.then_some(Self {
            key,
            genesis_s,
            period_s,
        })
    }

    /// Seconds from one round to the next.
    #[must_use]
    pub const fn period_s(&self) -> u64 {
        self.period_s
    }

    /// The beacon of a round, from its 48 signature bytes.
    ///
    /// # Errors
    /// Every [`DrandError`].
    pub fn verify(&self, round: u64, signature: &[u8; 48]) -> Result<[u8; 32], DrandError> {
        let point: Option<G1Affine> = G1Affine::from_compressed(signature).into();
        let point = point
            .filter(|point| !bool::from(point.is_identity()))
            .ok_or(DrandError::Point)?;
        let key: Option<G2Affine> = G2Affine::from_compressed(&self.key).into();
        let key = key.ok_or(DrandError::Point)?;
        let hashed = hashed(round).into();
        match pairing(&point, &G2Affine::generator()) == pairing(&hashed, &key) {
            true => Ok(sha256(&[signature])),
            false => Err(DrandError::Forged),
        }
    }

    /// The round that is due at a time, `None` before the first.
    #[must_use]
    pub const fn round_at(&self, unix_s: u64) -> Option<u64> {
        match unix_s.checked_sub(self.genesis_s) {
            Some(since) => Some(since / self.period_s + 1),
            None => None,
        }
    }

    /// When a round is due, Unix seconds; `None` for round 0 and for rounds that no clock reaches.
    #[must_use]
    pub const fn due_s(&self, round: u64) -> Option<u64> {
        match round.checked_sub(1) {
            Some(before) => match before.checked_mul(self.period_s) {
                Some(seconds) => seconds.checked_add(self.genesis_s),
                None => None,
            },
            None => None,
        }
    }

    /// The first round that is due at that moment or after it.
    #[must_use]
    pub const fn first_from(&self, unix_ms: u64) -> u64 {
        let since_s = unix_ms.div_ceil(1000).saturating_sub(self.genesis_s);
        since_s.div_ceil(self.period_s) + 1
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == QUICKNET {
            return f.write_str(NAME);
        }
        let (key, genesis_s, period_s) = (hex(&self.key), self.genesis_s, self.period_s);
        write!(f, "{OTHER}:{key}:{genesis_s}:{period_s}")
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    /// One text a network: what is written otherwise is none.
    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let parts: Vec<&str> = text.split(':').collect();
        let found = match parts[..] {
            [NAME] => Some(QUICKNET),
            [OTHER, key, genesis_s, period_s] => {
                let times = genesis_s.parse().ok().zip(period_s.parse().ok());
                let known = array_from_hex(key).zip(times);
                known.and_then(|(key, (genesis_s, period_s))| Self::new(key, genesis_s, period_s))
            }
            _ => None,
        };
        found.filter(|of| of.to_string() == text).ok_or(NoNetwork)
    }
}

/// What a round's signature is over, as a point.
fn hashed(round: u64) -> G1Projective {
    let message = sha256(&[&round.to_be_bytes()]);
    let messages = [message];
    <G1Projective as HashToCurve<ExpandMsgXmd<Sha256>>>::hash_to_curve(messages.as_slice(), DOMAIN)
}

const fn unhex(digits: &[u8; 192]) -> [u8; 96] {
    const fn digit(of: u8) -> u8 {
        match of {
            b'0'..=b'9' => of - b'0',
            _ => of - b'a' + 10,
        }
    }
    let mut bytes = [0; 96];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = digit(digits[2 * at]) << 4 | digit(digits[2 * at + 1]);
        at += 1;
    }
    bytes
}

/// The beacon of a round of quicknet, from its 48 signature bytes.
///
/// # Errors
/// Every [`DrandError`].
pub fn verify(round: u64, signature: &[u8; 48]) -> Result<[u8; 32], DrandError> {
    QUICKNET.verify(round, signature)
}

/// The round of quicknet that is due at a time, `None` before the first.
#[must_use]
pub const fn round_at(unix_s: u64) -> Option<u64> {
    QUICKNET.round_at(unix_s)
}

/// When a round of quicknet is due, Unix seconds; `None` for round 0 and for rounds that no clock reaches.
#[must_use]
pub const fn due_s(round: u64) -> Option<u64> {
    QUICKNET.due_s(round)
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
            let value = value.map(|value| hex(&value));
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

    #[test]
    fn a_network_is_one_text_and_its_rounds_are_no_others() {
        assert_eq!("quicknet".parse(), Ok(QUICKNET));
        let signer = fixture::Signer::new(7);
        let network = signer.network(1_000, 2);
        let text = network.to_string();
        assert_eq!(text.parse(), Ok(network));
        let again = format!("drand:{}:{GENESIS_S}:{PERIOD_S}", hex(&QUICKNET.key));
        let others = [
            again.as_str(),
            "drand",
            "quicknet:1",
            &text[1..],
            &format!("{text}0:1"),
            &text.replace(":1000:", ":01000:"),
            &text.replace(":2", ":0"),
            &text.replace("drand:", "drand:c0"),
        ];
        for other in others {
            assert_eq!(other.parse::<Network>(), Err(NoNetwork), "{other}");
        }
        let mut infinity = [0; 96];
        infinity[0] = 0xc0;
        assert_eq!(Network::new(infinity, 0, 1), None);
        let signature = signer.sign(5);
        assert_eq!(network.verify(5, &signature), Ok(sha256(&[&signature])));
        assert_eq!(network.verify(6, &signature), Err(DrandError::Forged));
        assert_eq!(QUICKNET.verify(5, &signature), Err(DrandError::Forged));
        assert_eq!(QUICKNET.verify(5, &[0; 48]), Err(DrandError::Point));
    }

    #[test]
    fn the_first_round_from_a_moment_is_due_then_or_after_it() {
        let network = fixture::Signer::new(7).network(1_000, 3);
        let first =
            [0, 1_000_000, 1_000_001, 1_003_000, 1_003_001].map(|ms| network.first_from(ms));
        assert_eq!(first, [1, 1, 2, 2, 3]);
        for ms in (1_000_001..1_020_000).step_by(377) {
            let round = network.first_from(ms);
            let due_ms = |round| network.due_s(round).unwrap() * 1000;
            assert!(due_ms(round) >= ms && due_ms(round - 1) < ms, "{ms}");
        }
    }
}
