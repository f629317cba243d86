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
/// The app whose pictures count presses. Every other app's session is judged by its marker.
pub const COUNTS_PRESSES: &str = "calibrate";
/// Signs of the marker that must have been looked for before they say anything.
pub const SIGNS_MIN: u32 = 256;
/// The marker is there if signs that agree are more than those that do not by a lead whose square is at least so many times
/// what was looked for (docs/proof.md says how seldom chance comes to that).
pub const LEAD_FOUND: u64 = 160;
/// And so many times the lead is at least what was looked for: however long is played, three of four signs agree. Who
/// chooses the times of what it has comes to less.
pub const LEAD_PART: u64 = 2;
/// Signs that went one way or the other before they say that the marker is not there, three of four of those looked for.
pub const DECIDED_MIN: u64 = 600;
/// Then it is not there if the square of what one way leads by is below so many times those. All else says nothing.
pub const LEAD_CHANCE: u64 = 16;
/// Encoders of which it was measured what of a marker comes through. Of another one nothing is held against the node.
pub const MEASURED: [&str; 3] = ["x264enc", "openh264enc", "vp8enc"];

/// What a receipt of a probe of a stream does not say.
pub const DOES_NOT_PROVE: [&str; 3] = [
    "that the node, which may have told this player from others, serves them as well",
    "that the picture was rendered for this session, beyond the presses that it counts: its marker says that whoever put the stream together knew its id",
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
    /// Signs of the session's marker that agree, that do not, and that were looked for; `None` if the node never said that
    /// its pictures carry them.
    #[serde(default)]
    pub signs: Option<[u32; 3]>,
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

    /// Presses that the pictures count as they were made, of those that were made.
    #[must_use]
    pub fn markers(&self) -> [u32; 2] {
        match self.presses {
            Some([made, counted]) => [made.saturating_sub(made.abs_diff(counted)), made],
            None => [0, 0],
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
            && self.signs.is_none_or(|[agree, against, looked]| {
                u64::from(agree) + u64::from(against) <= u64::from(looked)
            })
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
        let unmarked = (Finding::Pass, String::new());
        let judged = |signs| marker(signs, &quality.encoder);
        return played.signs.map_or(unmarked, judged);
    };
    if made >= PRESSES_MIN && u64::from(found) * PER < u64::from(made) * ANSWERED {
        let why = format!("the pictures count {counted} presses of {made} that were made");
        return (Finding::Fail, why);
    }
    (Finding::Pass, String::new())
}

/// What signs of the session's marker say that agree, that do not, and that were looked for.
fn marker(signs: [u32; 3], encoder: &str) -> (Finding, String) {
    let [agree, against, looked] = signs.map(u64::from);
    if looked < u64::from(SIGNS_MIN) {
        let why = format!("{looked} signs of the session's marker are too few to say anything");
        return (Finding::Inconclusive, why);
    }
    let lead = agree.saturating_sub(against);
    if lead * lead >= LEAD_FOUND * looked && lead * LEAD_PART >= looked {
        return (Finding::Pass, String::new());
    }
    let signs =
        format!("{agree} of {looked} signs of the session's marker agree and {against} do not");
    let (decided, apart) = (agree + against, agree.abs_diff(against));
    let is_shown = decided >= DECIDED_MIN && decided * 4 >= looked * 3;
    if !is_shown || apart * apart >= LEAD_CHANCE * decided {
        let why =
            format!("{signs}: too few for one that is there, and that it is not is not shown");
        return (Finding::Inconclusive, why);
    }
    if !MEASURED.contains(&encoder) {
        let why = format!("{signs}, as by chance, of an encoder that was not measured");
        return (Finding::Inconclusive, why);
    }
    let why = format!("the pictures were not made for this session: {signs}, as by chance");
    (Finding::Fail, why)
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
            signs: played.signs,
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
            signs: None,
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

    /// How a game ends that shows these signs.
    fn with(agree: u32, against: u32, looked: u32) -> Finding {
        found(|p| {
            p.app = "doom".to_owned();
            p.presses = None;
            p.signs = Some([agree, against, looked]);
        })
    }

    /// 900 signs are what 15 seconds show; the rule is the same for any app but the one that counts presses.
    #[test]
    fn a_stream_that_was_not_made_for_the_session_fails_by_its_marker() {
        assert_eq!(with(900, 0, 900), Finding::Pass);
        assert_eq!(with(675, 225, 900), Finding::Pass, "three of four");
        assert_eq!(with(674, 226, 900), Finding::Inconclusive);
        assert_eq!(with(510, 390, 900), Finding::Inconclusive, "120 of 120");
        assert_eq!(with(509, 391, 900), Finding::Fail);
        assert_eq!(with(450, 450, 900), Finding::Fail);
        assert_eq!(with(7_500, 2_500, 10_000), Finding::Pass);
        assert_eq!(with(7_499, 2_501, 10_000), Finding::Inconclusive);
        assert_eq!(with(u32::MAX, 0, u32::MAX), Finding::Pass);
        assert_eq!(with(230, 26, 256), Finding::Pass, "204 of 202.4");
        assert_eq!(with(229, 27, 256), Finding::Inconclusive);
        let mut odd = played();
        odd.signs = Some([2, 1, 2]);
        assert!(!odd.is_sane());
        odd.signs = Some([u32::MAX, u32::MAX, u32::MAX]);
        assert!(!odd.is_sane());
        odd.signs = Some([1, 1, 2]);
        assert!(odd.is_sane());
    }

    #[test]
    fn what_an_encoder_swallows_or_nobody_measured_is_not_held_against_the_node() {
        assert_eq!(with(0, 0, 900), Finding::Inconclusive, "letterboxes");
        assert_eq!(
            with(300, 300, 900),
            Finding::Inconclusive,
            "a third of them"
        );
        assert_eq!(with(340, 335, 900), Finding::Fail, "three of four decided");
        assert_eq!(with(0, 900, 900), Finding::Inconclusive, "not by chance");
        assert_eq!(with(299, 300, 599), Finding::Inconclusive, "too few");
        assert_eq!(with(300, 300, 600), Finding::Fail);
        for encoder in ["nvh264enc", "vah264lpenc", "qsvh264enc", "vp9enc", ""] {
            let unknown = found(|p| {
                p.presses = None;
                p.signs = Some([450, 450, 900]);
                p.quality.encoder = encoder.to_owned();
            });
            assert_eq!(unknown, Finding::Inconclusive, "{encoder}");
        }
    }

    #[test]
    fn a_node_that_marks_and_lets_nothing_be_read_does_not_pass() {
        assert_eq!(with(0, 0, 0), Finding::Inconclusive, "it took it back");
        assert_eq!(with(255, 0, 255), Finding::Inconclusive);
        let never = found(|p| p.presses = None);
        assert_eq!(never, Finding::Pass, "it never said that it draws one");
        let presses = found(|p| p.signs = Some([0, 0, 0]));
        assert_eq!(presses, Finding::Pass, "presses are counted");
    }

    /// The probability of a finding if each of so many signs agrees with this one, whatever the others do.
    fn chance_of(finding: Finding, looked: u32, each: f64) -> f64 {
        let ln = |n: u32| (1..=n).map(|n| f64::from(n).ln()).sum::<f64>();
        let of = |agree: u32| {
            let against = looked - agree;
            let ways = ln(looked) - ln(agree) - ln(against);
            (ways + f64::from(agree) * each.ln() + f64::from(against) * (1.0 - each).ln()).exp()
        };
        let ends = |agree: &u32| with(*agree, looked - agree, looked) == finding;
        (0..=looked).filter(ends).map(of).sum()
    }

    #[test]
    fn chance_and_a_marker_that_partly_comes_through_end_as_stated_if_signs_are_lost_independently()
    {
        for looked in [256, 600, 900] {
            let passes = chance_of(Finding::Pass, looked, 0.5);
            assert!(passes < 1e-30, "{looked}: {passes}");
        }
        for looked in [600, 900] {
            let caught = chance_of(Finding::Fail, looked, 0.5);
            assert!(caught > 0.999, "{looked}: {caught}");
            let wronged = chance_of(Finding::Fail, looked, 0.7);
            assert!(wronged < 1e-8, "{looked}: {wronged}");
        }
        assert!(chance_of(Finding::Pass, 900, 0.83) > 1.0 - 1e-6);
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
