//! A broker of the region: a real process, started again whenever it ends.

use super::event::History;
use super::network::Network;
use super::plan::{Faults, Way};
use super::proxy::{End, Line};
use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// From the start to serving; a broker waits for its database, and is started again after that.
const SERVES_WITHIN: Duration = Duration::from_secs(30);
/// Between an end that nobody asked for and the next start.
const RESTART: Duration = Duration::from_millis(300);
/// What a broker that is told to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(25);

/// Where a broker listens.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Ready {
    pub(super) listen: SocketAddr,
    pub(super) node_listen: SocketAddr,
    peer_listen: SocketAddr,
}

#[derive(Deserialize)]
struct Said {
    ready: Ready,
}

/// What is done to a broker's process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    Kill { down: Duration },
    Terminate { down: Duration },
    Stop { for_: Duration },
}

/// One broker.
#[derive(Debug)]
pub(super) struct Broker {
    /// The way to its database.
    pub(super) ledger: Line,
    /// The way to it, for its peers.
    pub(super) peers: Arc<Line>,
    pub(super) blows: mpsc::Sender<Blow>,
    /// Where it is, while it is.
    pub(super) at: watch::Receiver<Option<Ready>>,
    _task: JoinSet<()>,
}

/// What a broker is made of.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) program: PathBuf,
    pub(super) name: String,
    /// Its own directory.
    pub(super) dir: PathBuf,
    /// What all of the region share: CA, apps, key.
    pub(super) shared: PathBuf,
    pub(super) socket: PathBuf,
    /// Its number.
    pub(super) number: usize,
    /// Of partitions, nobody takes the lines of [`Broker`]: it is in a network whose packets are dropped.
    pub(super) faults: Faults,
}

impl Broker {
    pub(super) async fn new(setup: Setup, history: Arc<History>) -> Result<Self> {
        std::fs::create_dir_all(setup.dir.join("socket"))?;
        let socket = setup.dir.join("socket").join(super::postgres::SOCKET);
        let ledger = Line::unix(&socket, Some(End::Unix(setup.socket.clone())))?;
        let (peers, address) = Line::tcp(None).await?;
        let peers = Arc::new(peers);
        let at = match setup.faults {
            Faults::All => (SocketAddr::from(([127, 0, 0, 1], 0)), address),
            Faults::Partitions => [Network::peer_address(setup.number); 2].into(),
        };
        let config = super::region::config(&setup.name, setup.faults, at);
        std::fs::write(setup.config(), config)?;
        let (blows, taken) = mpsc::channel(16);
        let (ready, at) = watch::channel(None);
        let mut task = JoinSet::new();
        let keeper = Keeper {
            setup,
            history,
            peers: peers.clone(),
            ready,
            blows: taken,
        };
        task.spawn(keeper.run());
        Ok(Self {
            ledger,
            peers,
            blows,
            at,
            _task: task,
        })
    }

    /// Waits until it serves.
    pub(super) async fn serves(&self) -> Result<Ready> {
        let mut at = self.at.clone();
        let ready = tokio::time::timeout(2 * SERVES_WITHIN, at.wait_for(Option::is_some));
        let ready = ready.await.context("a broker does not serve")??;
        ready.context("it serves")
    }

    /// Cuts a line for a while.
    pub(super) async fn cut(line: &Line, way: Way, for_: Duration, breaks: bool) {
        line.cut(way);
        tokio::time::sleep(for_).await;
        line.mend(breaks);
    }
}

impl Setup {
    fn config(&self) -> PathBuf {
        self.dir.join("broker.toml")
    }

    async fn start(&self) -> Result<(Child, Ready)> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("broker.log"))?;
        let socket = self.dir.join("socket");
        let url = match self.faults {
            Faults::Partitions => Network::ledger_url(self.number),
            Faults::All => format!(
                "postgres://nearlight@localhost/postgres?host={}",
                socket.display()
            ),
        };
        let mut child = Command::new(&self.program)
            .args(["--listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(self.config())
            .arg("--data")
            .arg(self.dir.join("data"))
            .arg("--pki")
            .arg(self.shared.join("pki"))
            .arg("--apps")
            .arg(self.shared.join("apps"))
            .arg("--dev-key-file")
            .arg(self.shared.join("dev.key"))
            .args(["--ledger", &url])
            .env_remove("NEARLIGHT_LEDGER")
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let out = child.stdout.take().context("its output is piped")?;
        let mut lines = BufReader::new(out).lines();
        let line = tokio::time::timeout(SERVES_WITHIN, lines.next_line()).await??;
        let said: Said = serde_json::from_str(&line.context("it ended")?)?;
        Ok((child, said.ready))
    }
}

/// Keeps a broker running.
struct Keeper {
    setup: Setup,
    history: Arc<History>,
    peers: Arc<Line>,
    ready: watch::Sender<Option<Ready>>,
    blows: mpsc::Receiver<Blow>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let name = self.setup.name.clone();
            let mut child = match self.setup.start().await {
                Ok((child, ready)) => {
                    self.peers.lead_to(End::Tcp(ready.peer_listen));
                    self.ready.send_replace(Some(ready));
                    self.history.note(format!("broker {name} serves"));
                    child
                }
                Err(error) => {
                    self.history.note(format!("broker {name}: {error:#}"));
                    tokio::time::sleep(RESTART).await;
                    continue;
                }
            };
            let down = self.keep(&mut child).await;
            self.ready.send_replace(None);
            let _ = child.kill().await;
            tokio::time::sleep(down).await;
        }
    }

    /// Until it ends; how long it stays down then.
    async fn keep(&mut self, child: &mut Child) -> Duration {
        loop {
            let blow = tokio::select! {
                status = child.wait() => {
                    let name = &self.setup.name;
                    self.history.note(format!("broker {name} ended by itself: {status:?}"));
                    return RESTART;
                }
                Some(blow) = self.blows.recv() => blow,
            };
            match blow {
                Blow::Kill { down } => return down,
                Blow::Terminate { down } => {
                    signal(child, Signal::SIGTERM);
                    if tokio::time::timeout(STOPS_WITHIN, child.wait())
                        .await
                        .is_err()
                    {
                        let name = &self.setup.name;
                        self.history.note(format!("broker {name} did not stop"));
                    }
                    return down;
                }
                Blow::Stop { for_ } => {
                    signal(child, Signal::SIGSTOP);
                    tokio::time::sleep(for_).await;
                    signal(child, Signal::SIGCONT);
                }
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
