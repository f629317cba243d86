//! Checkers: how they come in, what they are assigned, and what they say of it. docs/proof.md has what a check is.
//!
//! Keys are Ed25519, 64 hex digits; a key's id is the SHA-256 of its bytes, 64 hex digits.

use crate::id::NodeId;
use crate::stake::StakeTransfer;
use crate::unit::{U64, UnixMillis};
use serde::{Deserialize, Serialize};

/// What begins a checker's token.
pub const CHECKER_TOKEN_PREFIX: &str = "nlc_";
/// How long a checker's request for assignments may wait, seconds.
pub const ASSIGNMENTS_WAIT_S_MAX: u32 = 30;
/// For how long a copy of a checker holds its key after it was heard of, seconds.
pub const INSTANCE_HOLDS_S: u32 = 45;
/// What a checker that plays streams sends with `GET /v1/checkers/me/assignments`, with any value. A broker that does not
/// know it assigns none.
pub const CHECKER_PLAYS_HEADER: &str = "nearlight-checker-plays";
/// What a player program that an assigned checker started sends with `POST /v1/sessions`: its checker's pass
/// (`core/proof`, `porw::pass`). Nodes never see it.
pub const STREAM_PASS_HEADER: &str = "nearlight-stream-pass";
/// The most rounds before one that `GET /v1/beacon/{round}?before=` tells.
pub const ROUNDS_BEFORE_MAX: u64 = 4_096;
/// The longest word of why an assignment was missed, bytes.
pub const WHY_BYTES_MAX: usize = 300;
/// What a checker says of a duty whose class its table does not have begins so: it cannot check that node.
pub const NO_CLASS: &str = "the table has no class";

/// `POST /v1/checker-tokens`: a checker may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdmitChecker {
    /// Who runs it, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes. It never checks their nodes.
    pub operator: String,
    /// The licence that it acts for, by id: it has to show that the owner delegated it.
    pub licence: Option<String>,
    /// Seconds for which the token works, 1 to [`crate::limits::JOIN_TOKEN_S_MAX`]; a quarter of an hour if it is not
    /// given.
    pub expires_s: Option<u32>,
}

/// A token for a checker. It is told this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NewCheckerToken {
    /// For `checker join --token`. It works once.
    pub token: String,
    /// It is void from then on.
    pub expires_unix_ms: UnixMillis,
}

/// `POST /v1/checkers`: a checker comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinChecker {
    /// The token.
    pub token: String,
    /// Its key.
    pub key: String,
    /// Its signature over what `core/proof` has as `membership::join`, 128 hex digits.
    pub signature: String,
    /// A PKCS #10 request in PEM, of a key for TLS alone. Only that key counts.
    pub request: String,
    /// The delegation of the licence, as `checker delegate` prints it.
    #[serde(default)]
    pub delegation: Option<String>,
}

/// A checker that came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinedChecker {
    /// What it shows from now on.
    pub certificate: CheckerCertificate,
    /// Its key, by id.
    pub key_id: String,
    /// Who runs it.
    pub operator: String,
    /// The key of the directory, which says whose keys are whose.
    pub directory_key: String,
    /// The chain of rounds.
    pub chain: Chain,
}

/// What a checker shows in TLS, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckerCertificate {
    /// Its certificate, PEM. It holds for a day.
    pub certificate: String,
    /// The CA certificates to believe, PEM.
    pub ca: String,
    /// Where the listener is that takes it, each as `HOST:PORT`. They lead to the same network.
    pub addresses: Vec<String>,
}

/// `POST /v1/checkers/me/certificate`: the next certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewChecker {
    /// A PKCS #10 request in PEM. Only its key counts.
    pub request: String,
}

/// A checker as everybody may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Checker {
    /// Its key, by id.
    pub key_id: String,
    /// Its key.
    pub key: String,
    /// Who runs it.
    pub operator: String,
    /// The licence that it acts for, by id.
    pub licence: Option<String>,
    /// Since when it can be assigned, Unix seconds.
    pub joined_s: u64,
    /// Since when not any more, Unix seconds.
    pub revoked_s: Option<u64>,
    /// Whether a copy of it was heard of lately.
    pub running: bool,
    /// Since when it has said each time that it plays streams, Unix seconds: it has a decoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plays_since_s: Option<u64>,
}

/// `GET /v1/checkers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckerList {
    /// All that ever came in, oldest first.
    pub checkers: Vec<Checker>,
}

/// `POST /v1/licences`: a licence for its owner's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveLicence {
    /// The owner's key.
    pub key: String,
    /// Whose it is, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes.
    pub owner: String,
}

/// A licence to check. Its owner delegates it to checkers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Licence {
    /// Its id: that of the owner's key.
    pub id: String,
    /// The owner's key.
    pub key: String,
    /// Whose it is.
    pub owner: String,
    /// When it was given.
    pub created_unix_ms: UnixMillis,
    /// When it was taken back.
    pub revoked_unix_ms: Option<UnixMillis>,
}

/// `GET /v1/licences`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LicenceList {
    /// Oldest first.
    pub licences: Vec<Licence>,
}

/// The chain of hashes that rounds take their values from (docs/proof.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Chain {
    /// Its end: hashing a round's value as often as the round's number says gives it.
    pub anchor: String,
    /// When round 1 began.
    pub genesis_unix_ms: UnixMillis,
    /// How long a round is, milliseconds.
    pub round_ms: u64,
    /// How many rounds there are.
    pub length: u64,
    /// The same, signed by the directory's key, as it stands in the log.
    pub envelope: String,
}

/// `GET /v1/beacon/{round}`: a round that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BeaconRound {
    /// Which.
    pub round: u64,
    /// Its value, 64 hex digits; empty of a round that is void.
    pub value: String,
    /// When it began.
    pub began_unix_ms: UnixMillis,
    /// The chain.
    pub chain: Chain,
    /// Where the round takes its value from: `chain`, `quicknet`, or `drand:KEY:GENESIS_S:PERIOD_S` of another network.
    #[serde(default)]
    pub beacon: String,
    /// The round of drand that it takes its value from: the first that is due when the round begins, or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drand_round: Option<u64>,
    /// Its signature, 96 hex digits, of which the value is the SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// Whether the round is void: it had no value within half of its length, and nobody is assigned in it.
    #[serde(default)]
    pub void: bool,
    /// The signatures of as many rounds before it as were asked for, the newest first; empty for one that has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
}

/// Something that a checker is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Assignment {
    /// The round that it follows from.
    pub round: u64,
    /// `alive`, `capacity`, `capacity/GPU` of one of the node's GPUs, or `stream`.
    pub duty: String,
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// The node's receipt key, by id.
    pub node_key_id: String,
    /// The checker's key, by id.
    pub checker: String,
    /// Its place in the order of the round: those behind the committee stand in for one that missed.
    pub place: u32,
    /// From when.
    pub due_unix_ms: UnixMillis,
    /// Until when.
    pub until_unix_ms: UnixMillis,
    /// `due`, `done`, `missed`, or `void`: nobody could do it, and nobody stands in.
    pub state: String,
    /// Why it was missed, or void.
    pub why: String,
    /// The leaf of its receipt, if it has one.
    pub leaf: String,
}

/// `GET /v1/checkers/me/assignments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MyAssignments {
    /// What is due now.
    pub assignments: Vec<Duty>,
    /// The class of the table that nodes are held to, where a duty names none.
    pub class: String,
    /// Another one whenever something else is due: who sends it back waits for that.
    pub version: String,
    /// The entries of the log that say which beacons rounds take their values from, by their rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beacons: Vec<String>,
}

/// An assignment with what its checker needs for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Duty {
    /// The assignment.
    #[serde(flatten)]
    pub assignment: Assignment,
    /// The round's value.
    pub value: String,
    /// The signature that it is the SHA-256 of, 96 hex digits, if the round takes it from drand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// The root over the checkers of the round.
    pub checkers: String,
    /// The node's receipt key.
    pub node_key: String,
    /// The class of the table that its GPU is held to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What is played, of a stream: an entry of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// When the node is told its nonce, of a probe that others of its operator's nodes have in the same moment. It has begun by
    /// then. Without it the nonce is told as soon as all GPUs of the node have begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meets_unix_ms: Option<UnixMillis>,
}

/// `POST /v1/nodes/{node}/alive`: a checker asks whether a node is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskAlive {
    /// The round.
    pub round: u64,
    /// The round's value.
    pub value: String,
    /// The checker's key, by id.
    pub checker: String,
    /// What the checker made up, 64 hex digits.
    pub nonce: String,
}

/// A node is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Alive {
    /// Its signature over what `core/proof` has as `alive::message`, 128 hex digits.
    pub signature: String,
}

/// `POST /v1/checkers/me/reports`: what came of an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The round.
    pub round: u64,
    /// Its assignment's.
    pub duty: String,
    /// The node's receipt key, by id.
    pub node_key_id: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The node answered.
    Alive {
        /// What the checker made up.
        nonce: String,
        /// The node's signature.
        signature: String,
    },
    /// A receipt says it.
    Receipt {
        /// Its leaf.
        leaf: String,
    },
    /// It was not done.
    Missed {
        /// Why, at most [`WHY_BYTES_MAX`] bytes.
        why: String,
    },
}

/// `GET /v1/checkers/me`: a checker's own standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckerStanding {
    /// Itself.
    pub checker: Checker,
    /// Its newest assignments, newest first.
    pub assignments: Vec<Assignment>,
}

/// `GET /v1/checkers/me/account`: how a checker's word compares with what rounds came to, and what came of that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckerAccount {
    /// Its word, and what its rounds came to.
    pub agreement: CheckerAgreement,
    /// What it has at stake and nothing holds, micro-units.
    #[schema(value_type = String)]
    pub stake_micro: U64,
    /// What it has earned and nobody has withdrawn, micro-units.
    #[schema(value_type = String)]
    pub earned_micro: U64,
    /// What an accepted check earns now, micro-units (`checks.reward_micro`).
    #[schema(value_type = String)]
    pub reward_micro: U64,
    /// What a refuted word costs now, thousandths of the free stake (`checks.slash_permille`).
    pub slash_permille: u32,
    /// For how long a reward is held after its round was decided, days (`checks.dispute_days`).
    pub dispute_days: u32,
    /// Its newest rewards, newest first.
    pub rewards: Vec<CheckerReward>,
    /// What was taken from its stake, newest first.
    pub penalties: Vec<StakeTransfer>,
}

/// How often a checker said what a round came to, of the checks that it issued in the last days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckerAgreement {
    /// How many days.
    pub days: u32,
    /// Rounds that are decided, and of which it said pass or fail from a seat of its own.
    pub decided: u64,
    /// Of those, rounds that came to what it said.
    pub agreed: u64,
    /// Of those, rounds in which execution refuted it.
    pub refuted: u64,
}

/// What a check earned: `checks.reward_micro` of then, from `pool`, for a word that its round came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckerReward {
    /// The receipts that it is for, by their places in the log.
    pub receipts: Vec<u64>,
    /// Micro-units.
    #[schema(value_type = String)]
    pub amount_micro: U64,
    /// Whether it is paid.
    pub state: RewardState,
    /// Why.
    pub reason: String,
    /// When the round was decided.
    pub at_unix_ms: UnixMillis,
    /// When one that is held is paid, if its round comes to the same then.
    pub until_unix_ms: Option<UnixMillis>,
}

/// Where a reward is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RewardState {
    /// Held for the time of disputes.
    Held,
    /// Paid.
    Paid,
    /// Not paid: the round came to something else.
    Void,
}

/// `GET /v1/assignments`: who was to check whom in a round, with what is needed to work it out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RoundAssignments {
    /// The round.
    pub round: u64,
    /// Its value.
    pub value: String,
    /// The signature that it is the SHA-256 of, 96 hex digits, if the round takes it from drand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// When it began.
    pub began_unix_ms: UnixMillis,
    /// How many checkers each duty takes: `alive`, `capacity`, `stream`; 0 of what is not checked.
    pub committees: Vec<u32>,
    /// The root over the checkers of then.
    pub checkers_root: String,
    /// The checkers of then.
    pub checkers: Vec<Checker>,
    /// The assignments, by node, duty and place; those of streams once they are settled or over.
    pub assignments: Vec<Assignment>,
}
