//! Sessions that were played: what node and player say of one, and whether they agree.
//!
//! Each side writes its own column. The rule for "agree" is in integers ([`differences`]), so that whoever
//! reads a receipt can apply it again; a statement that says something else is none ([`Session::holds`]).
//!
//! **What it does not know:** who is right where they differ. Loss on the way, a page that was hidden and
//! a lie look alike.

use super::quality::{PlayerSample, Quality, SAMPLES_MAX};
use crate::encoding::sha256;
use crate::key::KeyId;
use crate::log::tree::{LogHasher, leaf, root};
use serde::{Deserialize, Serialize};

/// What the commitment to a session begins with.
const COMMITTED: &[u8] = b"nearlight session v1 ";
/// The name of the subject of such a receipt.
pub const SUBJECT: &str = "session";
/// How much longer than the node a player may have measured, at any length, seconds.
const LONGER_S: u64 = 5;
/// How far frame rates may be apart at any rate, thousandths of a frame a second.
const RATE_APART_MILLI: u64 = 2000;
/// How far round trips may be apart at any length, microseconds.
const RTT_APART_US: u64 = 10_000;

/// A session that was played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Whether they agree.
    pub agreement: Agreement,
    /// In what they differ.
    pub differs: Vec<Difference>,
    /// What the node measured.
    pub edge: Quality,
    /// The node's key.
    pub node: KeyId,
    /// What the player's side measured, one for each page that played it.
    pub player: Vec<PlayerSample>,
    /// The root over what the node measured by each minute of play, and at the end.
    pub segments: KeyId,
    /// When it was begun to play, Unix seconds.
    pub started_at_s: u64,
    /// When it was over, Unix seconds.
    pub stopped_at_s: u64,
}

/// Whether both sides say the same, within the tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agreement {
    /// They do.
    Agree,
    /// They do not.
    Disagree,
    /// The player's side said nothing.
    EdgeOnly,
}

impl Agreement {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Disagree => "disagree",
            Self::EdgeOnly => "edge-only",
        }
    }
}

/// Something in which both sides differ by more than the tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Frames a second.
    FrameRate,
    /// The round trip.
    RoundTrip,
    /// How long it was.
    Seconds,
    /// The size of the picture.
    Size,
}

/// What the node says of a session, and signs if the rest of the statement is so, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSide {
    /// The node's key.
    pub node: KeyId,
    /// When it was begun to play, Unix seconds.
    pub started_at_s: u64,
    /// When it was over, Unix seconds.
    pub stopped_at_s: u64,
    /// See [`segments`].
    pub segments: KeyId,
    /// What it measured.
    pub quality: Quality,
}

impl Session {
    /// Both columns, and what follows from them.
    #[must_use]
    pub fn new(edge: EdgeSide, player: Vec<PlayerSample>) -> Self {
        let differs = differences(&edge.quality, &player);
        Self::differing(edge, player, differs)
    }

    fn differing(edge: EdgeSide, player: Vec<PlayerSample>, differs: Vec<Difference>) -> Self {
        Self {
            node: edge.node,
            started_at_s: edge.started_at_s,
            stopped_at_s: edge.stopped_at_s,
            segments: edge.segments,
            agreement: match (player.is_empty(), differs.is_empty()) {
                (true, _) => Agreement::EdgeOnly,
                (false, true) => Agreement::Agree,
                (false, false) => Agreement::Disagree,
            },
            edge: edge.quality,
            player,
            differs,
        }
    }

    /// Whether it says what follows from its columns, and each player's signature fits. Receipts of before rates were exact
    /// have what followed by whole seconds.
    #[must_use]
    pub fn holds(&self) -> bool {
        let follows = |rule: Joins| {
            let differs = differences_by(&self.edge, &self.player, rule);
            Self::differing(self.edge_side(), self.player.clone(), differs) == *self
        };
        self.started_at_s <= self.stopped_at_s
            && self.player.len() <= SAMPLES_MAX
            && self.edge.is_sane()
            && self.player.iter().all(PlayerSample::holds)
            && (follows(Quality::joined) || follows(Quality::joined_by_seconds))
    }

    /// The node's column.
    #[must_use]
    pub fn edge_side(&self) -> EdgeSide {
        EdgeSide {
            node: self.node,
            started_at_s: self.started_at_s,
            stopped_at_s: self.stopped_at_s,
            segments: self.segments,
            quality: self.edge.clone(),
        }
    }
}

/// In what the player's side differs from the node's by more than the tolerance. Nothing is compared that
/// one of them did not measure.
#[must_use]
pub fn differences(edge: &Quality, player: &[PlayerSample]) -> Vec<Difference> {
    differences_by(edge, player, Quality::joined)
}

/// Whether two round trips of one stream, microseconds, differ by more than the tolerance.
#[must_use]
pub fn round_trips_differ(here: u32, there: u32) -> bool {
    u64::from(here.abs_diff(there)) > u64::from(here.max(there)) / 2 + RTT_APART_US
}

/// How the samples of several pages are taken together.
type Joins = fn(&[&Quality]) -> Option<Quality>;

fn differences_by(edge: &Quality, player: &[PlayerSample], joins: Joins) -> Vec<Difference> {
    let parts: Vec<&Quality> = player.iter().map(|sample| &sample.quality).collect();
    let Some(player) = joins(&parts) else {
        return Vec::new();
    };
    let known = |a: u32, b: u32| a > 0 && b > 0;
    let (mine, theirs) = (u64::from(edge.seconds), u64::from(player.seconds));
    // A page that is hidden measures nothing, so that half of the time is enough.
    let seconds = theirs > mine + mine / 20 + LONGER_S || theirs + LONGER_S < mine / 2;
    let rate = u64::from(edge.fps_milli.abs_diff(player.fps_milli))
        > u64::from(edge.fps_milli) / 10 + RATE_APART_MILLI;
    let (here, there) = (edge.rtt_us[0], player.rtt_us[0]);
    let rtt = known(here, there) && round_trips_differ(here, there);
    let size = known(edge.size[0], player.size[0]) && edge.size != player.size;
    let found = [
        (rate, Difference::FrameRate),
        (rtt, Difference::RoundTrip),
        (seconds, Difference::Seconds),
        (size, Difference::Size),
    ];
    let differs = found.into_iter().filter(|(differs, _)| *differs);
    differs.map(|(_, what)| what).collect()
}

/// The root over texts of what was measured by each minute.
#[must_use]
pub fn segments(texts: &[String]) -> KeyId {
    let leaves: Vec<_> = texts.iter().map(|text| leaf(text.as_bytes())).collect();
    KeyId(root::<LogHasher>(&leaves))
}

/// The commitment to a session: whoever knows its id and the salt can say that a receipt is its.
#[must_use]
pub fn commitment(salt: &[u8; 32], session: &str) -> KeyId {
    KeyId(sha256(&[COMMITTED, salt, session.as_bytes()]))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::key::SecretKey;

    fn quality() -> Quality {
        Quality {
            seconds: 100,
            frames: 6000,
            fps_milli: 60_000,
            size: [1280, 720],
            rtt_us: [20_000, 30_000],
            encoder: "x264enc".to_owned(),
            ..Quality::default()
        }
    }

    fn player(change: impl FnOnce(&mut Quality)) -> Vec<PlayerSample> {
        let mut quality = quality();
        change(&mut quality);
        quality.fps_milli = Quality::rate_milli(quality.frames, quality.seconds);
        vec![PlayerSample::signed(
            quality,
            &SecretKey::from_seed(&[1; 32]),
        )]
    }

    #[test]
    fn the_tolerance_at_its_edges() {
        let differ = |change: fn(&mut Quality)| differences(&quality(), &player(change));
        assert_eq!(differ(|_| {}), []);
        assert_eq!(differ(|q| q.frames = 5200), [], "52 of 60");
        assert_eq!(differ(|q| q.frames = 5199), [Difference::FrameRate]);
        assert_eq!(differ(|q| q.frames = 6800), []);
        assert_eq!(differ(|q| q.frames = 6801), [Difference::FrameRate]);
        let longer = |q: &mut Quality| (q.seconds, q.frames) = (110, 6600);
        assert_eq!(differ(longer), []);
        let too_long = |q: &mut Quality| (q.seconds, q.frames) = (111, 6660);
        assert_eq!(differ(too_long), [Difference::Seconds]);
        let hidden = |q: &mut Quality| (q.seconds, q.frames) = (45, 2700);
        assert_eq!(differ(hidden), []);
        let gone = |q: &mut Quality| (q.seconds, q.frames) = (44, 2640);
        assert_eq!(differ(gone), [Difference::Seconds]);
        assert_eq!(differ(|q| q.rtt_us[0] = 60_000), []);
        assert_eq!(differ(|q| q.rtt_us[0] = 60_002), [Difference::RoundTrip]);
        assert_eq!(differ(|q| q.rtt_us[0] = 0), [], "not measured");
        assert_eq!(differ(|q| q.size = [640, 360]), [Difference::Size]);
        assert_eq!(differences(&quality(), &[]), []);
    }

    #[test]
    fn a_statement_says_what_follows_from_its_columns() {
        let edge = EdgeSide {
            node: KeyId([7; 32]),
            started_at_s: 1_800_000_000,
            stopped_at_s: 1_800_000_100,
            segments: segments(&[quality().text()]),
            quality: quality(),
        };
        let agrees = Session::new(edge.clone(), player(|_| {}));
        assert_eq!(agrees.agreement, Agreement::Agree);
        assert!(agrees.holds());
        let alone = Session::new(edge.clone(), Vec::new());
        assert_eq!(alone.agreement, Agreement::EdgeOnly);
        assert!(alone.holds());
        let differs = Session::new(edge, player(|q| q.frames = 10));
        assert_eq!(differs.agreement, Agreement::Disagree);
        assert!(differs.holds());
        let wrong = |change: fn(&mut Session)| {
            let mut session = differs.clone();
            change(&mut session);
            session.holds()
        };
        assert!(!wrong(|s| s.agreement = Agreement::Agree));
        assert!(!wrong(|s| s.differs.clear()));
        assert!(!wrong(|s| s.player[0].quality.frames = 11), "not signed so");
        assert!(!wrong(|s| s.started_at_s = s.stopped_at_s + 1));
        assert!(!wrong(|s| s.player = vec![s.player[0].clone(); 9]));
    }

    #[test]
    fn a_commitment_is_of_one_session_and_one_salt() {
        let of = |salt: u8, session: &str| commitment(&[salt; 32], session);
        assert_eq!(of(1, "ses_1"), of(1, "ses_1"));
        assert_ne!(of(1, "ses_1"), of(2, "ses_1"));
        assert_ne!(of(1, "ses_1"), of(1, "ses_2"));
    }
}
