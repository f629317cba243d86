//! One role as a child process: started, watched, started again, stopped.
//!
//! ```text
//!   start --ready line--> Up --dies--> wait (back-off) --start--> Up …
//!                          `--stop: SIGTERM, deadline, SIGKILL--> gone
//! ```
//!
//! The back-off doubles from 200 ms to 10 s and starts over once the role was up for a minute. The
//! first start gets no second chance: what stops it (a taken port, a wrong file) stays.

use super::prepare::Prepared;
use crate::terminal;
use anyhow::{Context as _, bail};
use nearlight_kit::shutdown::Shutdown;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::Instant;

/// From the start of the program to its ready line. The edge probes its encoders first.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A role that was up for so long has earned a quick restart.
const STEADY: Duration = Duration::from_secs(60);

/// The longest name of a role, so that the lines of all roles line up.
const LABEL_WIDTH: usize = "session-broker".len();

/// A role's program and its flags.
#[derive(Debug)]
pub(super) struct Role {
    name: &'static str,
    program: OsString,
    /// What the program is to do, if it does several things.
    verb: Option<&'static str>,
    flags: Vec<(&'static str, OsString)>,
    /// Owns the tasks that print what the role logs.
    tasks: Shutdown,
}

impl Role {
    /// The session broker.
    pub(super) fn broker(prepared: &Prepared) -> Self {
        let mut flags = vec![
            ("--data", prepared.data.join("broker").into()),
            ("--listen", prepared.up.listen.to_string().into()),
            ("--node-listen", "127.0.0.1:0".into()),
            ("--jobs-listen", "127.0.0.1:0".into()),
            ("--pki", prepared.pki.clone().into()),
            ("--client-web", prepared.client_web.clone().into()),
            ("--dev-key-file", prepared.dev_key.clone().into()),
        ];
        if let Some(apps) = &prepared.up.apps {
            flags.push(("--apps", apps.into()));
        }
        Self::new(prepared, "session-broker", flags)
    }

    /// The edge node, for the broker whose node listener is at `node_listen`.
    pub(super) fn edge(prepared: &Prepared, node_listen: &str) -> Self {
        let mut flags = vec![
            ("--data", prepared.data.join("edge").into()),
            ("--broker", node_listen.into()),
            ("--pki", prepared.pki.clone().into()),
        ];
        if let Some(port) = prepared.up.rtc_port {
            flags.push(("--rtc-port", port.to_string().into()));
        }
        Self::new(prepared, "edge-node", flags)
    }

    fn new(
        prepared: &Prepared,
        name: &'static str,
        mut flags: Vec<(&'static str, OsString)>,
    ) -> Self {
        if let Some(config) = prepared.config_of(name) {
            flags.push(("--config", config.into()));
        }
        Self {
            name,
            program: prepared.programs.join(name).into(),
            verb: None,
            flags,
            tasks: prepared.tasks.clone(),
        }
    }

    /// A program that is told what to do, and has no file of its own.
    pub(super) fn with_verb(
        prepared: &Prepared,
        name: &'static str,
        verb: &'static str,
        flags: Vec<(&'static str, OsString)>,
    ) -> Self {
        Self {
            name,
            program: prepared.programs.join(name).into(),
            verb: Some(verb),
            flags,
            tasks: prepared.tasks.clone(),
        }
    }

    /// Starts the program in a process group of its own, so that the terminal's Ctrl-C reaches only
    /// us; `setpriv` ties its life to ours.
    fn spawn(&self) -> anyhow::Result<Child> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&self.program)
            .args(self.verb);
        for (flag, value) in &self.flags {
            command.arg(flag).arg(value);
        }
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Only for a start that is given up before its ready line; `stop` comes first otherwise.
            .kill_on_drop(true);
        command.spawn().with_context(|| {
            format!(
                "cannot start {}: is setpriv (util-linux) installed?",
                self.name
            )
        })
    }
}

/// A role that runs, or is about to run again.
#[derive(Debug)]
pub(super) struct Supervised {
    role: Role,
    child: Child,
    ready: Value,
    since: Instant,
    backoff: Duration,
}

impl Supervised {
    /// Starts the role and waits for its ready line.
    pub(super) async fn start(role: Role) -> anyhow::Result<Self> {
        let (child, ready) = launch(&role).await?;
        Ok(Self {
            role,
            child,
            ready,
            since: Instant::now(),
            backoff: BACKOFF_MIN,
        })
    }

    /// What the role's ready line says of `name`.
    pub(super) fn field(&self, name: &str) -> anyhow::Result<String> {
        match self.ready.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => bail!("the ready line of {} has no {name}", self.role.name),
        }
    }

    /// Uses these flags from the next start on, instead of those of the same name.
    pub(super) fn pin<const N: usize>(&mut self, pinned: [(&'static str, String); N]) {
        for (flag, value) in pinned {
            self.role.flags.retain(|(name, _)| *name != flag);
            self.role.flags.push((flag, value.into()));
        }
    }

    /// Starts the role again whenever it dies. Returns only if nothing can be known of it any more.
    pub(super) async fn keep_alive(&mut self) -> anyhow::Error {
        loop {
            let status = match self.child.wait().await {
                Ok(status) => status,
                Err(error) => return error.into(),
            };
            if self.since.elapsed() > STEADY {
                self.backoff = BACKOFF_MIN;
            }
            let again_in_ms = self.backoff.as_millis();
            tracing::error!(role = self.role.name, %status, again_in_ms, "died");
            (self.child, self.ready) = self.again().await;
            self.since = Instant::now();
            tracing::info!(role = self.role.name, "started again");
        }
    }

    /// Starts it until it has started, each time after a longer wait.
    async fn again(&mut self) -> (Child, Value) {
        loop {
            tokio::time::sleep(self.backoff).await;
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            match launch(&self.role).await {
                Ok(started) => return started,
                Err(error) => {
                    let again_in_ms = self.backoff.as_millis();
                    tracing::error!(role = self.role.name, again_in_ms, "{error:#}");
                }
            }
        }
    }

    /// Ends the role: SIGTERM, and SIGKILL after `grace`.
    ///
    /// # Errors
    /// If it had to be killed: what it ran may be left behind.
    pub(super) async fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return Ok(());
        };
        if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGTERM) {
            tracing::warn!(role = self.role.name, %error, "cannot be signalled");
        }
        match tokio::time::timeout(grace, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => tracing::info!(role = self.role.name, "stopped"),
            Ok(outcome) => tracing::warn!(role = self.role.name, ?outcome, "stopped with an error"),
            Err(_elapsed) => {
                self.child
                    .kill()
                    .await
                    .with_context(|| format!("{} cannot be killed", self.role.name))?;
                bail!(
                    "{} did not stop within {} s and was killed; the next `nearlight up` with this --data clears up what it left",
                    self.role.name,
                    grace.as_secs()
                )
            }
        }
        Ok(())
    }
}

/// Starts the program and waits for its ready line.
async fn launch(role: &Role) -> anyhow::Result<(Child, Value)> {
    let mut child = role.spawn()?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let stderr = child.stderr.take().context("stderr is piped")?;
    role.tasks.spawn(forward(role.name, stderr));
    let ready = tokio::select! {
        ready = tokio::time::timeout(READY_DEADLINE, ready_line(stdout)) => ready,
        status = child.wait() => {
            bail!("{} did not start ({}); its last lines above say why", role.name, status?)
        }
    };
    match ready {
        Ok(Ok(ready)) => Ok((child, ready)),
        Ok(Err(error)) => {
            child.kill().await?;
            Err(error).with_context(|| format!("{} did not say that it is ready", role.name))
        }
        Err(_elapsed) => {
            child.kill().await?;
            bail!(
                "{} was not ready within {} s",
                role.name,
                READY_DEADLINE.as_secs()
            )
        }
    }
}

/// Prints what a role logs, each line with the role before it, until the role has closed its end.
async fn forward(name: &'static str, stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        terminal::note(format_args!("{name:LABEL_WIDTH$} | {line}"));
    }
}

async fn ready_line(stdout: ChildStdout) -> anyhow::Result<Value> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    if line.is_empty() {
        // Its exit status says more than its closed pipe: let the caller's wait for it win.
        std::future::pending::<()>().await;
    }
    let mut value: Value = serde_json::from_str(&line).context("the line is not JSON")?;
    value
        .get_mut("ready")
        .map(Value::take)
        .context("the line has no `ready`")
}
