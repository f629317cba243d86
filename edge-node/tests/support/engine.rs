//! A way to the container engine that a test can shut: what comes in while it is shut waits, as for an engine that
//! hangs, and the engine itself and what runs in it are none the worse.

use super::line::KEEPER;
use super::node::PATIENCE;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

const ENGINE: &str = "/var/run/docker.sock";

/// The way; shut for good when it is dropped.
pub struct Way {
    pub socket: PathBuf,
    open: Arc<watch::Sender<bool>>,
    asked: Arc<watch::Sender<u32>>,
}

impl Way {
    /// An open one, with its socket in `dir`.
    pub fn open_in(dir: &Path) -> Self {
        let socket = dir.join("engine.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let open = Arc::new(watch::channel(true).0);
        let asked = Arc::new(watch::channel(0).0);
        let (is_open, count) = (open.clone(), asked.clone());
        // By a thread of its own: tests look at containers meanwhile.
        KEEPER.spawn(async move {
            let listener = UnixListener::from_std(listener).unwrap();
            while let Ok((agent, _)) = listener.accept().await {
                let (is_open, count) = (is_open.clone(), count.clone());
                KEEPER.spawn(async move {
                    // Either side may go at any time.
                    let _ = relay(agent, &is_open, &count).await;
                });
            }
        });
        Self {
            socket,
            open,
            asked,
        }
    }

    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    pub fn reopen(&self) {
        self.open.send_replace(true);
    }

    /// Waits until something has waited `more` times at the shut way from now on.
    pub async fn waited_at(&self, more: u32) {
        let mut asked = self.asked.subscribe();
        let until = *asked.borrow() + more;
        let waited = asked.wait_for(|asked| *asked >= until);
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        waited.expect("nothing asks the engine").unwrap();
    }
}

async fn relay(
    agent: UnixStream,
    open: &watch::Sender<bool>,
    asked: &watch::Sender<u32>,
) -> io::Result<()> {
    let engine = UnixStream::connect(ENGINE).await?;
    let (mut from_agent, mut to_agent) = agent.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let mut is_open = open.subscribe();
    let up = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let read = from_agent.read(&mut bytes).await?;
            if read == 0 {
                return to_engine.shutdown().await;
            }
            if !*is_open.borrow() {
                asked.send_modify(|asked| *asked += 1);
                is_open
                    .wait_for(|open| *open)
                    .await
                    .map_err(io::Error::other)?;
            }
            to_engine.write_all(&bytes[..read]).await?;
        }
    };
    let down = tokio::io::copy(&mut from_engine, &mut to_agent);
    tokio::try_join!(up, down).map(drop)
}
