//! The broker as a program of its own, to be stopped, killed and started again.

use crate::http::PATIENCE;
use crate::rig::parsed;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The broker's program.
pub(crate) struct Program {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) node_listen: SocketAddr,
    pub(crate) metrics_listen: Option<SocketAddr>,
}

impl Program {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[]).await
    }

    pub(crate) async fn start_with(dir: &Path, args: &[&str]) -> Self {
        let mut command = Self::command(dir);
        command.args(args);
        Self::run(command).await
    }

    fn command(dir: &Path) -> Command {
        parsed(dir);
        let path = |name: &str| dir.join(name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-broker"));
        command
            .args(["--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"])
            .arg("--data")
            .arg(path("data"))
            .arg("--pki")
            .arg(path("pki"))
            .arg("--apps")
            .arg(path("apps"))
            .arg("--dev-key-file")
            .arg(path("dev.key"));
        command
    }

    /// Starts it with its log, as talkative as it gets, in a file.
    pub(crate) async fn start_logged(dir: &Path, log: &Path) -> Self {
        Self::start_saying_to(dir, std::fs::File::create(log).unwrap()).await
    }

    /// Starts it with that for its standard error.
    pub(crate) async fn start_saying_to(dir: &Path, stderr: impl Into<Stdio>) -> Self {
        let mut command = Self::command(dir);
        command.env("NEARLIGHT_LOG", "trace").stderr(stderr);
        Self::run(command).await
    }

    /// Starts it with nothing but a configuration file, and the ledger as its environment has it.
    pub(crate) async fn of_file(file: &Path, ledger: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_session-broker"));
        command.arg("--config").arg(file);
        command.env("NEARLIGHT_LEDGER", ledger);
        Self::run(command).await
    }

    async fn run(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let read = tokio::time::timeout(PATIENCE, stdout.read_line(&mut line)).await;
        read.unwrap().unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let at = |key: &str| ready["ready"][key].as_str().unwrap().parse().unwrap();
        Self {
            child,
            listen: at("listen"),
            node_listen: at("node_listen"),
            metrics_listen: ready["ready"]["metrics_listen"]
                .as_str()
                .map(|at| at.parse().unwrap()),
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(mut self) -> std::process::ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").arg(pid).status().await.unwrap();
        assert!(sent.success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap().unwrap()
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends a signal, such as `-STOP`.
    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await;
        assert!(sent.unwrap().success());
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(mut self) -> std::process::ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap().unwrap()
    }
}
