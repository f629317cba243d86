//! What people type.

use crate::failure::Failure;
use clap::{Args, Parser, Subcommand};
use nearlight_proof::beacon::used::Beacon;
use std::path::PathBuf;

/// The exit status of `checker verify`.
const VERIFY_STATUS: &str = "\
Exit status: 0 VALID, 3 UNKNOWN-KEY, 4 FORGED, 5 NOT-LOGGED, 6 NOT-WITNESSED, 7 MALFORMED,
10 DISPUTED, 11 REVOKED; 2 wrong usage, 64 a file that cannot be read or is none.";

/// Has nodes of a Nearlight network prove what they can do, and signs what it found.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit status: 0 passed or done, 1 the machine is unfit or a file is wrong, 2 the node failed, \
    3 nothing can be said, 4 the broker, 64 usage."
)]
pub struct Cli {
    /// Directory of the checker's key.
    #[arg(
        long,
        global = true,
        default_value = "checker-data",
        env = "CHECKER_DATA"
    )]
    pub data: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the checker's key, and show its words once.
    Init,
    /// Make the checker's key from its words, read from standard input.
    Restore,
    /// Say the checker's public key again.
    Key,
    /// Sign a table of classes: what each class of machines takes for each leg.
    Table(TableArgs),
    /// Look whether this machine can check.
    Doctor(DoctorArgs),
    /// Come into a network, with a token of `nearlight checker admit`.
    Join(JoinArgs),
    /// Let a checker act for the licence whose owner's key this directory has; what it prints is for `join`.
    Delegate(DelegateArgs),
    /// Check nodes as the broker assigns them, until it is stopped; or with --once one node, now.
    Run(Box<RunCommand>),
    /// Play one session as a player does, now, and sign what its stream was like.
    Play(PlayArgs),
    /// Cosign the log of receipts until it is stopped, and nothing else; `run` does it, too. With --key say the line by which
    /// operators and verifiers name this witness.
    Witness(WitnessArgs),
    /// Verify a receipt offline, as `nearlight receipt verify` does.
    #[command(after_help = VERIFY_STATUS)]
    Verify(VerifyArgs),
    /// Take back receipts of this checker's own.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// What this checker was assigned, what it missed and why, how its word compares with what rounds came to, and what
    /// it earned.
    Status(StatusArgs),
}

/// `checker receipt`
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Say in the log, with this checker's key, that a receipt of its own is void: it weighs and earns nothing from then on, and
    /// verifiers say REVOKED. It cannot be undone, and saves nobody whom execution refutes.
    Revoke(RevokeArgs),
}

/// `checker receipt revoke`
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// The receipt: its place in the log, or its leaf of 64 hex digits.
    #[arg(value_name = "INDEX|HASH")]
    pub what: String,
    /// Why, as a sentence.
    #[arg(long)]
    pub reason: String,
    /// The broker's listener for nodes and checkers, HOST:PORT, if it is elsewhere than the broker says.
    #[arg(long)]
    pub at: Option<String>,
}

/// `checker status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The broker's listener for nodes and checkers, HOST:PORT, if it is elsewhere than the broker says.
    #[arg(long)]
    pub at: Option<String>,
}

/// `checker table`
#[derive(Debug, Args)]
pub struct TableArgs {
    /// JSON file with the classes, such as configs/gpu-classes.json.
    #[arg(long)]
    pub classes: PathBuf,
    /// Number of this edition: higher than the last.
    #[arg(long)]
    pub serial: u64,
    /// Where to write the signed table.
    #[arg(long)]
    pub out: PathBuf,
}

/// `checker doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The address of the broker: https, its name and perhaps a port [default: where the checker came in].
    #[arg(long, env = "NEARLIGHT_URL")]
    pub url: Option<String>,
    /// The broker's listener for nodes and checkers, HOST:PORT, if it is elsewhere than the broker says.
    #[arg(long)]
    pub at: Option<String>,
    /// Where drand's quicknet is read, for `run --once`; without it that is looked at only where the broker has no rounds of its
    /// own.
    #[arg(long)]
    pub drand: Option<String>,
    /// The beacon that `run` is given with --beacon.
    #[arg(long = "beacon", value_name = "BEACON")]
    pub works_by: Option<Beacon>,
    /// A STUN server, HOST:PORT, to see whether answers come by UDP.
    #[arg(long)]
    pub stun: Option<String>,
}

/// `checker join`
#[derive(Debug, Args)]
pub struct JoinArgs {
    /// The broker's address.
    pub url: String,
    /// The token.
    #[arg(long, env = "NEARLIGHT_CHECKER_TOKEN", hide_env_values = true)]
    pub token: String,
    /// What `checker delegate` of the licence's owner printed, if the token is for one.
    #[arg(long)]
    pub delegation: Option<String>,
    /// Certificates of authorities, PEM: the broker's is of one of them. Without it of a public one. All commands of this
    /// directory hold to it from then on.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// `checker delegate`
#[derive(Debug, Args)]
pub struct DelegateArgs {
    /// The checker's public key, 64 hex digits, as its `init` said it.
    #[arg(long)]
    pub checker: String,
    /// For how many days.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
}

/// `checker run`
#[derive(Debug, Args)]
pub struct RunCommand {
    /// Probe one node now, whoever assigned it, and no more.
    #[arg(long)]
    pub once: bool,
    /// The broker's address, where streams are played, if it is another one than the checker joined at; needed with --once.
    #[arg(long, env = "NEARLIGHT_URL")]
    pub url: Option<String>,
    /// The broker's listener for nodes and checkers, HOST:PORT, if it is elsewhere than the broker says.
    #[arg(long, conflicts_with = "once")]
    pub at: Option<String>,
    /// With --once: an API key of the broker with the scope `nodes:probe`.
    #[arg(long, env = "NEARLIGHT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// With --once: the node to probe.
    #[arg(long)]
    pub node: Option<String>,
    /// With --once: which of its GPUs, by its own id; `cpu` for the host's processor.
    #[arg(long, default_value = "cpu")]
    pub gpu: String,
    /// With --once: the class of the table that it is held to.
    #[arg(long)]
    pub class: Option<String>,
    /// The signed table of classes.
    #[arg(long)]
    pub table: PathBuf,
    /// The public key that signed it, 64 hex digits.
    #[arg(long)]
    pub table_key: String,
    /// With --once: where the receipt is written.
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Gigabytes that it may send and receive in a month: past them nothing that is assigned is done, and that is reported. Asking
    /// what is due and cosigning the log go on, and are counted.
    #[arg(long, conflicts_with = "once")]
    pub max_gb_month: Option<u64>,
    /// Play no streams, though the program `checker-play` is beside this one: only the other duties are assigned then.
    #[arg(long, conflicts_with = "once")]
    pub no_decoder: bool,
    /// Address at which streams are received.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind: std::net::IpAddr,
    /// Work by this beacon alone: `chain`, `quicknet`, or `drand:KEY:GENESIS_S:PERIOD_S`. Without it by the one that the
    /// network's log names, if that is the chain or quicknet.
    #[arg(long = "beacon", value_name = "BEACON", conflicts_with = "once")]
    pub works_by: Option<Beacon>,
    /// With --once: randomness that nobody could choose.
    #[command(flatten)]
    pub beacon: BeaconArgs,
}

/// `checker verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// What is verified, and whom to believe.
    #[command(flatten)]
    pub ask: nearlight_verifier::Ask,
    /// Answer in JSON.
    #[arg(long)]
    pub json: bool,
}

/// `checker witness`
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// Say NAME+ID+KEY of this witness, for `log.witnesses` of a broker and for policies, and no more.
    #[arg(long)]
    pub key: bool,
    /// The broker's address, if it is another one than the checker joined at. A witness that joined nowhere needs it.
    #[arg(long, env = "NEARLIGHT_URL")]
    pub url: Option<String>,
    /// The log's key, NAME+ID+KEY, if the checker joined nowhere: nobody else can say which log is meant.
    #[arg(long, requires = "url")]
    pub log: Option<String>,
}

/// `checker play`
#[derive(Debug, Args)]
pub struct PlayArgs {
    /// The broker's address, if it is another one than the checker joined at.
    #[arg(long, env = "NEARLIGHT_URL")]
    pub broker: Option<String>,
    /// An API key of a player; without one it comes as a guest.
    #[arg(long, env = "NEARLIGHT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// What to play, by its name in the catalogue. Pictures of `calibrate` say which presses they answer.
    #[arg(long)]
    pub app: String,
    /// For how long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=600))]
    pub seconds: u32,
    /// Recorded input, instead of what ships (docs/proof.md).
    #[arg(long)]
    pub input: Option<PathBuf>,
    /// Address to receive at.
    #[arg(long, default_value = "0.0.0.0")]
    pub bind: std::net::IpAddr,
    /// Where the receipt is written.
    #[arg(long)]
    pub out: PathBuf,
}

/// A probe of one node, now.
#[derive(Debug)]
pub struct RunArgs {
    /// Once, and no more.
    pub once: bool,
    /// The broker's address.
    pub url: String,
    /// An API key of the broker with the scope `nodes:probe`.
    pub token: String,
    /// The node to probe.
    pub node: String,
    /// Which of its GPUs.
    pub gpu: String,
    /// The class of the table that it is held to.
    pub class: String,
    /// The signed table of classes.
    pub table: PathBuf,
    /// The public key that signed it.
    pub table_key: String,
    /// Where the receipt is written.
    pub out: PathBuf,
    /// Randomness that nobody could choose.
    pub beacon: BeaconArgs,
}

impl RunCommand {
    /// What `--once` needs.
    ///
    /// # Errors
    /// [`Failure::Lacks`].
    pub fn once(self) -> Result<RunArgs, Failure> {
        Ok(RunArgs {
            once: true,
            url: self.url.ok_or(Failure::Lacks("--url"))?,
            token: self.token.ok_or(Failure::Lacks("--token"))?,
            node: self.node.ok_or(Failure::Lacks("--node"))?,
            gpu: self.gpu,
            class: self.class.ok_or(Failure::Lacks("--class"))?,
            table: self.table,
            table_key: self.table_key,
            out: self.out.ok_or(Failure::Lacks("--out"))?,
            beacon: self.beacon,
        })
    }
}

/// Which beacon.
#[derive(Debug, Clone, Args)]
pub struct BeaconArgs {
    /// Where drand's quicknet is read; its signature is verified here.
    #[arg(long, default_value = crate::beacon::RELAY)]
    pub drand: String,
    /// In a closed network: the round of its chain.
    #[arg(long, requires = "chain_value")]
    pub chain_round: Option<u64>,
    /// Its value, 64 hex digits.
    #[arg(long, requires = "chain_anchor")]
    pub chain_value: Option<String>,
    /// The chain's anchor, 64 hex digits, as the log has it.
    #[arg(long, requires = "chain_round")]
    pub chain_anchor: Option<String>,
}

#[cfg(test)]
mod test {
    use super::*;

    const UNIT: &str = include_str!("../../configs/examples/nearlight-checker.service");

    /// The unit that ships names flags that there are, and the directory that systemd makes.
    #[test]
    fn the_unit_of_the_examples_runs_this_program() {
        let unit = UNIT.replace("\\\n", " ");
        let of = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_else(|| panic!("no {key}")).to_owned()
        };
        let line = of("ExecStart=");
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("/usr/local/bin/checker"));
        let cli = Cli::try_parse_from(std::iter::once("checker").chain(words)).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("{line}");
        };
        assert!(!args.once && args.max_gb_month.is_some());
        let state = format!("/var/lib/{}", of("StateDirectory="));
        assert_eq!(cli.data, PathBuf::from(state));
        assert_eq!(of("Restart="), "always");
        let sections = unit.lines().filter(|line| line.starts_with('['));
        let sections: Vec<&str> = sections.collect();
        assert_eq!(sections, ["[Unit]", "[Service]", "[Install]"]);
    }
}
