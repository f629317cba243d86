//! How the program ends when it does not do what was asked.

use std::path::PathBuf;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Standard input broke.
    #[error("cannot read the words")]
    Stdin(#[source] std::io::Error),
    /// There is a key already.
    #[error("{} holds a key already; a second one would be another checker. Give --data another directory", .0.display())]
    HasKey(PathBuf),
    /// There is no key.
    #[error("no key in {}; `checker init` makes one, `checker restore` brings one back", .0.display())]
    NoKey(PathBuf),
    /// The key's file is damaged.
    #[error("{} is damaged; remove it and bring the key back with `checker restore`", .0.display())]
    Damaged(PathBuf),
    /// These are no words of a key.
    #[error("these are not the 24 words of a key: {0}")]
    Words(String),
    /// The table is none, or of another signer.
    #[error("the table {}: {why}", path.display())]
    Table {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such class.
    #[error("{no} `{0}`", no = nearlight_protocol::checker::NO_CLASS)]
    Class(String),
    /// The beacon cannot be read or is forged.
    #[error("the beacon: {0}")]
    Beacon(String),
    /// It is no key.
    #[error("`{0}` is no public key; `checker init` says it, 64 hex digits")]
    Key(String),
    /// They are none.
    #[error(
        "these are no certificates of authorities; `--ca` takes a file of them in PEM, and nothing else in it"
    )]
    Authorities,
    /// It is in no network yet.
    #[error("the checker in {} is a member of no network; come in with `checker join URL --token T`", .0.display())]
    NoNetwork(PathBuf),
    /// It shows nothing.
    #[error("the checker in {} has no certificate; come in with a token of `nearlight checker admit`: `checker join URL --token T`", .0.display())]
    NoCertificate(PathBuf),
    /// What it shows is of no use.
    #[error("the certificate: {0}")]
    Certificate(String),
    /// What is needed to probe once is not there.
    #[error("`run --once` needs {0}; without --once the broker says what is to be done")]
    Lacks(&'static str),
    /// A file to verify with is none, or cannot be read.
    #[error(transparent)]
    Verify(nearlight_verifier::AskError),
    /// It names no receipt.
    #[error("`{0}` is no receipt; write its place in the log, or its leaf of 64 hex digits")]
    NoReceipt(String),
    /// A receipt cannot say so.
    #[error("--reason: {0}")]
    Reason(String),
    /// Another process has the witness of this directory.
    #[error("another process witnesses with {}; one at a time may sign", .0.display())]
    WitnessRuns(PathBuf),
    /// The witness's file is damaged.
    #[error(
        "{} is damaged, and says what the witness has signed: without it nothing more is signed. Remove it, and another \
         witness with a key of its own is made: have that one named in the old one's place. Bring it back from no back-up",
        .0.display()
    )]
    WitnessDamaged(PathBuf),
    /// It is no key of a log.
    #[error(
        "`{0}` is no key of a log; write NAME+ID+KEY, as GET /v1/directory has it in `log_key`"
    )]
    LogKey(String),
    /// Nobody says which log.
    #[error(
        "the witness needs a log: come into a network with `checker join`, or say --url and --log"
    )]
    NoLog,
    /// There is no program that plays.
    #[error(
        "no `checker-play` beside this program: it is a program of its own, for it needs GStreamer; install it there"
    )]
    NoPlayer,
    /// Nothing could be played.
    #[error("the probe: {0}")]
    Player(String),
    /// The broker does not do it.
    #[error("the broker: {0}")]
    Broker(String),
}

impl Failure {
    /// The exit status.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Broker(_) | Self::Beacon(_) => 4,
            Self::Verify(_) => nearlight_verifier::EXIT_USAGE,
            _ => 1,
        }
    }
}
