//! What of the command line is about the inside of a job.

use clap::Args;
use nearlight_protocol::id::SessionId;

/// `nearlight session logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Which.
    pub session: SessionId,
    /// Go on with what comes, until the job ends.
    #[arg(short, long)]
    pub follow: bool,
    /// Only what is newer than this, such as 90s, 10m, 2h or 1d.
    #[arg(long, value_name = "TIME", value_parser = long_seconds)]
    pub since: Option<u64>,
    /// Only the last so many lines.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Of a cluster: which replica, from 0.
    #[arg(long, value_name = "N")]
    pub replica: Option<u32>,
}

/// `nearlight session endpoint`.
#[derive(Debug, Args)]
pub struct AskEndpoint {
    /// Which.
    pub session: SessionId,
    /// The port's name; the job's first one where it is left out.
    #[arg(long, value_name = "NAME")]
    pub port: Option<String>,
    /// How long the ticket works, such as 90s, 10m, 2h or 1d; an hour where it is left out.
    #[arg(long, value_name = "TIME", value_parser = long_seconds)]
    pub expires: Option<u64>,
    /// A method that the ticket is for, such as GET; several times for several, all where it is left out.
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,
    /// The path that the ticket is for, with all below it; all where it is left out.
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

/// `nearlight session exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Give the command what comes on standard input.
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal.
    #[arg(short, long)]
    pub tty: bool,
    /// Of a cluster: which replica, from 0.
    #[arg(long, value_name = "N")]
    pub replica: Option<u32>,
    /// Which.
    pub session: SessionId,
    /// The command, after --.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `nearlight session cp`.
#[derive(Debug, Args)]
pub struct Copy {
    /// What: SESSION:/PATH, a path here, or - for an archive on standard input.
    pub from: String,
    /// Where to: a path here, SESSION:/PATH, or - for an archive on standard output. A directory that exists gets it
    /// under its own name.
    pub to: String,
    /// Of a cluster: which replica, from 0.
    #[arg(long, value_name = "N")]
    pub replica: Option<u32>,
}

/// A time such as 90s, 15m, 2h or 1d, in seconds.
pub(super) fn long_seconds(text: &str) -> Result<u64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 24 * 3600)];
    let unit = units
        .iter()
        .find_map(|(unit, s)| Some((text.strip_suffix(*unit)?, *s)));
    let (number, unit_s) = unit.unwrap_or((text, 1));
    let number = number.parse::<u32>().ok().map(u64::from);
    number
        .map(|number| number * unit_s)
        .ok_or_else(|| "give a time such as 90s, 10m, 2h or 1d".to_owned())
}
