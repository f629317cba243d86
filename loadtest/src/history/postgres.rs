//! A PostgreSQL of the run's own, and its standby.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The socket's name in its directory: that of the default port.
pub(super) const SOCKET: &str = ".s.PGSQL.5432";

/// The database, wherever it is now. It goes with its directory.
#[derive(Debug)]
pub(super) struct Postgres {
    script: PathBuf,
    /// Held to look at it, or to change it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    primary: PathBuf,
    standby: Option<PathBuf>,
}

impl Postgres {
    /// Starts one in `dir`.
    pub(super) async fn start(script: &Path, dir: &Path) -> Result<Self> {
        let state = State {
            primary: dir.join("primary"),
            standby: None,
        };
        let postgres = Self {
            script: script.to_owned(),
            state: Mutex::new(state),
        };
        postgres.up().await?;
        Ok(postgres)
    }

    fn primary(&self) -> PathBuf {
        self.state().primary.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where whoever is the primary listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.primary().join("socket").join(SOCKET)
    }

    /// Starts it, again.
    pub(super) async fn up(&self) -> Result<()> {
        let primary = self.primary();
        self.run("start", &[&primary]).await.map(drop)
    }

    /// Has it listen on TCP, too.
    pub(super) async fn speak_tcp(&self) -> Result<()> {
        self.ask("ALTER SYSTEM SET listen_addresses = '*'").await?;
        let primary = self.primary();
        self.run("stop", &[&primary]).await?;
        self.up().await
    }

    /// kill -9.
    pub(super) async fn kill(&self) -> Result<()> {
        let primary = self.primary();
        self.run("kill", &[&primary]).await.map(drop)
    }

    /// Makes a standby, which reaches the primary by the socket in `sockets`.
    pub(super) async fn add_standby(&self, dir: &Path, sockets: &Path, waits: bool) -> Result<()> {
        let (primary, standby) = (self.primary(), dir.join("standby"));
        self.run("standby", &[&primary, &standby, sockets]).await?;
        self.state().standby = Some(standby);
        if waits {
            self.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
                .await?;
            self.ask("SELECT pg_reload_conf()").await?;
        }
        self.caught_up(waits).await
    }

    async fn caught_up(&self, waits: bool) -> Result<()> {
        let state = if waits { "sync" } else { "async" };
        let sql = format!(
            "SELECT COUNT(*) FROM pg_stat_replication
             WHERE state = 'streaming' AND sync_state = '{state}'"
        );
        for _ in 0..100 {
            if self.ask(&sql).await? == "1" {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        anyhow::bail!("the standby does not stream")
    }

    /// kill -9 of the primary; the standby is the primary from now on.
    pub(super) async fn fail_over(&self) -> Result<()> {
        self.kill().await?;
        let standby = self.state().standby.take();
        let standby = standby.context("there is no standby")?;
        self.run("promote", &[&standby]).await?;
        self.state().primary = standby;
        Ok(())
    }

    /// What a statement returns.
    pub(super) async fn ask(&self, sql: &str) -> Result<String> {
        let mut child = Command::new(&self.script)
            .arg("ask")
            .arg(self.primary())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("its input is piped")?;
        stdin.write_all(sql.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "PostgreSQL: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    async fn run(&self, command: &str, args: &[&Path]) -> Result<String> {
        let output = Command::new(&self.script).arg(command).args(args).output();
        let output = output
            .await
            .with_context(|| self.script.display().to_string())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "postgres.sh {command}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Stops all of it.
    pub(super) async fn drop_all(&self, dir: &Path) {
        for name in ["primary", "standby"] {
            let dir = dir.join(name);
            if dir.exists() {
                let _ = self.run("drop", &[&dir]).await;
            }
        }
    }
}
