//! `nearlight receipt`.

use clap::{Args, Subcommand};
use nearlight_verifier::Ask;
use nearlight_verifier::given::Beacon;
use std::path::PathBuf;

/// The exit status of `nearlight receipt verify`.
const EXIT_STATUS: &str = "\
Exit status: 0 VALID, 3 UNKNOWN-KEY, 4 FORGED, 5 NOT-LOGGED, 6 NOT-WITNESSED, 7 MALFORMED,
10 DISPUTED, 11 REVOKED; 2 wrong usage, 64 a file that cannot be read or is none.
`nearlight-verify` does the same alone, and has 64 for wrong usage, too.";

/// The exit status of `nearlight receipt audit`.
const AUDIT_STATUS: &str = "\
Exit status: 0 CLEAN, 5 NOT-LOGGED, 6 NOT-WITNESSED, 12 FINDINGS (something to look at),
13 CONTRADICTED (the log is forked, rolled back, or is not what it signed); 2 wrong usage,
1 and 64 a file, 3 and 4 the broker: then nothing was found out.";

/// The exit status of `nearlight receipt rerun`.
const RERUN_STATUS: &str = "\
Exit status: 0 AGREES, 14 DIFFERS, 15 NOT-RERUN (no evidence any more, and too large without);
2 wrong usage, 1 and 64 a file that is no capacity check, 3 and 4 the broker.
`nearlight-verify rerun` does the same from files alone.";

/// `nearlight receipt`.
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// The newest receipts, or those about a node or anything else.
    List(ReceiptList),
    /// Fetch a receipt with its proof into a file.
    Get {
        /// Its place in the log.
        index: u64,
        /// The file.
        to: PathBuf,
    },
    /// Fetch the directory of keys, and what the log's operator says to believe, into a file.
    Directory {
        /// The file.
        to: PathBuf,
    },
    /// Show what a receipt says; nothing of it is verified.
    Show {
        /// The file.
        file: PathBuf,
    },
    /// Verify a receipt, offline.
    #[command(after_help = EXIT_STATUS)]
    Verify(Ask),
    /// Read the whole log, and tell a node's history: what does not verify, what is contested, who missed which check,
    /// gaps, disagreements.
    #[command(after_help = AUDIT_STATUS)]
    Audit(ReceiptAudit),
    /// Say in the log that a receipt, or what a checker's key signed, is void: checks weigh nothing from then on, and verifiers say
    /// REVOKED. It cannot be undone. Needs the scope `admin`.
    Revoke(ReceiptRevoke),
    /// Compute a capacity check anew on this machine, and compare: what was opened, and whole legs of small ones.
    #[command(after_help = RERUN_STATUS)]
    Rerun(ReceiptRerun),
}

/// `nearlight receipt revoke`.
#[derive(Debug, Args)]
pub struct ReceiptRevoke {
    /// The receipt: its place in the log, or its leaf of 64 hex digits.
    #[arg(value_name = "INDEX|HASH", required_unless_present = "key")]
    pub what: Option<String>,
    /// In place of a receipt: a checker's key, by its id, of which what it signed from --from on is void. `nearlight checker
    /// revoke` keeps the key from signing more.
    #[arg(
        long,
        value_name = "KEY-ID",
        conflicts_with = "what",
        requires = "from"
    )]
    pub key: Option<String>,
    /// With --key: from when on, Unix seconds, by what receipts say of themselves.
    #[arg(long, value_name = "UNIX-S", requires = "key")]
    pub from: Option<u64>,
    /// Why, as a sentence.
    #[arg(long)]
    pub reason: String,
}

/// `nearlight receipt rerun`.
#[derive(Debug, Args)]
pub struct ReceiptRerun {
    /// The receipt: a file as `receipt get` writes it, or its place in the log.
    #[arg(value_name = "FILE|INDEX")]
    pub what: String,
    /// How many rows of C to compute, of the 256 that were opened. At full size one takes about a second.
    #[arg(long, default_value_t = 256)]
    pub rows: usize,
    /// Compute whole legs of large checks, too. It can take days.
    #[arg(long)]
    pub whole: bool,
}

/// `nearlight receipt list`.
#[derive(Debug, Args)]
pub struct ReceiptList {
    /// The node's key id.
    #[arg(long, value_name = "KEY-ID")]
    pub node: Option<String>,
    /// A key id, a session's commitment, or the leaf of a receipt.
    #[arg(long, value_name = "HEX", conflicts_with = "node")]
    pub about: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 200)]
    pub limit: usize,
    /// Those before this place in the log.
    #[arg(long, value_name = "INDEX")]
    pub before: Option<u64>,
}

/// `nearlight receipt audit`.
#[derive(Debug, Args)]
pub struct ReceiptAudit {
    /// The node's key id, 64 hex digits.
    #[arg(long, value_name = "KEY-ID")]
    pub node: String,
    /// Your policy: which logs and witnesses you believe. Without it the log's operator says so.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Whose keys are whose: a file as `receipt directory` writes it. Without it the broker is asked.
    #[arg(long, value_name = "FILE")]
    pub directory: Option<PathBuf>,
    /// The key that signed the directory, 64 hex digits. Without it the operator says so.
    #[arg(long, value_name = "HEX")]
    pub authority: Option<String>,
    /// The beacon that rounds have to take their values from: `chain`, `quicknet`, or `drand:KEY:GENESIS_S:PERIOD_S`. Without
    /// it the chain or quicknet, as the log says.
    #[arg(long, value_name = "BEACON")]
    pub beacon: Option<Beacon>,
    /// A relay of drand, its URL with the chain's hash (`https://api.drand.sh/HASH`), which is asked what values rounds would have had that the broker says are void: one in which no check
    /// was due is no finding then. Its signatures are verified.
    #[arg(long, value_name = "URL", conflicts_with = "no_assignments")]
    pub relay: Option<String>,
    /// Do not fetch the evidence that should be there.
    #[arg(long)]
    pub no_evidence: bool,
    /// Who was assigned in each round: a file as --save-assignments writes it. Without it the broker is asked.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save_assignments", "no_assignments"])]
    pub assignments: Option<PathBuf>,
    /// Write what the broker tells of assignments into a file, a round a line.
    #[arg(long, value_name = "FILE", conflicts_with = "no_assignments")]
    pub save_assignments: Option<PathBuf>,
    /// Do not look at who was assigned.
    #[arg(long)]
    pub no_assignments: bool,
    /// Where the last checkpoint of each log is remembered, so that a fork or a rollback shows. By default beside
    /// the profiles.
    #[arg(long, value_name = "DIR")]
    pub remember: Option<PathBuf>,
}
