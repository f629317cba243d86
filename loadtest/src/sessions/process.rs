//! A broker of the bench's own: started, killed, started again on the same data.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// What the broker runs on.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Where its program is.
    pub(crate) program: PathBuf,
    /// Where its data are.
    pub(crate) data: PathBuf,
    /// Where nodes reach it, or nothing for a free port.
    pub(crate) node_listen: Option<SocketAddr>,
    /// Its ledger's URL, or nothing for a file.
    pub(crate) ledger: Option<String>,
}

impl Setup {
    /// On data of its own, with the program at `broker` or the one beside this one.
    pub(crate) fn on(data: &Path, broker: Option<&Path>, ledger: Option<&str>) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let beside = || anyhow::Ok(std::env::current_exe()?.with_file_name("session-broker"));
        Ok(Self {
            program: broker.map_or_else(beside, |program| Ok(program.to_owned()))?,
            data: std::path::absolute(data)?,
            node_listen: None,
            ledger: ledger.map(str::to_owned),
        })
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    /// The development key.
    pub(crate) fn key(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.data.join("dev.key"))?;
        Ok(text.trim().to_owned())
    }
}

/// A broker that runs. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) node_listen: SocketAddr,
}

#[derive(Deserialize)]
struct Line {
    ready: Ready,
}

#[derive(Deserialize)]
struct Ready {
    listen: SocketAddr,
    node_listen: SocketAddr,
}

impl Process {
    /// Starts it, and waits until it serves.
    pub(crate) async fn start(setup: &Setup) -> Result<Self> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(setup.data.join("broker.log"))?;
        let node_listen = setup.node_listen.map(|at| at.to_string());
        let mut command = Command::new(&setup.program);
        command
            .args(["--listen", "127.0.0.1:0", "--node-listen"])
            .arg(node_listen.unwrap_or_else(|| "127.0.0.1:0".to_owned()))
            .arg("--data")
            .arg(&setup.data)
            .arg("--pki")
            .arg(setup.pki())
            .arg("--dev-key-file")
            .arg(setup.data.join("dev.key"))
            .env_remove("NEARLIGHT_LEDGER")
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(ledger) = &setup.ledger {
            command.arg("--ledger").arg(ledger);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", setup.program.display()))?;
        let out = child.stdout.take().context("its output is piped")?;
        let line = BufReader::new(out).lines().next_line().await?;
        let said = || format!("the broker does not serve; see {}", log_of(&setup.data));
        let line: Line = serde_json::from_str(&line.with_context(said)?).with_context(said)?;
        Ok(Self {
            child,
            listen: line.ready.listen,
            node_listen: line.ready.node_listen,
        })
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child.id().context("the broker runs")
    }

    /// kill -9.
    pub(crate) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn log_of(data: &Path) -> String {
    data.join("broker.log").display().to_string()
}
