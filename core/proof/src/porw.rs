//! The proof of rendering work: what a checker found that played a session as a player does.
//!
//! A player program says what it did and measured ([`Played`]); [`judge`] is the rule by which that passes, fails or
//! says nothing; [`statement`] is the receipt. The broker's `session/v1` of the same session, which the node signed,
//! says that this node served it: both name one commitment.
//!
//! **Invariants.** The rule is in integers, so that whoever has the numbers comes to the same finding. What the node
//! alone says (the time to encode) decides nothing.
//!
//! **What it does not know:** how the session came to that node, and how a picture is decoded. [`pass`] has what an
//! assigned checker shows for that.

pub mod pass;

use crate::key::KeyId;
use crate::receipt::predicate::{Finding, Porw, Predicate};
use crate::receipt::quality::Quality;
use crate::receipt::session::commitment;
use crate::receipt::statement::{Assurance, Countersign, Head, Statement, Subject};
use serde::{Deserialize, Serialize};

/// The shortest time that says anything, seconds.
pub const SECONDS_MIN: u32 = 5;
/// Presses that a picture must have had the chance to show before their answers count against a node.
pub const PRESSES_MIN: u32 = 5;
/// Of so many presses ([`PER`]) a picture has to count so many.
pub const ANSWERED: u64 = 9;
/// See [`ANSWERED`].
pub const PER: u64 = 10;
/// The app whose pictures count presses: those are its markers. Every other app's are signs of the session's marker.
pub const COUNTS_PRESSES: &str = "calibrate";
/// Signs of the marker that must have been looked for before they say anything.
pub const SIGNS_MIN: u32 = 256;
/// The marker is there if signs that agree are more than those that do not by a lead whose square is at least so many times
/// what was looked for. Of a stream that was made before its session it is so with less than one in 10^13 (docs/proof.md).
pub const LEAD_FOUND: u64 = 160;
/// And so many times the lead is at least what was looked for: however long is played, two of three signs agree. Who can
/// choose among a few pictures or times for each slot comes to less.
pub const LEAD_PART: u64 = 3;
/// It is not there below so many times; in between nothing can be said.
pub const LEAD_CHANCE: u64 = 16;

/// What a receipt of a probe of a stream does not say.
pub const DOES_NOT_PROVE: [&str; 3] = [
    "that the node, which may have told this player from others, serves them as well",
    "that the picture was rendered for this session, beyond the presses that it counts: its marker says that it was encoded for it",
    "that the times inside of the node, such as the time to encode, are what it says",
];

/// What a player program did and measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Played {
    /// The session's id.
    pub session: String,
    /// The node that it was placed on, by id.
    pub node: String,
    /// The catalogue app.
    pub app: String,
    /// SHA-256 of the recorded input.
    pub input: KeyId,
    /// Presses that were sent, and presses that the pictures count; `None` for an app whose pictures count none.
    pub presses: Option<[u32; 2]>,
    /// Signs of the session's marker that agree, of those that were looked for; `None` if the node says that its pictures
    /// carry none.
    #[serde(default)]
    pub chips: Option<[u32; 2]>,
    /// What was measured.
    pub quality: Quality,
    /// What kept the program itself from measuring well, as sentences: then nothing can be said of the node.
    pub faults: Vec<String>,
    /// The place of the session's own receipt in the log.
    pub receipt: u64,
    /// The salt of its commitment.
    pub salt: KeyId,
    /// How much of the stream came, bytes: whoever pays for the line counts it.
    #[serde(default)]
    pub bytes: u64,
}

impl Played {
    /// The commitment that both receipts of the session name.
    #[must_use]
    pub fn commitment(&self) -> KeyId {
        commitment(&self.salt.0, &self.session)
    }

    /// Presses that the pictures count as they were made, of those that were made; of an app that counts none, signs of the
    /// session's marker that agree, of those that were looked for.
    #[must_use]
    pub fn markers(&self) -> [u32; 2] {
        match self.presses {
            Some([made, counted]) => [made.saturating_sub(made.abs_diff(counted)), made],
            None => self.chips.unwrap_or_default(),
        }
    }

    /// Whether a program can have measured that.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        let short = |text: &str, bytes: usize| {
            !text.is_empty()
                && text.len() <= bytes
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        short(&self.session, 64)
            && short(&self.node, 64)
            && short(&self.app, 128)
            && self.quality.is_sane()
            && self.faults.len() <= 16
            && self.chips.is_none_or(|[agree, looked]| agree <= looked)
    }
}

/// How a probe of a stream ends, and why it did not pass.
#[must_use]
pub fn judge(played: &Played) -> (Finding, String) {
    if let Some(fault) = played.faults.first() {
        return (Finding::Inconclusive, fault.clone());
    }
    let quality = &played.quality;
    if quality.frames == 0 {
        return (Finding::Fail, "no picture could be decoded".to_owned());
    }
    if quality.seconds < SECONDS_MIN {
        let why = format!("{} seconds are too few to say anything", quality.seconds);
        return (Finding::Inconclusive, why);
    }
    let [found, made] = played.markers();
    let Some([_, counted]) = played.presses else {
        return marker(found, made);
    };
    if made >= PRESSES_MIN && u64::from(found) * PER < u64::from(made) * ANSWERED {
        let why = format!("the pictures count {counted} presses of {made} that were made");
        return (Finding::Fail, why);
    }
    (Finding::Pass, String::new())
}

/// What signs of the session's marker say that agree, of those that were looked for.
fn marker(agree: u32, looked: u32) -> (Finding, String) {
    let (agree, all) = (u64::from(agree), u64::from(looked));
    let lead = (2 * agree).saturating_sub(all);
    let squared = lead * lead;
    let found = squared >= LEAD_FOUND * all && lead * LEAD_PART >= all;
    if looked < SIGNS_MIN || found {
        return (Finding::Pass, String::new());
    }
    let signs = format!("{agree} of {looked} signs of the session's marker agree");
    if squared < LEAD_CHANCE * all {
        let why = format!("the pictures were not encoded for this session: {signs}, as by chance");
        return (Finding::Fail, why);
    }
    let why = format!("{signs}, too few for one that is there and too many for chance");
    (Finding::Inconclusive, why)
}

/// The receipt that `issuer` has to sign. `node_key` is the key with which the node signed the session's own receipt.
#[must_use]
pub fn statement(played: &Played, node_key: KeyId, issuer: KeyId, issued_at_s: u64) -> Statement {
    let (finding, reason) = judge(played);
    Statement {
        subject: Subject {
            name: format!("node:{}", played.node),
            sha256: node_key,
        },
        head: Head {
            issuer,
            issued_at_s,
            countersign: Countersign::None,
            assurance: Assurance::Timing,
            does_not_prove: DOES_NOT_PROVE.map(str::to_owned).to_vec(),
            evidence: Vec::new(),
        },
        predicate: Predicate::Porw(Porw {
            session: played.commitment(),
            app: played.app.clone(),
            input: played.input,
            markers: played.markers(),
            quality: played.quality.clone(),
            finding,
            reason,
        }),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::key::SecretKey;

    fn played() -> Played {
        Played {
            session: "ses_0190".to_owned(),
            node: "node_1".to_owned(),
            app: "calibrate".to_owned(),
            input: KeyId([3; 32]),
            presses: Some([40, 40]),
            chips: None,
            quality: Quality {
                seconds: 20,
                frames: 1200,
                fps_milli: 60_000,
                size: [1280, 720],
                encoder: "x264enc".to_owned(),
                ..Quality::default()
            },
            faults: Vec::new(),
            receipt: 7,
            salt: KeyId([9; 32]),
            bytes: 1,
        }
    }

    fn found(change: impl FnOnce(&mut Played)) -> Finding {
        let mut played = played();
        change(&mut played);
        judge(&played).0
    }

    #[test]
    fn the_rule_at_its_edges() {
        assert_eq!(judge(&played()), (Finding::Pass, String::new()));
        assert_eq!(found(|p| p.presses = None), Finding::Pass);
        assert_eq!(found(|p| p.presses = Some([40, 36])), Finding::Pass);
        assert_eq!(found(|p| p.presses = Some([40, 35])), Finding::Fail);
        assert_eq!(
            found(|p| p.presses = Some([40, 45])),
            Finding::Fail,
            "nobody made them"
        );
        assert_eq!(
            found(|p| p.presses = Some([4, 0])),
            Finding::Pass,
            "too few"
        );
        assert_eq!(found(|p| p.quality.frames = 0), Finding::Fail);
        assert_eq!(found(|p| p.quality.seconds = 5), Finding::Pass);
        assert_eq!(found(|p| p.quality.seconds = 4), Finding::Inconclusive);
        let slow = |p: &mut Played| {
            p.faults.push("the decoder was behind".to_owned());
            p.quality.frames = 0;
        };
        assert_eq!(found(slow), Finding::Inconclusive, "its own fault");
    }

    /// 900 signs are what 15 seconds show; the rule is the same for any app but the one that counts presses.
    #[test]
    fn a_stream_that_was_not_made_for_the_session_fails_by_its_marker() {
        let with = |agree, looked| {
            found(|p| {
                p.app = "doom".to_owned();
                p.presses = None;
                p.chips = Some([agree, looked]);
            })
        };
        assert_eq!(with(900, 900), Finding::Pass);
        assert_eq!(with(640, 900), Finding::Pass, "lead 380 of 379.5");
        assert_eq!(with(639, 900), Finding::Inconclusive);
        assert_eq!(with(510, 900), Finding::Inconclusive, "lead 120 of 120");
        assert_eq!(with(509, 900), Finding::Fail);
        assert_eq!(with(450, 900), Finding::Fail);
        assert_eq!(with(0, 900), Finding::Fail, "a wrong sign is no sign");
        assert_eq!(
            with(6_666, 10_000),
            Finding::Inconclusive,
            "not two of three"
        );
        assert_eq!(with(6_667, 10_000), Finding::Pass);
        assert_eq!(with(u32::MAX, u32::MAX), Finding::Pass);
        assert_eq!(with(0, 255), Finding::Pass, "too few to say anything");
        assert_eq!(with(128, 256), Finding::Fail);
        assert_eq!(
            with(0, 0),
            Finding::Pass,
            "the node says that it draws none"
        );
        let mut odd = played();
        odd.chips = Some([2, 1]);
        assert!(!odd.is_sane());
        odd.presses = None;
        odd.chips = Some([700, 900]);
        assert_eq!(odd.markers(), [700, 900]);
    }

    /// P(lead >= t) of n fair signs is at most exp(-t^2 / 2n) (Hoeffding), whatever the pictures show, for a sign counts one
    /// at most. What is looked for is half of n: signs that changed. Of 2,000 fewer than 0.4 n did with less than 10^-17.
    #[test]
    fn chance_and_a_marker_that_half_comes_through_end_as_stated() {
        let by_chance = (-(LEAD_FOUND as f64) * 0.4 / 2.0).exp();
        assert!(by_chance < 1e-13, "{by_chance}");
        // Seven of ten signs come through, and 15 seconds show 900: the lead is 360 on average, 27.5 its deviation.
        let lost = (LEAD_CHANCE as f64 * 900.0).sqrt();
        let deviations = (360.0 - lost) / (2.0 * (900.0 * 0.7 * 0.3_f64).sqrt());
        assert!(deviations > 8.0, "{deviations}");
    }

    #[test]
    fn a_receipt_names_the_commitment_of_the_session_and_reads_as_it_was_written() {
        let key = SecretKey::from_seed(&[1; 32]);
        let said = statement(&played(), KeyId([7; 32]), key.public().id(), 1_800_000_000);
        let mut envelope = said.envelope().unwrap();
        envelope.sign(&key);
        assert_eq!(Statement::parse(&envelope).unwrap(), said);
        let Predicate::Porw(body) = &said.predicate else {
            panic!("another kind");
        };
        assert_eq!(body.session, commitment(&[9; 32], "ses_0190"));
        assert_eq!((body.markers, body.finding), ([40, 40], Finding::Pass));
        assert!(played().is_sane());
    }
}
