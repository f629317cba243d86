//! `checker-play`: plays one session as a page does, and says as JSON what came of it.
//!
//! `checker play` starts it. It is a program of its own because it decodes what a stranger sends, with decoders that are
//! not ours and not memory-safe: no key of a checker is ever in its memory, and who only verifies needs no GStreamer.

use anyhow::{Context, Result};
use clap::Parser;
use nearlight_player::broker::Broker;
use nearlight_player::play::{RECORDED, Wish, play};
use nearlight_player::replay::Recording;
use nearlight_proof::key::KeyId;
use nearlight_protocol::id::AppId;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

/// The pass of the checker that was assigned the node.
const PASS: &str = "NEARLIGHT_STREAM_PASS";

/// Plays one session, and says as JSON what came of it. `checker play` makes a receipt of that.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The broker.
    #[arg(long, env = "NEARLIGHT_URL")]
    url: String,
    /// An API key of a player; without one it comes as a guest.
    #[arg(long, env = "NEARLIGHT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// What to play.
    #[arg(long)]
    app: AppId,
    /// For how long.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,
    /// Recorded input, instead of what ships.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Address to receive at; the loopback address reaches a node on this machine only.
    #[arg(long, default_value = "0.0.0.0")]
    bind: IpAddr,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let text = match &cli.input {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => RECORDED.to_owned(),
    };
    let wish = Wish {
        app: cli.app,
        seconds: cli.seconds,
        bind: cli.bind,
        input: KeyId(nearlight_proof::encoding::sha256(&[text.as_bytes()])),
        recording: Recording::parse(&text)?,
    };
    let broker = match &cli.token {
        Some(token) => Broker::with_key(&cli.url, token),
        None => Broker::as_guest(&cli.url)?,
    };
    // Not on its command line, which every process of the machine can read.
    let broker = broker.with_pass(std::env::var(PASS).ok());
    let played = play(&broker, &wish)?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &played)?;
    writeln!(out)?;
    Ok(())
}
